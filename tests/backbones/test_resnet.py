"""ResNets against a PyTorch statement of the same networks, and against themselves at other output strides."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.backbones import resnet50, resnet101, resnet152

LEVELS = ("c1", "c2", "c3", "c4")


def picture(height: int, width: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, height, width, 3)).astype("float32")


def randomise(model: keras.Model, seed: int = 0) -> None:
    """BatchNorm weights and statistics far from (1, 0, 0, 1), which would hide faults."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            ranges = ((0.5, 1.2), (-0.3, 0.3), (-0.3, 0.3), (0.6, 1.8))
            layer.set_weights([rng.uniform(low, high, n) for low, high in ranges])


def count(variables: list[keras.Variable]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Equal to `tolerance` times the largest expected value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(("output_stride", "caffe"), [(8, False), (16, False), (8, True)])
def test_dilated_network_computes_the_undilated_one_at_more_places(output_stride, caffe):
    undilated, dilated = (resnet50(stem="s", output_stride=stride, caffe=caffe) for stride in (32, output_stride))
    randomise(undilated)
    dilated.set_weights(undilated.get_weights())
    for height, width in ((65, 97), (64, 83)):
        x = picture(height, width)
        expected, dense = undilated(x, training=False), dilated(x, training=False)
        for level in LEVELS:
            step = undilated.strides[level] // dilated.strides[level]
            assert step == {8: {"c3": 2, "c4": 4}, 16: {"c4": 2}}[output_stride].get(level, 1)
            assert_close(dense[level][:, ::step, ::step], expected[level], 1e-5)


@pytest.mark.parametrize(("stem", "output_stride"), [("b", 8), ("b", 32), ("c", 16), ("s", 8), ("s", 32)])
def test_features_equal_torch(stem, output_stride):
    torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")
    from tests.parity import torch_resnet, weights

    reference = weights.randomise(torch_resnet.ResNet(50, stem, output_stride)).eval()
    backbone = resnet50(stem=stem, output_stride=output_stride)
    weights.copy(reference, backbone, rename=lambda name: name.replace(".", "_"))
    x = picture(33, 50)
    with torch.no_grad():
        expected = reference(torch.from_numpy(x).permute(0, 3, 1, 2))
    features = backbone(x, training=False)
    for level, tensor in zip(LEVELS, expected, strict=True):
        array = tensor.permute(0, 2, 3, 1).numpy()
        assert_close(features[level], array, 1e-5)
        stride = backbone.strides[level]
        assert array.shape[1:3] == (math.ceil(33 / stride), math.ceil(50 / stride))


def test_gradients_and_moving_statistics_equal_torch_in_training_mode():
    """In float64, where a wrong term cannot pass for rounding."""
    torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")
    from tests.parity import torch_resnet, weights

    reference = weights.randomise(torch_resnet.ResNet(50, "s", 8)).double().train()
    keras.config.set_dtype_policy("float64")
    backbone = resnet50(stem="s", output_stride=8)
    pairs = weights.copy(reference, backbone, rename=lambda name: name.replace(".", "_"))
    x = picture(33, 34, batch=2).astype("float64")

    features = reference(torch.from_numpy(x).permute(0, 3, 1, 2))
    sum((feature.square().mean() for feature in features), torch.zeros(())).backward()
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_mean(tf.square(feature)) for feature in backbone(x, training=True).values())
    trainable = backbone.trainable_weights
    gradients = {v.path: gradient for v, gradient in zip(trainable, tape.gradient(loss, trainable), strict=True)}
    for tensor, variable, name in pairs:
        if variable.trainable:
            expected = weights.to_keras_array(name, tensor.grad.numpy())
            assert_close(gradients[variable.path].numpy(), expected, 1e-6)
        elif name == "moving_mean":
            assert_close(variable.numpy(), tensor.numpy(), 1e-9)


@pytest.mark.parametrize(
    ("build", "stem", "trainable", "norms"),
    [(resnet50, "s", 23_631_808, 55), (resnet101, "s", 42_623_936, 106), (resnet50, "b", 23_508_032, 53)],
)
def test_parameter_counts(build, stem, trainable, norms):
    backbone = build(stem=stem)
    assert count(backbone.trainable_weights) == trainable
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in backbone.layers) == norms
    assert not any(layer.use_bias for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D))


