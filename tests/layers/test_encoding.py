"""Encoding against hand-computed values and against the residual form in PyTorch."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.layers import Encoding, EncodingDrop


def features(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def built(num_codewords: int, x: np.ndarray, layer_class=Encoding, **kwargs):
    """A layer with codewords and scales of the features' own order, where the assignment is neither hard nor even."""
    layer = layer_class(num_codewords, **kwargs)
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    layer.codewords.assign(rng.normal(size=(num_codewords, x.shape[-1])))
    layer.scale.assign(rng.uniform(-0.3, 0.0, num_codewords))
    return layer


def residual_form(x: np.ndarray, codewords: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Equations 1 and 2 in float64, residual by residual."""
    x, codewords, scale = (np.asarray(a, "float64") for a in (x, codewords, scale))
    residuals = x.reshape(x.shape[0], -1, 1, x.shape[-1]) - codewords
    weights = scale * np.square(residuals).sum(-1)
    weights = np.exp(weights - weights.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return (weights[..., None] * residuals).sum(1)


def test_hand_computed():
    layer = Encoding(2)
    layer.build((1, 2, 1))
    layer.codewords.assign([[0.0], [2.0]])
    layer.scale.assign([-np.log(2.0), -np.log(2.0)])
    # Pixel 0 is 0 from codeword 0 and 4 (squared) from codeword 1: exp(-s d) = 1 and 1/16, so 16/17 and 1/17.
    # Pixel 1 lies between them: a half each. Residuals to codeword 0: 0 and 1; to codeword 1: -2 and -1.
    encoded = layer(np.array([[[0.0], [1.0]]], "float32"))
    np.testing.assert_allclose(np.ravel(encoded), [0.5 * 1.0, (1 / 17) * -2.0 + 0.5 * -1.0], rtol=1e-6)


def test_different_scales_use_the_features_own_length():
    """With one scale for all codewords |x|^2 cancels in the softmax; with different ones it must not be left out."""
    layer = Encoding(2)
    layer.build((1, 1, 1))
    layer.codewords.assign([[0.0], [0.0]])
    layer.scale.assign([-1.0, -0.5])
    odds = np.exp(-0.5 * 9.0)  # of codeword 0 against codeword 1, three away from x
    encoded = np.ravel(layer(np.array([[[3.0]]], "float32")))
    np.testing.assert_allclose(encoded, [3 * odds / (1 + odds), 3 / (1 + odds)], rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 35, 16), (2, 5, 7, 16)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_equals_torch_with_gradients(shape, dtype, tolerance):
    torch = pytest.importorskip("torch", reason="the reference is stated in PyTorch")
    from tests.parity import torch_encnet

    x = features(*shape, dtype=dtype)
    layer = built(8, x, dtype=dtype)
    upstream = np.random.default_rng(2).normal(size=(2, 8, 16)).astype(dtype)
    arrays = [x.reshape(2, 35, 16), layer.codewords.numpy(), layer.scale.numpy()]
    tensors = [torch.from_numpy(array).requires_grad_() for array in arrays]
    expected = torch_encnet.encode(*tensors)
    (expected * torch.from_numpy(upstream)).sum().backward()

    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        encoded = layer(variable)
        value = tf.reduce_sum(encoded * upstream)
    gradients = tape.gradient(value, [variable, layer.codewords.value, layer.scale.value])
    assert encoded.dtype == dtype
    np.testing.assert_allclose(encoded, expected.detach().numpy(), rtol=0, atol=tolerance * 50)
    for actual, tensor in zip(gradients, tensors, strict=True):
        reference = tensor.grad.numpy()
        actual = np.reshape(actual, reference.shape)
        np.testing.assert_allclose(actual, reference, rtol=0, atol=tolerance * np.abs(reference).max())
    two_products = torch_encnet.encode_by_products(*tensors).detach().numpy()
    np.testing.assert_allclose(two_products, expected.detach().numpy(), rtol=0, atol=tolerance * 50)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_is_the_float32_result_rounded_once(half):
    """|x|^2 is 512 * 20^2 = 204,800 here, beyond float16, and sums over 900 pixels are beyond either's precision."""
    x = tf.cast(20.0 + features(1, 30, 30, 512), half)
    encoded = {}
    for policy in ("float32", f"mixed_{half}"):
        layer = Encoding(4, dtype=policy)
        layer.build(x.shape)
        layer.codewords.assign(20.0 + np.random.default_rng(1).normal(size=(4, 512)))
        layer.scale.assign([-0.01, -0.02, -0.015, -0.012])
        encoded[policy] = layer(x)
        assert layer.codewords.dtype == "float32"
    single = encoded["float32"]
    # The distances are small differences of large squares, which costs float32 itself a few units in the fifth digit.
    expected = residual_form(np.asarray(tf.cast(x, "float32")), layer.codewords.numpy(), layer.scale.numpy())
    np.testing.assert_allclose(single, expected, rtol=0, atol=2e-4 * np.abs(expected).max())
    assert encoded[f"mixed_{half}"].dtype == half
    np.testing.assert_array_equal(encoded[f"mixed_{half}"], tf.cast(single, half))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_large_features_stay_finite(policy):
    x = tf.constant(features(2, 6, 6, 64) * 1e3)
    layer = built(5, np.zeros((2, 6, 6, 64)), dtype=policy)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(tf.cast(layer(x), "float32"))
    for gradient in tape.gradient(value, [x, layer.codewords.value, layer.scale.value]):
        assert np.isfinite(gradient).all()


def test_published_initial_ranges():
    layer = Encoding(32)
    layer.build((None, None, 512))
    limit = 1 / np.sqrt(32 * 512)
    codewords, scale = layer.codewords.numpy(), layer.scale.numpy()
    assert codewords.shape == (32, 512) and scale.shape == (32,)
    assert -limit <= codewords.min() < -0.95 * limit and 0.95 * limit < codewords.max() <= limit
    assert -1 <= scale.min() < -0.7 and -0.3 < scale.max() <= 0


def test_symbolic_shapes_and_serialisation(tmp_path):
    inputs = keras.Input((None, None, 16))
    model = keras.Model(inputs, Encoding(8)(inputs))
    assert model.output_shape == (None, 8, 16)
    assert Encoding(8).compute_output_shape((None, None, 16)) == (None, 8, 16)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for size in ((3, 4), (7, 2)):
        x = features(2, *size, 16)
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
        expected = residual_form(x, *model.layers[-1].get_weights())
        np.testing.assert_allclose(model(x), expected, atol=1e-4)


def test_no_residual_tensor_is_formed():
    """No tensor of the traced forward and backward pass has the N x K x C elements of the residuals."""
    n, k, c = 60, 8, 16
    layer = Encoding(k)
    layer.build((1, n, c))

    @tf.function(input_signature=[tf.TensorSpec((1, n, c))])
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(layer(x))
        return tape.gradient(value, [x, layer.codewords.value, layer.scale.value])

    graph = step.get_concrete_function().graph
    largest = max(t.shape.num_elements() or 0 for op in graph.get_operations() for t in op.outputs)
    assert largest <= n * max(k, c)


def test_encoding_drop_draws_scales_when_training_and_takes_their_mean_otherwise():
    x = features(2, 35, 16)
    layer = built(8, x, EncodingDrop, seed=3)
    fixed = residual_form(x, layer.codewords.numpy(), np.full(8, -0.5))
    np.testing.assert_allclose(layer(x), fixed, atol=1e-4)
    np.testing.assert_allclose(layer(x, training=False), fixed, atol=1e-4)
    first, second = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
    assert np.abs(first - second).max() > 1e-3
    assert layer.trainable_variables == [layer.codewords]
    assert EncodingDrop.from_config(layer.get_config()).get_config() == layer.get_config()


def test_encoding_drop_draws_between_minus_one_and_zero_by_its_seed():
    def scales(seed: int) -> np.ndarray:
        """One step's 200 scales: a pixel on codeword 0 and one away from the others gives these 1 : exp(scale)."""
        layer = EncodingDrop(201, seed=seed)
        layer.build((1, 1, 200))
        layer.codewords.assign(np.eye(201, 200, -1))
        share = -np.diagonal(layer(np.zeros((1, 1, 200), "float32"), training=True)[0, 1:])
        return np.log(share / (1 - share.sum()))

    drawn = scales(3)
    assert -1.001 < drawn.min() < -0.95 and -0.05 < drawn.max() < 0.001
    np.testing.assert_array_equal(scales(3), drawn)
    assert not np.allclose(scales(4), drawn)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Encoding(0), "num_codewords=0"),
        (lambda: Encoding(4)(features(3, 5)), r"\(3, 5\)"),
        (lambda: Encoding(4).build((None, None, None)), "channel"),
    ],
)
def test_errors_name_the_mistake(make, words):
    with pytest.raises(ValueError, match=words):
        make()
