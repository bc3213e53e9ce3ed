"""Crop against an array's slice, in graphs with known and unknown sizes, and in an ONNX."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.export import onnx_file
from kzoo.export.target import Target
from kzoo.layers import Crop


@pytest.mark.parametrize("sides", [(9, 11), (None, None), (9, None)])
def test_takes_the_references_size_from_the_offset(sides: tuple[int | None, int | None]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 9, 11, 3)).astype("float32")
    reference = np.zeros((1, 5, 4, 7), "float32")
    signature = [tf.TensorSpec((None, *sides, 3)), tf.TensorSpec((None, None if None in sides else 5, None, 7))]
    cropped = tf.function(lambda x, y: Crop(3)(x, y), input_signature=signature)(x, reference)
    np.testing.assert_array_equal(cropped, x[:, 3:8, 3:7])


def test_a_picture_too_small_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"5.*6|6.*5"):
        Crop(3)(tf.zeros((1, 8, 12, 3)), tf.zeros((1, 6, 4, 3)))


def test_a_crop_between_convolutions_costs_no_transposition() -> None:
    """Only the two at the picture and at the result."""
    before, crop, after = keras.layers.Conv2D(4, 3), Crop(2), keras.layers.Conv2D(4, 3)
    before.build((1, 12, 12, 3))
    after.build((1, 5, 6, 4))
    function = tf.function(
        lambda image: after(crop(before(image), tf.zeros((1, 5, 6, 1)))),
        input_signature=[tf.TensorSpec((1, 12, 12, 3), tf.float32, name="image")],
    )
    kinds = [node.op_type for node in onnx_file.convert(function, Target("onnx", (12, 12))).graph.node]
    assert kinds.count("Transpose") == 2
    assert kinds.count("Conv") == 2
    assert "Slice" in kinds
