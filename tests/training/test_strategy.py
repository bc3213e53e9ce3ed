"""Two devices with synchronised BatchNorm train as one device does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.backbones import unfold_batch_normalization
from kzoo.data import AugmentConfig, open_dataset, training_pipeline
from kzoo.models import FCN, EncNet
from kzoo.training.strategy import make_strategy, set_synchronized

STEPS = 5
PRECISIONS = {
    # In float32, rounding alone (ReLU6 flips a few of millions of activations, and training multiplies the difference
    # tenfold a step) moves the weights by per cents in 5 steps, on one device as well: one step is what can be told.
    "float32": (1, 1e-4),
    # In float64 the same 5 steps have nothing to multiply.
    "float64": (STEPS, 1e-7),
}


@pytest.fixture(scope="module")
def batches(kzoo_data):
    """Real pictures: on noise, a fresh network is so ill-conditioned that float32 itself is off by per cents."""
    dataset = open_dataset("camvid", kzoo_data / "camvid", "train")
    stream = training_pipeline(
        dataset, crop=(97, 97), batch_size=4, augment=AugmentConfig.none(), seed=0, epochs=1, cache=False
    )
    pairs = []
    for images, labels in stream.take(STEPS).as_numpy_iterator():
        # The two halves of the batch ignore different areas: the first nearly all, the second a corner.
        labels = labels.copy()
        labels[:2, :80] = 255
        labels[2:, :10, :10] = 255
        pairs.append((images, labels))
    return pairs


def train(batches, weights, devices, synchronized=True):
    """Weights and losses after one step a batch, lr 0.01, SE and auxiliary losses on."""
    keras.utils.set_random_seed(1)
    with make_strategy(devices).scope():
        model = EncNet(
            11,
            backbone="mobilenet_v2",
            output_stride=16,
            filters=32,
            num_codewords=8,
            dropout=0.0,
            aux=True,
            backbone_weights=weights,
        )
        unfold_batch_normalization(model.backbone, [model.preprocessing(images) for images, _ in batches])
        set_synchronized(model, synchronized)
        model.compile(optimizer=keras.optimizers.SGD(0.01))
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    stream = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4, drop_remainder=True)
    history = model.fit(stream, epochs=1, shuffle=False, verbose=0).history
    return [np.asarray(weight) for weight in model.weights], history


def distance(weights, others):
    """The largest difference of a weight, in units of what its tensor's size allows."""
    return max(
        np.abs(value - other).max() / max(1e-2, np.abs(value).max())
        for value, other in zip(weights, others, strict=True)
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_synchronised_devices_equal_one(batches, kzoo_data, precision):
    steps, tolerance = PRECISIONS[precision]
    keras.config.set_dtype_policy(precision)
    weights = kzoo_data / "weights" / "mobilenetv2_1.0_224_imagenet_folded_f32.npz"
    one, history = train(batches[:steps], weights, 1)
    two, history_of_two = train(batches[:steps], weights, 2)
    assert distance(one, two) < tolerance
    for name, value in history.items():
        np.testing.assert_allclose(history_of_two[name], value, rtol=tolerance)
    # The same run without synchronisation: the comparison can tell.
    unsynchronised, _ = train(batches[:steps], weights, 2, synchronized=False)
    assert distance(one, unsynchronised) > 100 * distance(one, two)


def test_too_many_devices():
    with pytest.raises(ValueError, match=r"asks for 64 logical CPU devices, but .* started with 2"):
        make_strategy(64)


def test_a_network_of_two_devices_predicts_outside_the_scope():
    with make_strategy(2).scope():
        model = FCN(3, backbone="mobilenet_v2", backbone_args={"width": 0.35}, output_stride=32, filters=8, aux=False)
    images = np.random.default_rng(0).uniform(0, 255, (2, 33, 41, 3)).astype("float32")
    np.testing.assert_allclose(model.predict(images, verbose=0), model(images), atol=1e-4)