def test_features_strides_channels_and_names():
    backbone = resnet152(output_stride=16)
    assert backbone.strides == {"c1": 4, "c2": 8, "c3": 16, "c4": 16}
    assert backbone.channels == {"c1": 256, "c2": 512, "c3": 1024, "c4": 2048}
    assert count(backbone.trainable_weights) == 58_143_808  # torchvision's 60,192,808 less its classifier's 2,049,000
    names = {layer.name for layer in backbone.layers}
    assert {"stem_conv1", "layer1_0_downsample_conv", "layer3_35_bn3", "layer4_2_conv2"} <= names
    for norm in (layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)):
        assert (norm.epsilon, norm.momentum) == (1e-5, 0.9)


# Sides of 8 k + 1, and others: stride 2, the pool that rounds up (n: n // 2 + 1), and every second of these.
CAFFE_SIDES = {321: (81, 41), 513: (129, 65), 320: (81, 41), 324: (82, 41), 328: (83, 42), 368: (93, 47), 33: (9, 5)}


def test_caffes_form_is_told_by_its_sizes_strides_and_pictures():
    backbone = resnet50(output_stride=8, caffe=True)
    for side, (first, others) in CAFFE_SIDES.items():
        features = backbone(keras.Input((side, side, 3)))
        assert [features[level].shape[1:3] for level in LEVELS] == [(first,) * 2, *((others,) * 2,) * 3]
    for layer in (layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)):
        stage = int(layer.name[5]) if layer.name.startswith("layer") else 0
        strided = (stage == 2 and layer.name.endswith(("0_conv1", "0_downsample_conv"))) or layer.name == "stem_conv1"
        assert layer.strides == ((2, 2) if strided else (1, 1)), layer.name
        rate = {3: 2, 4: 4}.get(stage, 1) if layer.name.endswith("conv2") else 1
        assert layer.dilation_rate == (rate, rate), layer.name
    preprocessing = backbone.preprocessing
    assert preprocessing.bgr and preprocessing.scale == (1, 1, 1)
    assert preprocessing.offset == (-122.675, -116.669, -104.008)


@pytest.mark.parametrize(("output_stride", "caffe", "rates"), [(16, False, (2, 4, 8)), (8, True, (4, 8, 16))])
def test_multi_grid_multiplies_the_last_stages_dilations(output_stride, caffe, rates):
    backbone = resnet50(output_stride=output_stride, multi_grid=[1, 2, 4], caffe=caffe)
    found = [backbone.get_layer(f"layer4_{block}_conv2").dilation_rate for block in range(3)]
    assert found == [(rate, rate) for rate in rates]
    assert backbone.get_layer("layer3_1_conv2").dilation_rate == ((2, 2) if output_stride == 8 else (1, 1))


def test_preprocessing_is_the_mean_and_standard_deviation_of_imagenet():
    preprocessing = resnet50().preprocessing
    rgb = np.array([255.0, 0.0, 128.0])
    expected = (rgb / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(rgb * preprocessing.scale + preprocessing.offset, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras' words on the way to the error
def test_weights_file(tmp_path):
    saved = resnet50(stem="c")
    randomise(saved)
    path = tmp_path / "r50c.weights.h5"
    saved.save_weights(path)
    loaded = resnet50(stem="c", output_stride=8, weights=path)  # the output stride is no part of the weights
    for a, b in zip(saved.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="does not fit"):
        resnet50(stem="s", weights=path)
    with pytest.raises(ValueError, match="does not fit"):
        resnet101(stem="c", weights=path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        resnet50(weights=tmp_path / "nowhere.weights.h5")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"stem": "d"}, "stem 'd'"),
        ({"output_stride": 4}, "output_stride=4"),
        ({"multi_grid": [1, 2]}, r"multi_grid=\[1, 2\]"),
        ({"multi_grid": [1, 0, 4]}, r"3 blocks, e\.g\. \[1, 2, 4\]\. Received: multi_grid=\[1, 0, 4\]"),
        ({"multi_grid": 2}, "multi_grid=2"),
        ({"caffe": True, "weights": "imagenet"}, "no published .* Received: caffe=True, weights='imagenet'"),
    ],
)
def test_errors_name_the_mistake(arguments, words):
    with pytest.raises(ValueError, match=words):
        resnet50(**arguments)
