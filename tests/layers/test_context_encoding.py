"""The Context Encoding Module against its formula in NumPy, and its variants."""

import keras
import numpy as np
import pytest

from kzoo.layers import ContextEncoding


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def randomise(layer):
    rng = np.random.default_rng(5)
    for weight in layer.weights:
        low, high = (0.5, 2.0) if "variance" in weight.path or "gamma" in weight.path else (-1.0, 1.0)
        weight.assign(rng.uniform(low, high, weight.shape))


def expected(layer, x):
    """Features and presence logits by the paper's formulas, one pixel and codeword at a time."""
    context = x.astype("float64")
    if layer.projection:
        kernel = np.asarray(layer.project.conv.kernel)[0, 0]
        context = np.maximum(normalise(layer.project.bn, context @ kernel), 0)
    if layer.num_codewords:
        codewords, scale = np.asarray(layer.encoding.codewords), np.asarray(layer.encoding.scale)
        encoded = np.zeros((len(x), *codewords.shape))
        for b, picture in enumerate(context):
            for pixel in picture.reshape(-1, x.shape[-1]):
                residual = pixel - codewords
                score = np.exp(scale * (residual**2).sum(1))
                encoded[b] += (score / score.sum())[:, None] * residual
        bn = layer.encoding_bn
        normed = np.stack([normalise(bn, encoded[:, :, c]) for c in range(x.shape[-1])], -1)
        context = getattr(np.maximum(normed, 0), layer.reduction)(1)
    else:
        context = context.mean((1, 2))
    gate = sigmoid(context @ np.asarray(layer.channel_gate.kernel) + np.asarray(layer.channel_gate.bias))
    gated = x * gate[:, None, None]
    features = gated if layer.gate == "product" else np.maximum(x + gated, 0)
    return features, context @ np.asarray(layer.presence.kernel) + np.asarray(layer.presence.bias)


def normalise(bn, x):
    gamma, beta, mean, variance = (np.asarray(weight) for weight in bn.get_weights())
    return (x - mean) / np.sqrt(variance + bn.epsilon) * gamma + beta


FORMS = [
    {},
    {"projection": False, "reduction": "sum", "gate": "product"},
    {"num_codewords": 0},
    {"num_codewords": 0, "projection": False},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_equals_the_formula(form):
    layer = ContextEncoding(num_classes=3, **{"num_codewords": 4, **form})
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 6)).astype("float32")
    layer(x)
    randomise(layer)
    features, presence = layer(x)
    want_features, want_presence = expected(layer, x)
    np.testing.assert_allclose(features, want_features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(presence, want_presence, rtol=1e-4, atol=1e-5)


def test_mixed_precision_keeps_the_logits_in_float32():
    layer = ContextEncoding(num_classes=3, num_codewords=4, dtype="mixed_bfloat16")
    features, presence = layer(np.ones((2, 4, 4, 6), "float32"))
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(presence.dtype) == "float32"


def test_shapes_and_round_trip():
    layer = ContextEncoding(num_classes=3, num_codewords=4, reduction="sum", gate="product", projection=False)
    assert layer.compute_output_shape((None, None, None, 6)) == ((None, None, None, 6), (None, 3))
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"num_classes": 3, "num_codewords": -1}, "num_codewords=-1"),
        ({"num_classes": 3, "reduction": "meen"}, "Did you mean 'mean'"),
        ({"num_classes": 3, "gate": "residal"}, "Did you mean 'residual'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ContextEncoding(**arguments)
