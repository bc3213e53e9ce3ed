"""Run-length encoded masks as COCO's and PASCAL in Detail's annotation files hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_DIGITS = 7  # of 5 bits: more than any mask's size


def decode_rle(counts: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of COCO's compressed run lengths.

    The runs go down the columns, the first is of zeros. From the fourth on, a length is stored less that of two runs
    before. A number is a row of characters from code 48 on, lowest 5 bits first: bit 32 says that more follow, and
    bit 16 of the last is the sign.

    Raises:
        ValueError: characters outside the code, or runs that are not the mask's size together.
    """
    codes = np.frombuffer(counts.encode("latin-1", "replace"), np.uint8).astype(np.int64) - 48
    last = codes & 32 == 0
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or not last[-1]:
        raise ValueError("damaged run lengths: expected COCO's compressed form")
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    digits = np.arange(codes.size) - np.repeat(starts, np.diff(np.append(starts, codes.size)))
    if digits.max() >= _MAX_DIGITS:
        raise ValueError("damaged run lengths: a number without end")
    runs = np.add.reduceat((codes & 31) << 5 * digits, starts)
    runs -= np.where(codes[last] & 16, np.int64(1) << 5 * (digits[last] + 1), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    height, width = size
    if runs.min() < 0 or runs.sum() != height * width:
        raise ValueError(f"damaged run lengths: {runs.sum()} pixels, expected {width}x{height}")
    return np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(width, height).T
