"""LargeFOV and ASPP against PyTorch's dilated convolutions, and everything a Keras layer has to survive."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

torch = pytest.importorskip("torch", reason="the references are torch.nn.functional's convolutions")

from torch.nn import functional  # noqa: E402

from kzoo.layers import ASPP, LargeFOV  # noqa: E402

# Kernel and rate: the paper's four fields of view, and one whose padding has no middle.
FIELDS = [(3, 12), (4, 4), (4, 8), (7, 4), (4, 1)]


def features(channels: int = 5) -> np.ndarray:
    """Smaller than the fields of view in one axis, so that padding is everywhere."""
    return np.random.default_rng(1).normal(size=(2, 9, 31, channels))


def randomise(layer: keras.Layer) -> None:
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        if "seed_generator" not in weight.path:
            low = 0.5 if "variance" in weight.path or "gamma" in weight.path else -1.0
            weight.assign(rng.uniform(low, 1.5, weight.shape))


def to_torch(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def kernel_and_bias(layer: keras.Layer) -> list[torch.Tensor]:
    kernel = torch.from_numpy(np.array(layer.kernel)).permute(3, 2, 0, 1)
    return [kernel, *([torch.from_numpy(np.array(layer.bias))] if layer.use_bias else [])]


def dilated(x: torch.Tensor, weights: list[torch.Tensor], rate: int) -> torch.Tensor:
    """A convolution that keeps the size; of an odd padding the larger half is at the end."""
    total = rate * (weights[0].shape[-1] - 1)
    x = functional.pad(x, (total // 2, total - total // 2) * 2)
    return functional.conv2d(x, *weights, dilation=rate)


def normalised(bn: keras.Layer | None, x: torch.Tensor) -> torch.Tensor:
    if bn is None:
        return x
    gamma, beta, mean, variance = (torch.from_numpy(np.array(weight)) for weight in bn.weights)
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=bn.epsilon)


@pytest.mark.parametrize(("kernel_size", "rate"), FIELDS)
def test_large_fov_equals_torch_with_its_gradients(kernel_size, rate):
    keras.config.set_dtype_policy("float64")
    layer = LargeFOV(kernel_size, rate, filters=4, batchnorm=kernel_size == 4, name="large_fov")
    x = features()
    assert layer(x).shape == layer.compute_output_shape(x.shape) == (2, 9, 31, 4)
    randomise(layer)
    fc6, fc7 = kernel_and_bias(layer.fc6), kernel_and_bias(layer.fc7)
    reference = to_torch(x).requires_grad_()
    weights = [tensor.requires_grad_() for tensor in (*fc6, *fc7)]
    hidden = functional.relu(normalised(layer.fc6_bn, dilated(reference, fc6, rate)))
    expected = functional.relu(normalised(layer.fc7_bn, functional.conv2d(hidden, *fc7)))
    upstream = np.random.default_rng(2).normal(size=(2, 9, 31, 4))
    (expected * to_torch(upstream)).sum().backward()

    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        actual = layer(tensor)
        loss = tf.reduce_sum(actual * upstream)
    variables = [*layer.fc6.weights, *layer.fc7.weights]
    found = tape.gradient(loss, [tensor, *variables])
    np.testing.assert_allclose(actual, expected.detach().permute(0, 2, 3, 1), rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(found[0], reference.grad.permute(0, 2, 3, 1), rtol=1e-10, atol=1e-9)
    for gradient, weight in zip(found[1:], weights, strict=True):
        wanted = weight.grad.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.grad
        np.testing.assert_allclose(gradient, wanted, rtol=1e-10, atol=1e-8)


def test_aspp_equals_torch():
    keras.config.set_dtype_policy("float64")
    layer, x = ASPP(rates=(1, 6, 12), filters=4), features()
    assert layer(x).shape == layer.compute_output_shape(x.shape) == (2, 9, 31, 4)
    randomise(layer)
    branches = zip(layer.branches, (1, 6, 12), strict=True)
    expected = sum(dilated(to_torch(x), kernel_and_bias(branch), rate) for branch, rate in branches)
    np.testing.assert_allclose(layer(x), expected.permute(0, 2, 3, 1), rtol=1e-12, atol=1e-10)


def test_dropout_is_for_training_alone():
    layer, x = LargeFOV(1, 1, filters=512, dropout=0.25), np.ones((1, 2, 2, 3), "float32")
    layer(x)
    layer.fc6.kernel.assign(tf.ones_like(layer.fc6.kernel) / 3)
    layer.fc7.kernel.assign(tf.eye(512)[None, None])
    np.testing.assert_allclose(layer(x), 1, rtol=1e-6)
    # Both drop: 9 of 16 values pass, multiplied by 4 / 3 twice.
    values, counts = np.unique(np.round(layer(x, training=True), 4), return_counts=True)
    np.testing.assert_allclose(values, [0, 16 / 9], atol=1e-4)
    assert 0.5 < counts[1] / counts.sum() < 0.62


@pytest.mark.parametrize("layer", [LargeFOV(4, 2, 6, 0.25, True), ASPP((2, 3), 6)], ids=["LargeFOV", "ASPP"])
def test_round_trip_and_mixed_precision(layer):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    y = half(np.ones((1, 5, 6, 3), "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {weight.dtype for weight in half.weights if "seed" not in weight.path} == {"float32"}


@pytest.mark.parametrize(
    ("layer", "arguments", "message"),
    [
        (LargeFOV, {"kernel_size": 0}, "kernel_size=0"),
        (LargeFOV, {"rate": 0}, "rate=0"),
        (LargeFOV, {"filters": 0}, "filters=0"),
        (LargeFOV, {"dropout": 1.0}, r"dropout=1\.0"),
        (ASPP, {"rates": ()}, r"rates=\(\)"),
        (ASPP, {"rates": (6, 0)}, r"rates=\(6, 0\)"),
        (ASPP, {"filters": 0}, "filters=0"),
    ],
)
def test_bad_arguments(layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        layer(**arguments)
