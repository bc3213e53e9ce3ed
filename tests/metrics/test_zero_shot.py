"""Seen, unseen and harmonic mean IoU, worked out by hand."""

import math

import numpy as np
import pytest

from kzoo.metrics import zero_shot_scores
from kzoo.models.zero_shot import ClassSplit

NAMES = ("background", "cat", "cow", "dog", "sheep")
MATRIX = np.array(
    [
        [50, 1, 2, 3, 4],
        [0, 6, 0, 2, 0],
        [0, 2, 4, 2, 0],
        [2, 0, 4, 6, 0],
        [0, 0, 3, 0, 1],
    ]
)


def test_by_hand():
    """IoU: 50 / 62, 6 / 11, 4 / 17, 6 / 19, 1 / 8."""
    scores = zero_shot_scores(MATRIX, ClassSplit(NAMES, ("sheep", "cow")))
    seen, unseen = (50 / 62 + 6 / 11 + 6 / 19) / 3, (4 / 17 + 1 / 8) / 2
    assert scores.seen_miou == pytest.approx(seen)
    assert scores.unseen_miou == pytest.approx(unseen)
    assert scores.hiou == pytest.approx(1 / ((1 / seen + 1 / unseen) / 2))
    assert scores.miou == pytest.approx((3 * seen + 2 * unseen) / 5)


def test_ignored_pixels_do_not_count_but_pixels_predicted_as_ignored_are_missed():
    """Without the background's row: cat 6 / 10, cow 4 / 15, dog 6 / 16 (2 of 12 went to background), sheep 1 / 4."""
    before = MATRIX.copy()
    scores = zero_shot_scores(MATRIX, ClassSplit(NAMES, ("sheep",), ("background",)))
    assert scores.seen_miou == pytest.approx((6 / 10 + 4 / 15 + 6 / 16) / 3)
    assert scores.unseen_miou == pytest.approx(1 / 4)
    assert scores.miou == pytest.approx((6 / 10 + 4 / 15 + 6 / 16 + 1 / 4) / 4)
    np.testing.assert_array_equal(MATRIX, before)


def test_classes_that_are_nowhere():
    matrix = MATRIX.copy()
    matrix[1] = matrix[:, 1] = 0
    scores = zero_shot_scores(matrix, ClassSplit(NAMES, ("cow", "cat")))
    assert scores.unseen_miou == pytest.approx(4 / (4 + 2 + 2 + 4 + 3))  # cow alone
    pure = zero_shot_scores(
        MATRIX * np.isin(range(5), [2, 4])[:, None] * np.isin(range(5), [2, 4]), ClassSplit(NAMES, ("cow", "sheep"))
    )
    assert pure.unseen_miou == pytest.approx((4 / 7 + 1 / 4) / 2)
    assert math.isnan(pure.seen_miou) and math.isnan(pure.hiou)


def test_nothing_right_is_zero():
    scores = zero_shot_scores([[0, 1], [2, 0]], ClassSplit(("cat", "cow"), ("cow",)))
    assert (scores.seen_miou, scores.unseen_miou, scores.hiou, scores.miou) == (0, 0, 0, 0)


def test_a_matrix_of_other_classes():
    with pytest.raises(ValueError, match=r"the split's 5 classes, \(5, 5\), received \(4, 4\)"):
        zero_shot_scores(np.eye(4), ClassSplit(NAMES, ("cow",)))
