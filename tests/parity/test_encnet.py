"""kzoo's EncNet against the PyTorch statement of it: every head, both modes, every weight's gradient."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")

from kzoo.layers import ContextEncoding  # noqa: E402
from kzoo.models import EncNet  # noqa: E402
from tests.parity import torch_encnet, weights  # noqa: E402

NUM_CLASSES = 5
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def build(lateral: bool, align_corners: bool, dtype=torch.float32):
    """Both networks with the same random weights and BN statistics, and their weights in pairs."""
    options = {"lateral": lateral, "align_corners": align_corners, "dropout": 0.0}
    reference = weights.randomise(torch_encnet.EncNet(NUM_CLASSES, **options)).to(dtype)
    model = EncNet(NUM_CLASSES, backbone="resnet50", stem="s", name="enc_net", **options)
    pairs = weights.copy(reference, model, torch_encnet.keras_path)
    return reference, model, pairs


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Pictures 0..255 and masks in which one class is missing and a part is ignored."""
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 255, (2, 41, 58, 3)).astype("float32")
    masks = rng.integers(0, NUM_CLASSES - 1, (2, 41, 58)).astype("int32")
    masks[1, :20] = 255
    masks[0, :, :7] = NUM_CLASSES - 1
    return images, masks


def to_torch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    array = tensor.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def assert_close(actual, expected: np.ndarray, tolerance: float, what: str) -> None:
    """Equal to `tolerance` times the largest expected value."""
    actual = np.asarray(actual)
    assert actual.shape == expected.shape, what
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=what)


@pytest.mark.parametrize(("lateral", "align_corners"), [(True, False), (False, True)])
def test_inference(lateral, align_corners):
    reference, model, _ = build(lateral, align_corners)
    images, _ = batch()
    normalised = ((images / 255.0 - MEAN) / STD).astype("float32")
    with torch.no_grad():
        expected = reference.eval()(to_torch(normalised))
    assert_close(model(images), to_numpy(expected["logits"]), 1e-5, "logits")


@pytest.mark.parametrize(("lateral", "align_corners"), [(True, True), (False, False)])
def test_training(lateral, align_corners):
    """All heads, the loss, every gradient and the moving means, with the statistics of the batch.

    In float64, because rounding grows a thousandfold through fifty normalisations with a small batch's statistics. Only
    the normalised pictures (therefore shared) and the logits and their resizing are float32, as under any policy.
    """
    keras.config.set_dtype_policy("float64")
    reference, model, pairs = build(lateral, align_corners, torch.float64)
    images, masks = batch()
    expected = reference.train()(to_torch(np.asarray(model.preprocessing(images), "float64")))
    expected_loss = torch_encnet.loss(expected, torch.from_numpy(masks).long())
    expected_loss.backward()
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = model.compute_loss(images, masks, outputs)
    assert set(outputs) == set(expected) == {"logits", "se_logits", "aux"}
    for head, tensor in expected.items():
        assert_close(outputs[head], to_numpy(tensor), 1e-5, head)
    np.testing.assert_allclose(float(loss), expected_loss.item(), rtol=1e-6)

    trainable = model.trainable_variables
    gradients = {v.path: g for v, g in zip(trainable, tape.gradient(loss, trainable), strict=True)}
    for tensor, variable, name in pairs:
        if variable.trainable:
            gradient = weights.to_keras_array(name, tensor.grad.numpy())
            assert_close(gradients[variable.path], gradient, 1e-5, variable.path)
        elif name == "moving_mean":
            assert_close(variable, tensor.numpy(), 1e-9, variable.path)


@pytest.mark.parametrize("projection", [True, False])
@pytest.mark.parametrize(("reduction", "gate"), [("mean", "residual"), ("sum", "product")])
def test_forms_of_the_module(projection, reduction, gate):
    form = {"projection": projection, "reduction": reduction, "gate": gate}
    reference = weights.randomise(torch_encnet.ContextEncoding(12, 4, num_codewords=6, **form)).eval()
    layer = ContextEncoding(4, num_codewords=6, name="context", **form)
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 12)).astype("float32")
    layer.build(x.shape)
    model = keras.Sequential([keras.Input((None, None, 12)), layer])
    weights.copy(reference, model, lambda name: "context/" + name.replace(".", "/"))
    with torch.no_grad():
        features, presence = reference(torch.from_numpy(x).permute(0, 3, 1, 2))
    actual_features, actual_presence = layer(x)
    assert_close(actual_features, to_numpy(features), 1e-5, "features")
    assert_close(actual_presence, to_numpy(presence), 1e-5, "presence")
