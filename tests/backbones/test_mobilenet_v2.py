"""MobileNetV2 against Keras Applications' network, and against itself at other output strides."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.backbones import mobilenet_v2
from kzoo.errors import FetchError
from tests.backbones.same_padding import assert_close, assert_same_at_more_places, first_place

LEVELS = ("c1", "c2", "c3", "c4")
APPLICATION_LAYERS = ("block_2_add", "block_5_add", "block_12_add", "block_16_project_BN")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (1, height, width, 3)).astype("float32")


def randomise(model: keras.Model, seed: int = 0) -> None:
    """BatchNorm weights and statistics far from (1, 0, 0, 1), which would hide faults; some units pass ReLU6's six."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            ranges = ((1.0, 3.0), (-0.5, 1.0), (-0.1, 0.1), (0.05, 0.3))
            layer.set_weights([rng.uniform(low, high, n) for low, high in ranges])


@pytest.mark.parametrize(("width", "size"), [(1.0, (64, 97)), (0.5, (33, 64)), (1.4, (63, 65))])
def test_equals_keras_applications(width, size):
    """In float64: rounding grows a hundredfold through these weights, and a wrong epsilon must not pass for it."""
    keras.config.set_dtype_policy("float64")
    published = keras.applications.MobileNetV2((*size, 3), alpha=width, include_top=False, weights=None)
    randomise(published)
    backbone = mobilenet_v2(width=width, output_stride=32)
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(published.get_layer(layer.name).get_weights())
    taps = keras.Model(published.inputs, [published.get_layer(name).output for name in APPLICATION_LAYERS])
    x = picture(*size).astype("float64")
    features = backbone(x, training=False)
    for level, expected in zip(LEVELS, taps(x, training=False), strict=True):
        assert_close(features[level], expected, 1e-10)
        assert backbone.channels[level] == expected.shape[-1]


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_network_computes_the_undilated_one_at_more_places(output_stride):
    undilated, dilated = mobilenet_v2(output_stride=32), mobilenet_v2(output_stride=output_stride)
    randomise(undilated)
    dilated.set_weights(undilated.get_weights())
    # Sides that are even and odd in all four combinations at strides 8 and 16, and odd themselves.
    for height, width in ((64, 72), (88, 97), (65, 79), (81, 95)):
        assert_same_at_more_places(dilated, undilated, picture(height, width), LEVELS)


def test_the_first_places_by_hand():
    assert [first_place(8, 1), first_place(9, 1)] == [1, 0]
    assert [first_place(8, 2), first_place(9, 2), first_place(10, 2), first_place(11, 2)] == [3, 0, 1, 2]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("width", [0.5, 1.0, 1.4])
def test_strides_and_channels(width, output_stride):
    backbone = mobilenet_v2(width=width, output_stride=output_stride)
    expected = {"c1": 4, "c2": 8, "c3": min(16, output_stride), "c4": min(32, output_stride)}
    assert backbone.strides == expected
    # Widths of 24, 32, 96 and 320, rounded to multiples of 8 as published.
    published = {0.5: (16, 16, 48, 160), 1.0: (24, 32, 96, 320), 1.4: (32, 48, 136, 448)}
    assert tuple(backbone.channels.values()) == published[width]
    shapes = backbone.compute_output_shape((1, 97, 130, 3))
    for level, stride in expected.items():
        assert tuple(shapes[level])[1:3] == (math.ceil(97 / stride), math.ceil(130 / stride))


def test_every_weight_gets_a_gradient():
    backbone = mobilenet_v2(output_stride=8)
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_mean(tf.square(feature)) for feature in backbone(picture(65, 64), training=True).values())
    gradients = tape.gradient(loss, backbone.trainable_variables)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in map(np.asarray, gradients))


def test_preprocessing_takes_bytes_to_minus_one_and_one():
    preprocessing = mobilenet_v2().preprocessing
    rgb = np.array([0.0, 127.5, 255.0])
    np.testing.assert_allclose(rgb * preprocessing.scale + preprocessing.offset, [-1, 0, 1], atol=1e-7)


@pytest.mark.parametrize(("arguments", "words"), [({"output_stride": 4}, "output_stride=4"), ({"width": 0}, "width=0")])
def test_errors_name_the_mistake(arguments, words):
    with pytest.raises(ValueError, match=words):
        mobilenet_v2(**arguments)


def test_weights_that_keras_cannot_fetch(monkeypatch):
    def fail(*_, **__):
        raise Exception("URL fetch failure on https://...: None")  # as keras.utils.get_file raises it

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(FetchError, match=r"MobileNetV2\(alpha=1\.0\): URL fetch failure .* weights=PATH"):
        mobilenet_v2(weights="imagenet")
