"""Resizing against Pillow's (pictures), TensorFlow's (logits), and loops (classes)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage import data

from kzoo_jetson.resize import classes_of, resize_bilinear, resize_nearest, resize_picture

SIZES = [((5, 7), (5, 7)), ((5, 7), (13, 9)), ((40, 31), (9, 8)), ((1, 6), (4, 1)), ((33, 20), (20, 33))]


@pytest.mark.parametrize("photo", [data.chelsea, data.astronaut], ids=lambda photo: photo.__name__)
@pytest.mark.parametrize(
    "size",
    [(90, 120), (150, 41), (101, 333), (300, 97), (71, 451), (701, 577), (123, 640), (512, 512), (1, 1), (7, 2)],
    ids=str,
)
def test_pictures_are_pillows(photo: Callable[[], np.ndarray], size: tuple[int, int]) -> None:
    picture = photo()[:, :, ::-1]  # as a frame of OpenCV's is turned to RGB
    resized = resize_picture(picture, size)
    assert resized.dtype == np.uint8
    assert resized.shape == (*size, 3)
    pillows = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.abs(resized.astype(int) - np.asarray(pillows)).max() <= 1
    # In two steps, each Pillow goes across first.
    across = Image.fromarray(picture).resize((size[1], len(picture)), Image.Resampling.BILINEAR)
    both = across.resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized, both)


def test_a_pixel_becomes_a_plain_picture() -> None:
    np.testing.assert_array_equal(resize_picture(np.full((1, 1, 3), 200, np.uint8), (5, 7)), 200)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_bilinear(old: tuple[int, int], new: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).uniform(0, 255, old).astype(np.float32)
    expected = tf.image.resize(plane[..., None], new).numpy()[..., 0]
    resized = resize_bilinear(plane, new)
    assert resized.dtype == np.float32
    # A handful of float32 roundings of values up to 255.
    np.testing.assert_allclose(resized, expected, rtol=0, atol=255 * 4 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_highest_resized_logits(old: tuple[int, int], new: tuple[int, int]) -> None:
    logits = np.random.default_rng(1).normal(size=(4, *old)).astype(np.float32)
    expected = tf.image.resize(logits.transpose(1, 2, 0), new).numpy()
    classes = classes_of(logits, new)
    assert classes.dtype == np.uint8
    best = np.sort(expected, axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-5  # where rounding cannot decide
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(classes[clear], expected.argmax(-1)[clear])


def test_the_first_of_equal_logits_wins() -> None:
    np.testing.assert_array_equal(classes_of(np.ones((3, 2, 2), np.float32), (2, 2)), 0)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_nearest(old: tuple[int, int], new: tuple[int, int]) -> None:
    classes = np.arange(old[0] * old[1], dtype=np.int32).reshape(old)
    expected = [
        [classes[(2 * y + 1) * old[0] // (2 * new[0]), (2 * x + 1) * old[1] // (2 * new[1])] for x in range(new[1])]
        for y in range(new[0])
    ]
    np.testing.assert_array_equal(resize_nearest(classes, new), expected)
