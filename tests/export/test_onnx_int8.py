"""The ranges of int8 in ONNX, against a search in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from onnx import numpy_helper

from kzoo.export import onnx_file, onnx_int8
from kzoo.export.target import Target

SHAPE = (1, 16, 16, 3)


def pictures(power):
    """Even over 0..255 at the power 1; at a higher one few pixels reach far beyond all others."""
    rng = np.random.default_rng(0)
    return [(255 * rng.uniform(size=SHAPE) ** power).astype("float32") for _ in range(3)]


def best_range(tensors):
    """Of all pictures' largest value, the part at which the squared error is least."""
    largest = max(np.abs(tensor).max() for tensor in tensors)

    def error(part):
        step = part * largest / 127
        rounded = [np.clip(np.rint(tensor / step), -128, 127) * step for tensor in tensors]
        return np.mean([(a - b) ** 2 for a, b in zip(rounded, tensors, strict=True)])

    return largest * min(onnx_int8.RANGES, key=error)


@pytest.mark.parametrize("power", [1, 8, 40])
def test_ranges_are_where_the_squared_error_is_least(power, tmp_path):
    rng = np.random.default_rng(1)
    first, second = (rng.normal(size=size).astype("float32") for size in ((3, 3, 3, 8), (1, 1, 8, 5)))

    def inner(image):
        return tf.nn.relu(tf.nn.conv2d(image, first, 1, "VALID"))

    @tf.function(input_signature=[tf.TensorSpec(SHAPE, tf.float32, name="image")])
    def network(image):
        return {"logits": tf.nn.conv2d(inner(image), second, 1, "VALID")}

    images = pictures(power)
    plain = onnx_file.convert(network, Target("onnx", SHAPE[1:3]))
    model = onnx_int8.to_int8(plain, lambda: images, (), tmp_path)
    constants = {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}
    quantisers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    found = [127 * constants[node.input[1]] for node in quantisers if node.input[0] not in constants]
    expected = [best_range(images), best_range([np.asarray(inner(image)) for image in images])]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (found[0] < 0.99 * 255) == (power == 40)
