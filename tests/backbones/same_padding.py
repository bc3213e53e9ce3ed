"""Networks with TensorFlow's "same" padding, against themselves at other output strides."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from kzoo.backbones import Backbone


def assert_close(actual, expected, tolerance: float) -> None:
    """Equal to `tolerance` times the largest expected value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def assert_same_at_more_places(dilated: Backbone, undilated: Backbone, x: np.ndarray, levels: Iterable[str]) -> None:
    """At the places where the undilated network looks, which depend on whether a halved side was even or odd.

    "Same" padding of an odd window with stride 2 puts window k's centre on 2 k + 1 if the side is even (one zero more
    at its end) and on 2 k if it is odd (as many at both ends).
    """
    expected, dense = undilated(x, training=False), dilated(x, training=False)
    for level in levels:
        steps = round(math.log2(undilated.strides[level] / dilated.strides[level]))
        starts = [first_place(dense[level].shape[axis], steps) for axis in (1, 2)]
        taken = dense[level][:, starts[0] :: 2**steps, starts[1] :: 2**steps]
        assert_close(taken, expected[level], 1e-5)


def first_place(side: int, steps: int) -> int:
    """The first place on a grid of `side` that the undilated network looks at, after `steps` halvings."""
    start, step = 0, 1
    for _ in range(steps):
        start += step if side % 2 == 0 else 0
        side, step = math.ceil(side / 2), step * 2
    return start
