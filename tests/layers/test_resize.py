"""Resize against torch.nn.functional.interpolate, and everything a Keras layer has to survive."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.layers.resize import Resize, corner_aligned

FORMS = {
    "half-pixel": {},
    "corner-aligned": {"align_corners": True},
    "nearest": {"interpolation": "nearest"},
}
TORCH_FORMS = {
    "half-pixel": {"mode": "bilinear", "align_corners": False},
    "corner-aligned": {"mode": "bilinear", "align_corners": True},
    "nearest": {"mode": "nearest-exact"},
}
# Up, down, mixed, whole and odd factors, to and from a single pixel.
SIZES = [
    ((5, 7), (20, 28)),
    ((5, 7), (33, 13)),
    ((20, 31), (9, 8)),
    ((6, 6), (6, 17)),
    ((1, 1), (5, 3)),
    ((7, 4), (1, 1)),
]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, height, width, 3)).astype("float32")


def torch_resize(x: np.ndarray, size: tuple[int, int], form: str, upstream: np.ndarray | None = None):
    """PyTorch's result, and the gradient with respect to x where an upstream gradient is given."""
    torch = pytest.importorskip("torch", reason="the reference is torch.nn.functional.interpolate")
    t = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    y = torch.nn.functional.interpolate(t, size=size, **TORCH_FORMS[form]).permute(0, 2, 3, 1)
    if upstream is None:
        return y.detach().numpy()
    (y * torch.from_numpy(upstream)).sum().backward()
    return y.detach().numpy(), t.grad.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_equals_torch(form, source, target):
    x = picture(*source)
    expected = torch_resize(x, target, form)
    np.testing.assert_allclose(Resize(target, **FORMS[form])(x), expected, atol=1e-5)
    np.testing.assert_allclose(Resize(**FORMS[form])(x, np.zeros((2, *target, 1), "float32")), expected, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_float64_keeps_its_precision(form, source, target):
    x = picture(*source).astype("float64")
    expected = torch_resize(x, target, form)
    np.testing.assert_allclose(Resize(target, dtype="float64", **FORMS[form])(x), expected, rtol=0, atol=1e-13)
    reference = np.zeros((2, *target, 1))
    np.testing.assert_allclose(Resize(dtype="float64", **FORMS[form])(x, reference), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_equals_torch(form):
    x, upstream = picture(5, 7), picture(12, 9, seed=1)
    _, expected = torch_resize(x, (12, 9), form, upstream)
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        value = tf.reduce_sum(Resize((12, 9), **FORMS[form])(variable) * upstream)
    np.testing.assert_allclose(tape.gradient(value, variable), expected, atol=1e-5)


def test_hand_computed():
    row = np.array([0.0, 3.0], "float32").reshape(1, 1, 2, 1)
    # Half-pixel: sources -0.25, 0.25, 0.75, 1.25, clamped to the row; corner-aligned: 0, 1/3, 2/3, 1.
    np.testing.assert_allclose(np.ravel(Resize((1, 4))(row)), [0.0, 0.75, 2.25, 3.0], atol=1e-6)
    np.testing.assert_allclose(np.ravel(Resize((1, 4), align_corners=True)(row)), [0.0, 1.0, 2.0, 3.0], atol=1e-6)
    wide = np.arange(5, dtype="float32").reshape(1, 1, 5, 1)
    # The centres of three target pixels lie at 0.83, 2.5 and 4.17 of five source pixels: pixels 0, 2 and 4.
    np.testing.assert_array_equal(np.ravel(Resize((1, 3), interpolation="nearest")(wide)), [0, 2, 4])


@pytest.mark.parametrize("form", FORMS)
def test_equal_size_is_identity(form):
    x = tf.constant(picture(5, 7))
    assert Resize((5, 7), **FORMS[form])(x) is x
    np.testing.assert_allclose(Resize(**FORMS[form])(x, x[..., :1]), x)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("form", FORMS)
def test_mixed_precision_keeps_the_compute_dtype(form, policy):
    x = picture(5, 7)
    for layer_call in (Resize((9, 8), dtype=policy, **FORMS[form])(x), Resize((5, 7), dtype=policy, **FORMS[form])(x)):
        assert layer_call.dtype == policy.removeprefix("mixed_")
    result = tf.cast(Resize((9, 8), dtype=policy, **FORMS[form])(x), "float32")
    np.testing.assert_allclose(result, torch_resize(x, (9, 8), form), atol=0.03)


@pytest.mark.parametrize("form", FORMS)
def test_symbolic_shapes(form):
    image = keras.Input((None, None, 3))
    features = keras.Input((None, 4, 3))
    resized = Resize(**FORMS[form])(features, image)
    assert resized.shape == (None, None, None, 3)
    model = keras.Model([features, image], resized)
    for target in ((8, 9), (21, 16)):
        x = picture(6, 4)
        y = model.predict([x, picture(*target)], verbose=0)
        np.testing.assert_allclose(y, torch_resize(x, target, form), atol=1e-5)
    assert Resize((8, 9))(features).shape == (None, 8, 9, 3)


def test_traced_with_unknown_sizes_equals_eager():
    layer = Resize(align_corners=True)
    traced = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3))] * 2)
    x, reference = picture(6, 4), picture(11, 9)
    np.testing.assert_allclose(traced(x, reference), layer(x, reference), atol=1e-6)
    # A size known in part stays known: later layers build on it.
    partly = tf.function(layer).get_concrete_function(
        tf.TensorSpec((1, None, None, 3)), tf.TensorSpec((1, 12, None, 5))
    )
    assert partly.output_shapes.as_list() == [1, 12, None, 3]


