"""The zero-shot layers and losses against PyTorch statements of them: outputs and gradients, in float64."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from kzoo.losses import kl_divergence, mmd  # noqa: E402
from kzoo.models.zero_shot import (  # noqa: E402
    ContextualModule,
    Discriminator,
    FeatureGenerator,
    GraphFeatureGenerator,
    SharedClassifier,
    class_adjacency,
)
from tests.parity import weights  # noqa: E402
from tests.parity.test_encnet import assert_close, to_numpy, to_torch  # noqa: E402

SLOPE = 0.25  # TensorFlow rounds the slope to float32, which changes 0.2


@pytest.fixture(autouse=True)
def in_float64():
    keras.config.set_dtype_policy("float64")


class TorchContext(nn.Module):
    """The contextual module, with one branch for each form where they differ."""

    def __init__(self, channels, filters, code, selector):
        super().__init__()
        self.code = code
        self.context_1 = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.context_2 = nn.Conv2d(filters, filters, 3, padding=2, dilation=2, bias=False)
        self.context_3 = nn.Conv2d(filters, filters, 3, padding=5, dilation=5, bias=False)
        self.selector = nn.Conv2d(3 * filters, 3, 3, padding=1, bias=False) if selector else None
        self.pool = nn.Conv2d(3 * filters, channels, 1, bias=False)
        self.mean = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.log_variance = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x):
        one = F.relu(self.context_1(torch.sigmoid(x) if self.code else x))
        two = F.relu(self.context_2(one))
        three = F.relu(self.context_3(two))
        joined = torch.cat([one, two, three], 1)
        if self.selector is not None:
            scores = self.selector(joined)
            chosen = torch.sigmoid(F.relu(scores) if self.code else scores)
            joined = joined * chosen.repeat_interleave(one.shape[1], dim=1)
        context = F.relu(self.pool(joined))
        mean, log_variance = self.mean(context), self.log_variance(context)
        attended = x + x * torch.sigmoid(mean)
        if self.code:
            attended, log_variance = torch.sigmoid(attended), F.relu(log_variance)
        return {"features": attended, "mean": mean, "log_variance": log_variance}


@pytest.mark.parametrize("selector", [True, False])
@pytest.mark.parametrize("form", ["paper", "code"])
def test_contextual_module(form, selector):
    """Outputs, and the gradients of every weight through the attention and the KL divergence."""
    x = np.random.default_rng(0).normal(size=(2, 9, 11, 6))
    reference = weights.randomise(TorchContext(6, 4, form == "code", selector)).double()
    module = ContextualModule(4, form=form, selector=selector, name="module")
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, module(inputs))
    pairs = weights.copy(reference, model, lambda name: f"module/{name}")
    expected = reference(to_torch(x))
    mean, log_variance = expected["mean"], expected["log_variance"]
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, torch.exp(log_variance / 2)), torch.distributions.Normal(0.0, 1.0)
    )
    (kl.sum(1).mean() + (expected["features"] ** 2).sum()).backward()
    with tf.GradientTape() as tape:
        outputs = module(x)
        loss = kl_divergence(outputs["mean"], outputs["log_variance"])
        tf.debugging.assert_near(loss, tf.constant(kl.sum(1).mean().item(), loss.dtype), rtol=1e-12)
        loss = loss + tf.reduce_sum(outputs["features"] ** 2)
    for name, tensor in expected.items():
        assert_close(outputs[name], to_numpy(tensor), 1e-12, name)
    gradients = tape.gradient(loss, [variable for _, variable, _ in pairs])
    for (tensor, variable, name), gradient in zip(pairs, gradients, strict=True):
        assert_close(gradient, weights.to_keras_array(name, tensor.grad.numpy()), 1e-9, variable.path)


def perceptron(sizes, sigmoid):
    layers = []
    for index, (before, after) in enumerate(itertools.pairwise(sizes), 1):
        layers += [(f"linear_{index}", nn.Linear(before, after))]
        if index < len(sizes) - 1:
            layers += [(f"leaky_{index}", nn.LeakyReLU(SLOPE))]
    module = nn.Sequential()
    for name, layer in layers + ([("sigmoid", nn.Sigmoid())] if sigmoid else []):
        module.add_module(name, layer)
    return weights.randomise(module).double()


@pytest.mark.parametrize("sigmoid", [True, False])
def test_generator(sigmoid):
    rng = np.random.default_rng(0)
    embeddings, noise = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 6))
    reference = perceptron([11, 9, 8, 7], sigmoid)
    activation = "sigmoid" if sigmoid else None
    generator = FeatureGenerator(7, (9, 8), (0.5, 0.1), SLOPE, activation, name="g")
    inputs = [keras.Input((None, None, 5)), keras.Input((None, None, 6))]
    weights.copy(reference, keras.Model(inputs, generator(*inputs)), lambda name: f"g/{name}")
    with torch.no_grad():
        expected = reference(torch.from_numpy(np.concatenate([embeddings, noise], -1))).numpy()
    assert_close(generator(embeddings, noise), expected, 1e-12, "features")


def test_graph_generator():
    """Graph convolutions as `A (X W) + b`, the neighbours' mean after the product."""
    rng = np.random.default_rng(0)
    embeddings, noise = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 4))
    adjacency = np.array(class_adjacency(rng.integers(0, 5, (2, 2, 3)), 5), "float64")
    reference = perceptron([7, 6, 4], False)
    generator = GraphFeatureGenerator(4, (6,), (0.5,), SLOPE, name="g")
    inputs = [keras.Input((5, size)) for size in (3, 4, 5)]
    weights.copy(reference, keras.Model(inputs, generator(*inputs)), lambda name: f"g/{name}")
    first, second = reference.linear_1, reference.linear_2
    graph, x = torch.from_numpy(adjacency), torch.from_numpy(np.concatenate([embeddings, noise], -1))
    with torch.no_grad():
        x = F.leaky_relu(graph @ (x @ first.weight.T) + first.bias, SLOPE)
        expected = graph @ (x @ second.weight.T) + second.bias
    assert_close(generator(embeddings, noise, adjacency), expected.numpy(), 1e-12, "features")


