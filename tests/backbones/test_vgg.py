"""VGG-16 as DeepLab has it: Caffe's sizes, strides and dilations, the weights of others."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from kzoo.backbones import vgg16
from kzoo.convert import CheckpointError
from tests.convert.caffe_writer import caffemodel

CONVOLUTIONS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3")


@pytest.fixture(scope="module")
def backbone():
    return vgg16()


def caffe_pool(side: int) -> int:
    """A side after Caffe's pooling, kernel 3, stride 2, padding 1: rounded up, but no window begins in the padding."""
    pooled = math.ceil((side + 2 * 1 - 3) / 2) + 1
    return pooled - 1 if (pooled - 1) * 2 >= side + 1 else pooled


def test_sides_are_caffes(backbone):
    for side in (*range(1, 50), 306, 320, 321, 500, 513):
        features = backbone(keras.KerasTensor((1, side, side + 3, 3)))
        for axis, length in ((1, side), (2, side + 3)):
            wanted = [length := caffe_pool(length) for _ in range(3)]
            assert [features[f"c{index}"].shape[axis] for index in range(5)] == [*wanted, wanted[-1], wanted[-1]]
    for side, last in ((321, 41), (513, 65)):
        assert backbone(keras.KerasTensor((1, side, side, 3)))["c4"].shape == (1, last, last, 512)


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [(8, [2, 4, 8, 8, 8], [1, 1, 1, 1, 2]), (16, [2, 4, 8, 16, 16], [1] * 5), (32, [2, 4, 8, 16, 32], [1] * 5)],
)
def test_strides_and_dilations(output_stride, strides, dilations):
    backbone = vgg16(output_stride=output_stride)
    assert backbone.strides == dict(zip(("c0", "c1", "c2", "c3", "c4"), strides, strict=True))
    assert backbone.channels == {"c0": 64, "c1": 128, "c2": 256, "c3": 512, "c4": 512}
    for name in CONVOLUTIONS:
        block, index = name.split("_")
        layer = backbone.get_layer(f"block{block}_conv{index}")
        assert layer.dilation_rate == (dilations[int(block) - 1],) * 2
    features = backbone(keras.KerasTensor((1, 65, 97, 3)))
    for name, stride in backbone.strides.items():
        assert features[name].shape[1:3] == (64 // stride + 1, 96 // stride + 1)


def test_means_count_the_padding():
    """Of ones: a corner's window holds 4 of 9, an edge's 6."""
    backbone = vgg16()
    last = keras.Model(backbone.get_layer("block5_pool").output, backbone.output["c4"])
    means = np.asarray(last(np.ones((1, 3, 4, 512), "float32")))[0, :, :, 0]
    np.testing.assert_allclose(means * 9, [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]], rtol=1e-6)
    assert vgg16(average_pool=False).layers[-1].name == "block5_pool"


def test_imagenet_weights_are_those_of_keras_applications(monkeypatch):
    published = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))

    def fetched(*, weights, include_top, input_shape):
        assert weights == "imagenet" and not include_top
        return published

    monkeypatch.setattr(keras.applications, "VGG16", fetched)
    backbone = vgg16(weights="imagenet")
    rgb = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype("float32")
    # Up to the first pool both are the same network; Keras subtracts nearly the same mean.
    prepared = keras.applications.vgg16.preprocess_input(rgb.copy())
    order = backbone.preprocessing
    assert order.bgr
    ours = (rgb * order.scale + order.offset)[..., ::-1]
    np.testing.assert_allclose(ours, prepared, atol=1.1)
    taps = [keras.Model(m.input, m.get_layer("block1_conv2").output) for m in (backbone, published)]
    np.testing.assert_allclose(taps[0](prepared), taps[1](prepared), rtol=1e-5, atol=1e-3)
    for layer in published.layers:
        for index, theirs in enumerate(layer.weights):
            np.testing.assert_array_equal(backbone.get_layer(layer.name).weights[index], theirs)


def caffe_layers() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    widths = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}
    layers, channels = {}, 3
    for name in CONVOLUTIONS:
        filters = widths[name[0]]
        layers[f"conv{name}"] = [rng.random((filters, channels, 3, 3), "f4"), rng.random(filters, "f4")]
        channels = filters
    return layers


def test_a_caffemodel_of_vgg_itself(backbone, tmp_path):
    layers, path = caffe_layers(), tmp_path / "VGG_ILSVRC_16_layers.caffemodel"
    path.write_bytes(caffemodel({**layers, "fc6": [np.ones((1, 1, 2, 8), "f4"), np.ones(2, "f4")]}, old=True))
    loaded = vgg16(weights=path)
    for name in CONVOLUTIONS:
        kernel, bias = loaded.get_layer(f"block{name[0]}_conv{name[2]}").get_weights()
        np.testing.assert_array_equal(kernel, layers[f"conv{name}"][0].transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(bias, layers[f"conv{name}"][1])
    path.write_bytes(caffemodel({name: arrays for name, arrays in layers.items() if name != "conv3_2"}))
    with pytest.raises(CheckpointError, match="nothing sets block3_conv2/kernel"):
        vgg16(weights=path)


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="output_stride=4"):
        vgg16(output_stride=4)
    with pytest.raises(FileNotFoundError, match=r"gone\.caffemodel"):
        vgg16(weights=tmp_path / "gone.caffemodel")
