"""ConvBNReLU: its parts in order, and its configuration."""

import keras
import numpy as np
import pytest

from kzoo.layers import ConvBNReLU


@pytest.mark.parametrize("separable", [False, True])
def test_is_its_parts_in_order(separable):
    layer = ConvBNReLU(4, 3, dilation_rate=2, separable=separable)
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 6)).astype("float32")
    assert layer(x).shape == layer.compute_output_shape(x.shape) == (2, 9, 8, 4)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.2, 1.0, weight.shape))
    y = x
    if separable:
        y = keras.ops.relu(layer.depthwise_bn(layer.depthwise(y)))
    y = keras.ops.relu(layer.bn(layer.conv(y)))
    np.testing.assert_allclose(layer(x), y, rtol=1e-6)
    assert layer.conv.kernel.shape == ((1, 1, 6, 4) if separable else (3, 3, 6, 4))


@pytest.mark.parametrize("separable", [False, True])
def test_dilation_sets_the_taps_apart(separable):
    layer = ConvBNReLU(1, 3, dilation_rate=2, separable=separable)
    impulse = np.zeros((1, 7, 7, 1), "float32")
    impulse[0, 3, 3] = 1
    layer(impulse)
    for weight in layer.weights:
        if weight.name == "kernel":
            weight.assign(np.ones(weight.shape))
    reached = np.zeros((7, 7), bool)
    reached[1:6:2, 1:6:2] = True
    np.testing.assert_array_equal(np.asarray(layer(impulse))[0, :, :, 0] > 0, reached)


def test_round_trip_and_bad_arguments():
    layer = ConvBNReLU(4, 3, dilation_rate=2, separable=True)
    assert keras.layers.deserialize(keras.layers.serialize(layer)).get_config() == layer.get_config()
    with pytest.raises(ValueError, match="filters=0"):
        ConvBNReLU(0)
