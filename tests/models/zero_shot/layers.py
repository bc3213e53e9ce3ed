"""What the tests of the zero-shot layers share."""

import keras
import numpy as np


def assert_survives_saving(layer, shapes, path):
    """A network of `layer` alone gives the same outputs after it was saved and loaded."""
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, layer(*inputs))
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(2, *shape)).astype("float32") for shape in shapes]
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    model.save(path / "model.keras")
    again = keras.saving.load_model(path / "model.keras")
    assert again.layers[-1].get_config() == layer.get_config()
    want, got = (keras.tree.flatten(network(x)) for network in (model, again))
    assert len(want) == len(got)
    for one, other in zip(want, got, strict=True):
        np.testing.assert_array_equal(one, other)


def count(layer):
    return sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
