"""Squeeze-and-attention and squeeze-and-excitation as Keras layers. Their values: `tests/parity/test_sanet.py`."""

import keras
import numpy as np
import pytest

from kzoo.layers import SqueezeAttention, SqueezeExcitation

MODULES = [
    lambda: SqueezeAttention(6, pool=3, reduction=2, gate="relu", separable=True, align_corners=False),
    lambda: SqueezeExcitation(6, reduction=1, separable=True),
]


@pytest.mark.parametrize("module", MODULES)
def test_shape_and_serialisation(module, tmp_path):
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, module()(inputs))
    assert model.output_shape == (None, None, None, 6)
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 4)).astype("float32")
    expected = model.predict(x, verbose=0)
    assert expected.shape == (2, 7, 9, 6)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras").predict(x, verbose=0), expected)


@pytest.mark.parametrize("module", MODULES)
def test_every_weight_is_trained(module):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 4)), module(), keras.layers.GlobalAveragePooling2D()])
    before = [np.array(weight) for weight in model.trainable_weights]
    rng = np.random.default_rng(0)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(rng.normal(size=(4, 8, 8, 4)), rng.normal(size=(4, 6)), epochs=3, verbose=0)
    assert len(before) == len(model.trainable_weights)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.abs(np.array(weight) - old).max() > 0, weight.path


def test_attention_is_local_where_excitation_is_global():
    """A change in one corner moves the excitation everywhere, the attention only around it."""
    x = np.random.default_rng(0).normal(size=(1, 24, 24, 4)).astype("float32")
    changed = x.copy()
    changed[:, :3, :3] += 5
    for layer, reaches in ((SqueezeAttention(16), False), (SqueezeExcitation(16), True)):
        difference = np.abs(np.asarray(layer(changed)) - np.asarray(layer(x))).max(-1)[0]
        assert difference[:3, :3].min() > 0
        assert (difference[-8:, -8:].max() > 0) == reaches


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"gate must be one of sigmoid, relu.*'softmax'"):
        SqueezeAttention(4, gate="softmax")
    with pytest.raises(ValueError, match="pool=0"):
        SqueezeAttention(4, pool=0)
    with pytest.raises(ValueError, match="reduction=0"):
        SqueezeExcitation(4, reduction=0)