def test_classifier_and_discriminator():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    module = nn.ModuleDict({"shared": nn.Conv2d(5, 8, 1), "classes": nn.Conv2d(8, 3, 1), "score": nn.Conv2d(8, 1, 1)})
    reference = weights.randomise(module).double()
    classifier, discriminator = SharedClassifier(3, 8, name="c"), Discriminator(name="d")
    inputs = keras.Input((None, None, 5))
    classifier(inputs)
    hidden = keras.Input((None, None, 8))
    model = keras.Model([inputs, hidden], [classifier(inputs), discriminator(hidden)])
    weights.copy(reference, model, lambda name: ("d/" if name == "score" else "c/") + name)
    with torch.no_grad():
        shared = F.relu(reference["shared"](to_torch(x)))
        logits, scores = reference["classes"](shared), torch.sigmoid(reference["score"](shared))
    assert_close(classifier(x), to_numpy(logits), 1e-12, "logits")
    assert_close(discriminator(classifier.hidden(x)), to_numpy(scores), 1e-12, "scores")


@pytest.mark.parametrize("squared", [True, False])
def test_mmd_gradient(squared):
    """Distances pair by pair; value and gradient with respect to the generated features."""
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(6, 4)), rng.normal(0.3, 1.5, size=(5, 4))
    bandwidths = (2, 5, 10, 20, 40, 60)

    def mean_kernel(a, b):
        squares = ((a[:, None] - b[None]) ** 2).sum(-1)
        return sum(torch.exp(-squares / (2 * (v**2 if squared else v))).mean() for v in bandwidths)

    x, y = torch.from_numpy(real), torch.from_numpy(generated).requires_grad_()
    expected = (mean_kernel(x, x) - 2 * mean_kernel(x, y) + mean_kernel(y, y)).sqrt()
    expected.backward()
    features = tf.constant(generated)
    with tf.GradientTape() as tape:
        tape.watch(features)
        loss = mmd(real, features, bandwidths=bandwidths, squared_bandwidths=squared)
    np.testing.assert_allclose(float(loss), expected.item(), rtol=1e-9)
    np.testing.assert_allclose(tape.gradient(loss, features), y.grad.numpy(), rtol=1e-7)
