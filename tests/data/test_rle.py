from __future__ import annotations

import numpy as np
import pytest

from kzoo.data.rle import decode_rle

# Encoded by pycocotools 2.0 (`mask.encode`): runs of one, two and three characters, rising and falling.
DISK = (
    "XV3a0V26J6K4L4M2N2M4M2N2N2N2N2O0O2N2N2O0O2O0O2O000O2O000O2O00000000000000000000000000000001N10001N10001N101N101N"
    "2N2N101N2N2N2N2N3L3N2N3L4L5J6JYY1"
)


def test_masks_encoded_by_pycocotools() -> None:
    small = [[0, 1, 1, 0, 0], [1, 1, 0, 0, 1], [0, 0, 0, 1, 1]]
    assert decode_rle("11110O30M1", (3, 5)).astype(int).tolist() == small
    y, x = np.mgrid[:90, :120]
    np.testing.assert_array_equal(decode_rle(DISK, (90, 120)), (y - 40) ** 2 + (x - 70) ** 2 < 35**2)
    assert decode_rle("0PZS6", (400, 500)).all()
    assert not decode_rle("PZS6", (400, 500)).any()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("11110O30M1", r"15 pixels, expected 5x4"),
        ("", "compressed form"),
        ("PZS", "compressed form"),
        ("1 1", "compressed form"),
        ("é1", "compressed form"),
        ("P" * 12 + "1", "a number without end"),
    ],
)
def test_damaged_run_lengths(counts: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_rle(counts, (4, 5))
