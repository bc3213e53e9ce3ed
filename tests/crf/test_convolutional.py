"""The convolutional CRF against mean field with truncated kernels, and through the exporters."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.crf import ConvolutionalCRF
from kzoo.crf.bilateral import truncated_bilateral_kernel
from tests.crf.gaussians import features, mean_field, normalize, places, truncated
from tests.crf.test_dense import SIZE, WIDTHS, scene

SIGNATURE = [keras.InputSpec(shape=(1, *SIZE, 3), dtype="float32", name="image")]


@pytest.mark.parametrize("normalization", ["none", "after", "symmetric"])
@pytest.mark.parametrize("filter_size", [3, 7])
def test_equals_mean_field_with_truncated_kernels(normalization, filter_size):
    logits, images = scene()
    weights = (0.2, 0.3) if normalization == "none" else (2.0, 3.0)
    crf = ConvolutionalCRF(
        **WIDTHS,
        spatial_weight=weights[0],
        bilateral_weight=weights[1],
        iterations=3,
        filter_size=filter_size,
        normalization=normalization,
    )
    refined = crf(logits, images)
    for i, image in enumerate(images):
        points = places(image) / WIDTHS["spatial_sigma"], features(image, *list(WIDTHS.values())[1:])
        spatial, bilateral = (normalize(truncated(p, image, filter_size // 2), normalization) for p in points)
        kernel = weights[0] * spatial + weights[1] * bilateral
        expected = mean_field(logits[i].reshape(-1, 4).astype("float64"), lambda q: kernel @ q, 3)  # noqa: B023
        np.testing.assert_allclose(np.reshape(refined[i], (-1, 4)), expected, atol=1e-4)


def test_strided_messages_pass_between_means_over_squares():
    logits, images = scene()
    height, width, classes = logits.shape[1:]
    stride = 2
    crf = ConvolutionalCRF(
        **WIDTHS, spatial_weight=2.0, bilateral_weight=3.0, iterations=3, filter_size=5, stride=stride
    )
    refined = crf(logits, images)
    # Averaging and bilinear interpolation (half-pixel centres) along one axis, as matrices.
    means = [np.kron(np.eye(side // stride), np.full((1, stride), 1 / stride)) for side in (height, width)]
    down = np.kron(*means)
    up = np.kron(*[_interpolation(side // stride, side) for side in (height, width)])
    for i, image in enumerate(images):
        small = (down @ image.reshape(-1, 3)).reshape(height // stride, width // stride, 3)
        sigma_xy, sigma_rgb = WIDTHS["bilateral_sigma_xy"] / stride, WIDTHS["bilateral_sigma_rgb"]
        points = places(small) / (WIDTHS["spatial_sigma"] / stride), features(small, sigma_xy, sigma_rgb)
        kernels = [up @ truncated(p, small, 2) @ down for p in points]
        kernel = sum(w * normalize(k, "after") for w, k in zip((2.0, 3.0), kernels, strict=True))
        expected = mean_field(logits[i].reshape(-1, classes).astype("float64"), lambda q: kernel @ q, 3)  # noqa: B023
        np.testing.assert_allclose(np.reshape(refined[i], (-1, classes)), expected, atol=1e-4)


def _interpolation(source: int, target: int) -> np.ndarray:
    places = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    return np.maximum(0, 1 - np.abs(places[:, np.newaxis] - np.arange(source)))


def test_gradient_of_the_truncated_kernel_equals_finite_differences():
    logits, images = scene()
    x = logits.astype("float64")
    kernel = truncated_bilateral_kernel(tf.cast(images, "float64"), 8.0, 13.0, 2)
    direction = np.random.default_rng(2).normal(size=x.shape)

    def value(x):
        return tf.reduce_sum(tf.sin(kernel(x)))

    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        result = value(variable)
    slope = np.sum(tape.gradient(result, variable) * direction)
    step = 1e-5 * direction
    assert slope == pytest.approx(float(value(x + step) - value(x - step)) / 2e-5, rel=1e-6)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Coarse logits and the refinement, for one picture of a fixed size."""
    door = keras.Input((*SIZE, 3), batch_size=1, name="image")
    logits = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.Rescaling(1 / 255)(door))
    model = keras.Model(door, ConvolutionalCRF(**WIDTHS, filter_size=5, iterations=3)(logits, door))
    model(np.zeros((1, *SIZE, 3), "float32"))
    return model


def test_exports_to_onnx(network, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    onnx = pytest.importorskip("onnx")
    image = scene()[1][:1].astype("float32")
    network.export(tmp_path / "crf.onnx", format="onnx", input_signature=SIGNATURE, verbose=False)
    graph = onnx.load(tmp_path / "crf.onnx").graph
    kinds = {node.op_type for node in graph.node}
    arithmetic = {
        "Add",
        "Sum",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "Exp",
        "Sqrt",
        "Reciprocal",
        "Pow",
        "ReduceSum",
        "ReduceSumSquare",
    }
    assert kinds <= arithmetic | {"Pad", "Slice", "Conv", "Softmax", "Transpose", "Reshape", "Squeeze", "Unsqueeze"}
    session = onnxruntime.InferenceSession(str(tmp_path / "crf.onnx"), providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {session.get_inputs()[0].name: image})
    np.testing.assert_allclose(exported, network(image), atol=1e-4)


def test_exports_to_litert(network, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    image = scene()[1][:1].astype("float32")
    network.export(tmp_path / "crf.tflite", format="litert", input_signature=SIGNATURE, verbose=False)
    interpreter = litert.Interpreter(str(tmp_path / "crf.tflite"))
    run = interpreter.get_signature_runner()
    # TensorFlow's own kernels, which no phone has, would slip in silently.
    assert not [op["op_name"] for op in interpreter._get_ops_details() if op["op_name"].startswith("Flex")]
    (exported,) = run(**dict.fromkeys(run.get_input_details(), image)).values()
    np.testing.assert_allclose(exported, network(image), atol=1e-4)


def test_errors():
    with pytest.raises(ValueError, match="filter_size=4"):
        ConvolutionalCRF(filter_size=4)
