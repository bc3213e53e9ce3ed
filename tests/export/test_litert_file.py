"""int8 `.tflite` files in the corners where the converter's own result does not run."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kzoo.export.litert_file import LitertConverter
from kzoo.export.litert_operations import census
from kzoo.export.runners import open_artifact

SHAPE = (1, 16, 16, 3)


def pictures() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(4):
        yield rng.uniform(0, 255, SHAPE).astype("float32")


def test_a_relu_that_calibration_never_saw_alive(tmp_path) -> None:
    """Its range is 0, its scale one that XNNPACK does not take; the rest is int8 all the same."""
    rng = np.random.default_rng(1)
    first, dead, last = (
        tf.constant(rng.normal(size=(3, 3, n, m)) / 60, tf.float32) for n, m in ((3, 8), (8, 1), (8, 5))
    )

    @tf.function(input_signature=[tf.TensorSpec(SHAPE, tf.float32, name="image")])
    def network(image):
        x = tf.nn.relu(tf.nn.conv2d(image, first, 1, "SAME"))
        gate = tf.sigmoid(tf.nn.relu(tf.nn.conv2d(x, dead, 1, "SAME", name="dead") - 100.0))
        return {"logits": tf.nn.conv2d(x * gate, last, 1, "SAME")}

    file = LitertConverter(network, pictures).convert("int8")
    precisions = sorted(product.precision for product in census(file).products)
    assert precisions == ["fp32", "int8", "int8"]
    path = tmp_path / "network.tflite"
    path.write_bytes(file)
    image = next(pictures())
    expected = network(image)["logits"].numpy()
    np.testing.assert_allclose(open_artifact(path)(image), expected, atol=0.05 * np.ptp(expected))
