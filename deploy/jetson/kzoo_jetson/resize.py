"""Pictures to the network's size, and what it says back to the picture's: in NumPy alone, the same on every board.

A picture goes in as by Pillow's `Image.resize(..., BILINEAR)`, smoothed where it shrinks: so were exports verified and
int8 networks calibrated. Logits come back as by TensorFlow's `tf.image.resize`, without smoothing. Both have half-pixel
centres; OpenCV's bilinear differs from them.
"""

from functools import lru_cache
from typing import Tuple

import numpy as np

Size = Tuple[int, int]  # height, width
BLOCK = 64  # lines at a time: what is computed with stays in the cache
BITS = 22  # of weights as integers: Pillow's, so that both round alike


def resize_picture(picture: np.ndarray, size: Size) -> np.ndarray:
    """A picture (H, W, C) uint8 at another size, uint8: Pillow's bit for bit.

    Except where Pillow, from version 13 on, resizes downwards first: then rounding differs by one grey level.
    """
    columns = _resample(picture.transpose(1, 2, 0), size[1])
    rows = _resample(columns.transpose(2, 1, 0), size[0])
    return rows.transpose(0, 2, 1)


def resize_bilinear(plane: np.ndarray, size: Size) -> np.ndarray:
    """An array (H, W) at another size, as float32, without smoothing."""
    if plane.shape == size:
        return plane.astype(np.float32)
    left, right, across = _neighbours(plane.shape[1], size[1])
    above, below, down = _neighbours(plane.shape[0], size[0])
    start = plane[:, left].astype(np.float32)
    rows = start + (plane[:, right] - start) * across
    start = rows[above]
    return start + (rows[below] - start) * down[:, None]


def resize_nearest(classes: np.ndarray, size: Size) -> np.ndarray:
    """A class map (H, W) at another size: each pixel takes the class of the one whose place it covers."""
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * (old / new), old - 1).astype(np.intp)
        for old, new in zip(classes.shape, size)
    )
    return classes[rows[:, None], columns]


def classes_of(logits: np.ndarray, size: Size) -> np.ndarray:
    """The class map, (H, W) uint8 of the given size, of the highest logits at that size.

    Class by class, so that a large picture does not need memory for all its logits.

    Args:
        logits: (C, h, w).
        size: of the class map.
    """
    classes = np.zeros(size, np.uint8)
    highest = resize_bilinear(logits[0], size)
    for index in range(1, len(logits)):
        plane = resize_bilinear(logits[index], size)
        higher = plane > highest
        classes[higher] = index
        np.maximum(highest, plane, out=highest)
    return classes


def _resample(lines: np.ndarray, new: int) -> np.ndarray:
    """The first axis of an array (old, C, N) uint8 at another length, smoothed where it shrinks."""
    if len(lines) == new:
        return lines
    places, weights = _taps(len(lines), new)
    resampled = np.empty((new, *lines.shape[1:]), np.uint8)
    for start in range(0, lines.shape[2], BLOCK):
        block = np.ascontiguousarray(lines[:, :, start : start + BLOCK], dtype=np.int32)
        total = np.full((new, *block.shape[1:]), 1 << (BITS - 1), np.int32)  # a half, for the shift cuts fractions off
        for place, weight in zip(places, weights):
            values = block[place]
            values *= weight[:, None, None]
            total += values
        resampled[:, :, start : start + BLOCK] = total >> BITS
    return resampled


@lru_cache(maxsize=16)
def _taps(old: int, new: int) -> Tuple[np.ndarray, np.ndarray]:
    """For each of `new` places on a line of `old` values: those it is the mean of, and their weights, (taps, new) both.

    The weights, integers of which 2 ** BITS is one, are a triangle around the place, as wide as two of the old values
    or, where it shrinks, two of the new.
    """
    scale = old / new
    reach = max(scale, 1.0)
    center = (np.arange(new) + 0.5) * scale
    places = np.floor(center - reach + 0.5) + np.arange(np.ceil(2 * reach) + 1)[:, None]
    weights = np.maximum(1 - np.abs(places + 0.5 - center) / reach, 0)
    weights[(places < 0) | (places >= old)] = 0
    weights /= weights.sum(0)
    used = weights.any(1)
    return np.clip(places[used], 0, old - 1).astype(np.intp), (weights[used] * (1 << BITS) + 0.5).astype(np.int32)


def _neighbours(old: int, new: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `new` places on a line of `old` values: its two neighbours, and how far it is from the first."""
    scale = np.float32(old) / np.float32(new)
    place = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    floor = np.floor(place)
    first = np.maximum(floor, 0).astype(np.intp)
    second = np.minimum(np.ceil(place), old - 1).astype(np.intp)
    return first, second, place - floor