def test_compute_output_shape():
    assert Resize((8, 9)).compute_output_shape((None, None, None, 3)) == (None, 8, 9, 3)
    assert Resize().compute_output_shape((2, 5, 7, 3), (2, 10, None, 1)) == (2, 10, None, 3)


@pytest.mark.parametrize("form", FORMS)
def test_serialisation(form, tmp_path):
    layer = Resize((9, 8), name="up", **FORMS[form])
    assert Resize.from_config(layer.get_config()).get_config() == layer.get_config()
    features, image = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    model = keras.Model([features, image], Resize(**FORMS[form])(keras.layers.Conv2D(3, 1)(features), image))
    inputs = [picture(5, 7), picture(9, 8)]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0))
    assert keras.models.clone_model(model).predict(inputs, verbose=0).shape == (2, 9, 8, 3)


def test_inside_a_model_batch_normalization_stays_in_inference_mode():
    """The fault of keras.layers.Resizing that this layer is there to avoid."""
    inputs = keras.Input((None, None, 3))
    x = Resize()(keras.layers.Conv2D(4, 3, strides=2)(inputs), inputs)
    normalization = keras.layers.BatchNormalization()
    model = keras.Model(inputs, normalization(x))
    before = [np.array(weight) for weight in model.weights]
    called = model(picture(9, 9))
    np.testing.assert_allclose(called, model.predict(picture(9, 9), verbose=0), atol=1e-5)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Resize(interpolation="bicubic"), "bicubic"),
        (lambda: Resize((4, 4), interpolation="nearest", align_corners=True), "align_corners"),
        (lambda: Resize(7), "height, width"),
        (lambda: Resize((0, 4)), "positive"),
        (lambda: Resize((4.5, 4)), "positive integers"),
        (lambda: Resize()(picture(4, 4)), "no size"),
        (lambda: Resize((4, 4))(picture(4, 4), picture(4, 4)), "two sizes"),
        (lambda: Resize((4, 4))(picture(4, 4)[0]), r"\(B, H, W, C\)"),
        (lambda: Resize()(picture(4, 4), picture(4, 4)[0]), "reference"),
    ],
)
def test_errors_name_the_mistake(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("form", ["half-pixel", "corner-aligned"])
def test_onnx_holds_one_resize(form):
    tf2onnx = pytest.importorskip("tf2onnx", reason="checks the exported graph")
    runtime = pytest.importorskip("onnxruntime", reason="runs the exported graph")
    layer = Resize(**FORMS[form])
    shapes = [tf.TensorSpec((1, 5, 7, 3), name="features"), tf.TensorSpec((1, 12, 9, 3), name="image")]
    model, _ = tf2onnx.convert.from_function(tf.function(layer, input_signature=shapes), shapes, opset=13)
    assert [node.op_type for node in model.graph.node].count("Resize") == 1
    x = picture(5, 7)[:1]
    session = runtime.InferenceSession(model.SerializeToString())
    # The reference tensor is used for its static shape alone, so it may be gone from the graph.
    feeds = {i.name: {"features": x}.get(i.name, picture(12, 9)[:1]) for i in session.get_inputs()}
    np.testing.assert_allclose(session.run(None, feeds)[0], torch_resize(x, (12, 9), form), atol=1e-5)


@pytest.mark.parametrize(
    ("side", "size", "places"),
    [
        (321, 41, range(0, 321, 8)),
        (8, 3, [0, 4, 7]),  # 0, 3.5 and 7
        (10, 4, [0, 3, 6, 9]),
        (6, 5, [0, 1, 3, 4, 5]),  # 0, 1.25, 2.5, 3.75 and 5
        (5, 1, [0]),
        (1, 1, [0]),
        (4, 4, range(4)),
    ],
)
def test_labels_at_the_places_of_a_corner_aligned_map(side, size, places):
    labels = np.random.default_rng(0).integers(0, 256, (2, side, 7)).astype("uint8")
    by_height = corner_aligned(labels, np.zeros((2, size, 7, 3)))
    by_width = corner_aligned(labels.transpose(0, 2, 1), np.zeros((2, 7, size, 3)))
    np.testing.assert_array_equal(by_height, labels[:, list(places)])
    np.testing.assert_array_equal(by_width, labels[:, list(places)].transpose(0, 2, 1))
