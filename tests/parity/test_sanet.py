"""kzoo's SANet and its modules against the PyTorch statement of them: outputs, losses, every weight's gradient."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")

from kzoo.layers import SqueezeAttention, SqueezeExcitation  # noqa: E402
from kzoo.models import SANet  # noqa: E402
from tests.parity import torch_sanet, weights  # noqa: E402
from tests.parity.test_encnet import NUM_CLASSES, assert_close, batch, to_numpy, to_torch  # noqa: E402


@pytest.fixture
def in_float64():
    keras.config.set_dtype_policy("float64")


def compare(layer, reference, x):
    reference = weights.randomise(reference).double().eval()
    layer.build(x.shape)
    model = keras.Sequential([keras.Input((None, None, x.shape[-1]), dtype="float64"), layer])
    weights.copy(reference, model, lambda name: "module/" + name.replace(".", "/"))
    with torch.no_grad():
        expected = to_numpy(reference(to_torch(x)))
    assert_close(layer(x), expected, 1e-12, "output")


@pytest.mark.parametrize("gate", ["sigmoid", "relu"])
@pytest.mark.parametrize(("pool", "align_corners"), [(2, True), (3, False), (4, True)])
def test_squeeze_attention(in_float64, pool, align_corners, gate):
    """At a size that no pool divides."""
    x = np.random.default_rng(0).normal(size=(2, 11, 13, 12))
    layer = SqueezeAttention(8, pool, gate=gate, align_corners=align_corners, name="module")
    compare(layer, torch_sanet.SqueezeAttention(12, 8, pool, gate, align_corners), x)


def test_squeeze_excitation(in_float64):
    x = np.random.default_rng(0).normal(size=(2, 11, 13, 12))
    compare(SqueezeExcitation(8, name="module"), torch_sanet.SqueezeExcitation(12, 8), x)


@pytest.mark.parametrize(("attention", "align_corners"), [("sa", True), ("se", False)])
def test_network(in_float64, attention, align_corners):
    """All heads, the weighed losses and every gradient, with the statistics of the batch, in float64."""
    alpha, beta = 0.3, 0.7
    reference = weights.randomise(torch_sanet.SANet(NUM_CLASSES, attention, align_corners=align_corners)).double()
    model = SANet(
        NUM_CLASSES,
        backbone="resnet50",
        backbone_args={"stem": "s"},
        attention=attention,
        align_corners=align_corners,
        dropout=0.0,
        categorical_weight=alpha,
        dense_weight=beta,
        name="sa_net",
    )
    pairs = weights.copy(reference, model, torch_sanet.keras_path)
    images, masks = batch()
    expected = reference.train()(to_torch(np.asarray(model.preprocessing(images), "float64")))
    expected_loss = torch_sanet.loss(expected, torch.from_numpy(masks).long(), alpha, beta)
    expected_loss.backward()
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = model.compute_loss(images, masks, outputs)
    assert set(outputs) == set(expected)
    for head, tensor in expected.items():
        assert_close(outputs[head], to_numpy(tensor), 1e-9, head)
    np.testing.assert_allclose(float(loss), expected_loss.item(), rtol=1e-9)
    trainable = model.trainable_variables
    gradients = {v.path: g for v, g in zip(trainable, tape.gradient(loss, trainable), strict=True)}
    for tensor, variable, name in pairs:
        if variable.trainable:
            gradient = weights.to_keras_array(name, tensor.grad.numpy())
            assert_close(gradients[variable.path], gradient, 1e-7, variable.path)
