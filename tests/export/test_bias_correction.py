"""What int8 adds on average is taken off the biases, in both formats."""

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from kzoo.export import onnx_file, onnx_int8
from kzoo.export.bias_correction import mean_error
from kzoo.export.litert_bias import _Biases, _by_channel
from kzoo.export.litert_file import LitertConverter
from kzoo.export.litert_operations import operations, unpack
from kzoo.export.runners import open_artifact
from kzoo.export.target import Target

SHAPE = (1, 24, 24, 4)


@pytest.mark.parametrize(
    ("weights", "rounded", "expected"),
    [
        # Two channels in, two taps: (1 + 2) * 10 + (3 + 4) * 20 less (1 + 1) * 11 + (3 + 3) * 18.
        ([[[1, 2], [3, 4]]], [[[1, 1], [3, 3]]], [170 - 130]),
        # Each channel alone, as in a depthwise convolution: 3 * 10 - 2 * 11, 7 * 20 - 6 * 18.
        ([[[1, 2]], [[3, 4]]], [[[1, 1]], [[3, 3]]], [8, 32]),
        # Two channels out of each one in: 10 - 11, 20 - 22; 60 - 54, 80 - 72.
        ([[[1]], [[2]], [[3]], [[4]]], [[[1]], [[2]], [[3]], [[4]]], [-1, -2, 6, 8]),
    ],
)
def test_the_mean_error(weights, rounded, expected):
    error = mean_error(np.array(weights), np.array(rounded), np.array([10, 20]), np.array([11, 18]))
    np.testing.assert_allclose(error, expected)


def test_the_mean_error_of_groups_of_channels():
    """Four channels in, two groups: each output sums its own two, all weights 1."""
    ones = np.ones((2, 2, 1))
    np.testing.assert_allclose(mean_error(ones, ones, np.array([1, 2, 4, 8]), np.zeros(4)), [3, 12])


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_the_layouts_of_weights_in_litert(kind):
    """Over a picture that is the same everywhere, the mean of a convolution is what it gives anywhere."""
    rng = np.random.default_rng(2)
    shape, mean = (1, 5, 5, 4), rng.normal(size=4)
    image = np.broadcast_to(mean, shape)
    if kind == "DEPTHWISE_CONV_2D":
        kernel = rng.normal(size=(2, 3, 4, 2))
        expected, weights = tf.nn.depthwise_conv2d(image, kernel, [1] * 4, "VALID"), kernel.reshape(1, 2, 3, 8)
    elif kind == "CONV_2D":
        kernel = rng.normal(size=(2, 3, 4, 6))
        expected, weights = tf.nn.conv2d(image, kernel, 1, "VALID"), kernel.transpose(3, 0, 1, 2)
    else:
        weights = rng.normal(size=(6, 4))
        expected = image @ weights.T
    found = mean_error(_by_channel(weights, kind), np.zeros_like(_by_channel(weights, kind)), mean, mean)
    np.testing.assert_allclose(found, np.asarray(expected)[0, 0, 0], rtol=1e-12)


def pictures():
    """Most pixels lie below half a step of the channels' common range, and int8 makes 0 of them."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        yield (255 * rng.uniform(size=SHAPE) ** 16).astype("float32")


@pytest.fixture(scope="module")
def network():
    """A depthwise convolution with two channels out of each one in, one of several taps, and one without a bias.

    Of positive weights, so that the errors add up to several steps of what comes out; the first channels' are larger
    than the last ones'."""
    rng = np.random.default_rng(1)
    depthwise, wide, last = (
        (rng.uniform(size=size) * np.geomspace(1, 0.1, size[2])[:, None]).astype("float32")
        for size in ((5, 5, 4, 2), (1, 3, 8, 6), (1, 1, 6, 5))
    )
    bias = rng.normal(size=8).astype("float32")

    @tf.function(input_signature=[tf.TensorSpec(SHAPE, tf.float32, name="image")])
    def run(image):
        x = tf.nn.bias_add(tf.nn.depthwise_conv2d(image, depthwise, [1, 1, 1, 1], "VALID"), bias)
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, wide, 1, "VALID"), bias[:6]))
        return {"logits": tf.nn.conv2d(x, last, 1, "VALID")}

    return run


def channel_means(run):
    return np.mean([np.asarray(run(picture)) for picture in pictures()], axis=(0, 1, 2, 3))


def onnx_files(network, folder):
    plain = onnx_file.convert(network, Target("onnx", SHAPE[1:3]))
    for int8 in (onnx_int8.quantise, onnx_int8.to_int8):
        model = int8(plain, pictures, (), folder)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        yield lambda picture, session=session: session.run(None, {"image": picture})[0]


def litert_files(network, folder):
    converter = LitertConverter(network, pictures)
    for name, file in (("plain", converter.quantise(())), ("corrected", converter.convert("int8"))):
        path = folder / f"{name}.tflite"
        path.write_bytes(file)
        yield open_artifact(path)


@pytest.mark.parametrize("files", [onnx_files, litert_files])
def test_the_mean_of_each_channel_is_kept(network, tmp_path, files):
    exact = channel_means(lambda picture: network(picture)["logits"])
    uncorrected, corrected = (np.abs(channel_means(run) - exact).max() for run in files(network, tmp_path))
    assert corrected < 0.1 * uncorrected


@pytest.fixture(scope="module")
def twice():
    """Two convolutions without biases: the converter gives both the same zeros."""
    rng = np.random.default_rng(1)
    kernels = [rng.normal(size=(1, 1, 4, 4)).astype("float32") for _ in range(2)]

    @tf.function(input_signature=[tf.TensorSpec(SHAPE, tf.float32, name="image")])
    def run(image):
        x = tf.nn.relu(tf.nn.conv2d(image, kernels[0], 1, "SAME"))
        return {"logits": tf.nn.conv2d(x, kernels[1], 1, "SAME")}

    return LitertConverter(run, pictures)


def biases_of(model):
    graph = model.subgraphs[0]
    places = [operation.operator.inputs[2] for operation in operations(model) if operation.kind == "CONV_2D"]
    return [np.frombuffer(bytes(model.buffers[graph.tensors[place].buffer].data), np.int32) for place in places]


def test_biases_that_shared_a_buffer_get_their_own(twice):
    first, second = biases_of(unpack(twice.convert("int8")))
    assert first.any() and second.any() and (first != second).any()


def test_biases_that_shared_a_tensor_get_their_own(twice):
    """As those of a layer that is called twice do."""
    model = unpack(twice.quantise(()))
    first, second = (operation for operation in operations(model) if operation.kind == "CONV_2D")
    second.operator.inputs[2] = first.operator.inputs[2]
    steps = first.inputs[2].quantization.scale
    _Biases(model).add(second, np.array([3, 0, -2, 1]) * steps)
    np.testing.assert_array_equal(biases_of(model), [[0, 0, 0, 0], [3, 0, -2, 1]])


def test_the_file_does_not_grow(network):
    """What the new biases replace is not left in it."""
    converter = LitertConverter(network, pictures)
    before, after = (unpack(file) for file in (converter.quantise(()), converter.convert("int8")))
    assert len(after.subgraphs[0].tensors) == len(before.subgraphs[0].tensors)
    assert sum(len(bytes(buffer.data)) for buffer in after.buffers if buffer.data is not None) <= sum(
        len(bytes(buffer.data)) for buffer in before.buffers if buffer.data is not None
    )
