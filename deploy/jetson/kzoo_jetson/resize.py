"""Pictures to the network's size, and what it says back to the picture's: in NumPy alone, the same on every board.

Bilinear with half-pixel centres and without smoothing: TensorFlow's `tf.image.resize`, with which the networks were
trained and verified. OpenCV's and Pillow's differ from it and from each other.
"""

from typing import Tuple

import numpy as np

Size = Tuple[int, int]  # height, width


def resize_bilinear(image: np.ndarray, size: Size) -> np.ndarray:
    """An array (H, W) or (H, W, C) at another size, as float32."""
    if image.shape[:2] == size:
        return image.astype(np.float32)
    left, right, across = _neighbours(image.shape[1], size[1])
    above, below, down = _neighbours(image.shape[0], size[0])
    extra = (1,) * (image.ndim - 2)
    across, down = across.reshape((1, -1, *extra)), down.reshape((-1, 1, *extra))
    start = image[:, left].astype(np.float32)
    rows = start + (image[:, right] - start) * across
    start = rows[above]
    return start + (rows[below] - start) * down


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


def _neighbours(old: int, new: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `new` places on a line of `old` values: its two neighbours, and how far it is from the first."""
    scale = np.float32(old) / np.float32(new)
    place = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    floor = np.floor(place)
    first = np.maximum(floor, 0).astype(np.intp)
    second = np.minimum(np.ceil(place), old - 1).astype(np.intp)
    return first, second, place - floor
