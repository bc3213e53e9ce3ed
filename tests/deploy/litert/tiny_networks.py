"""Networks of one convolution as .tflite files, and what NumPy says that they compute."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import tensorflow as tf

HEIGHT, WIDTH, CLASSES = 40, 56, 4


def weights() -> np.ndarray:
    """(3, 3, 3, CLASSES): no channel and no place counts like another."""
    return np.random.default_rng(3).normal(size=(3, 3, 3, CLASSES)).astype(np.float32) * 0.02


def statement(picture: np.ndarray) -> np.ndarray:
    """The networks' logits in NumPy: a 3x3 convolution of RGB - 110, zeros around."""
    padded = np.pad(picture.astype(np.float64) - 110, ((1, 1), (1, 1), (0, 0)))
    height, width = picture.shape[:2]
    kernel = weights().astype(np.float64)
    return sum(padded[y : y + height, x : x + width] @ kernel[y, x] for y in range(3) for x in range(3))


def convert(name: str, picture: np.ndarray) -> bytes:
    """A .tflite file.

    Args:
        name: `float32`; `inside8`: int8 with float32 input and output; `int8`, `uint8`: of these types outside, too;
            `classes`: float32 in, int32 classes out.
        picture: (HEIGHT, WIDTH, 3) uint8, what is quantised for.
    """
    kernel = tf.constant(weights())

    @tf.function(input_signature=[tf.TensorSpec([1, HEIGHT, WIDTH, 3], tf.float32, name="image")])
    def network(image: Any) -> Any:
        logits = tf.nn.conv2d(image - 110.0, kernel, 1, "SAME")
        return tf.argmax(logits, -1, output_type=tf.int32) if name == "classes" else logits

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], network)
    if name in ("inside8", "int8", "uint8"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        mirrored = picture[:, ::-1]
        samples = [image[np.newaxis].astype(np.float32) for image in (picture, mirrored, 255 - picture)]
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(_tensor(name))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # "Statistics for quantized inputs were expected": it takes its own
        return converter.convert()


def _tensor(name: str) -> str:
    return name if name in ("int8", "uint8") else "float32"


def sidecar(name: str) -> dict[str, Any]:
    """What `kzoo export` would say of it, without the finished file's checksum."""
    tensor, shape = _tensor(name), [1, HEIGHT, WIDTH]
    output = {"name": "logits", "shape": [*shape, CLASSES], "layout": "NHWC", "type": tensor, "kind": "logits"}
    if name == "classes":
        output = {"name": "classes", "shape": shape, "layout": "NHW", "type": "int32", "kind": "classes"}
    image = {"name": "image", "shape": [*shape, 3], "layout": "NHWC", "type": tensor, "color": "RGB", "range": [0, 255]}
    return {
        "kzoo_sidecar": 1,
        "format": "litert",
        "precision": "fp32" if name in ("float32", "classes") else "int8",
        "network": {"name": f"tiny_{name}"},
        "input": image,
        "output": output,
        "classes": ["background", "cat", "dog", "bird"],
        "palette": [[0, 0, 0], [200, 30, 30], [40, 220, 60], [10, 20, 250]],
        "ignore_label": 255,
    }


def agree_where_clear(classes: np.ndarray, logits: np.ndarray) -> bool:
    """Whether classes are the best of logits, where the best leads by more than float32's rounding."""
    two = np.sort(logits, -1)[..., -2:]
    clear = two[..., 1] - two[..., 0] > 1e-3
    assert clear.mean() > 0.99
    return bool((classes == logits.argmax(-1))[clear].all())
