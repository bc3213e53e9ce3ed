"""Trimap metrics against a brute-force statement of the bands, and bands drawn by hand."""

import math

import numpy as np
import pytest

from kzoo.metrics import TrimapMetrics
from tests.metrics.test_boundary_iou import patches


def distances(labels):
    """From each pixel to the nearest of another label; infinite if there is none."""
    result = np.full(labels.shape, math.inf)
    for here in np.ndindex(labels.shape):
        others = np.argwhere(labels != labels[here])
        if len(others):
            result[here] = np.sqrt(np.square(others - here).sum(1).min())
    return result


def brute_force(pictures, num_classes, width, ignore_label=255):
    """Pixel accuracy and mIoU of one band."""
    pairs = []
    for labels, predictions in pictures:
        band = (distances(labels) <= width) & (labels != ignore_label)
        pairs += zip(labels[band], predictions[band], strict=True)
    ious = []
    for c in range(num_classes):
        both, either = sum(a == c == b for a, b in pairs), sum(c in (a, b) for a, b in pairs)
        if either:
            ious.append(both / either)
    return sum(a == b for a, b in pairs) / len(pairs), sum(ious) / len(ious)


@pytest.mark.parametrize("ignore_label", [255, 1])
def test_equals_the_definition(ignore_label):
    rng = np.random.default_rng(0)
    values = [0, 1, 2, ignore_label]
    pictures = []
    for height, width in ((33, 41), (5, 3), (1, 9), (9, 1)):
        labels = patches(rng, height, width, values)
        # Single pixels and an ignored strip, beside the rectangles.
        labels[rng.random(labels.shape) < 0.01] = 3
        labels[height // 2] = ignore_label
        pictures.append((labels, np.where(rng.random(labels.shape) < 0.6, labels, 2) % 4))
    widths = (1, 1.5, 2, 3, 5, 8, 12, 40)
    metric = TrimapMetrics(4, ignore_label, widths)
    for labels, predictions in pictures:
        metric.update_masks(labels[None], predictions[None])
    results = metric.result()
    expected = np.array([brute_force(pictures, 4, width, ignore_label) for width in widths])
    assert results.widths == widths
    np.testing.assert_allclose(results.pixel_accuracy, expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(results.miou, expected[:, 1], rtol=1e-12)
    assert len(set(results.miou[:4])) == 4


def test_bands_by_hand():
    # Two classes that touch, and two parted by a void strip: the band is as wide on either side, and void not in it.
    labels = np.array([[[0] * 6 + [1] * 6] * 5, [[0] * 5 + [255] * 3 + [1] * 4] * 5])
    touching, parted = TrimapMetrics(2, widths=(1, 2, 5)), TrimapMetrics(2, widths=(1, 2, 5))
    touching.update_masks(labels[:1], np.zeros((1, 5, 12), int))
    parted.update_masks(labels[1:], np.zeros((1, 5, 12), int))
    assert touching.confusion().tolist() == [[[5, 0], [5, 0]], [[10, 0], [10, 0]], [[25, 0], [25, 0]]]
    assert parted.confusion().tolist() == [[[5, 0], [5, 0]], [[10, 0], [10, 0]], [[25, 0], [20, 0]]]
    results = parted.result()
    assert results.pixel_accuracy == (0.5, 0.5, 25 / 45)
    assert results.miou == pytest.approx((0.25, 0.25, 25 / 45 / 2))


def test_the_band_of_a_corner_is_round():
    labels = np.zeros((1, 9, 9), int)
    labels[0, 4, 4] = 1
    metric = TrimapMetrics(2, widths=(1, 1.4, 1.5, 2, 2.3))
    metric.update_masks(labels, labels)
    # Around one pixel: its 4 neighbours, the same, 4 diagonal ones more, 4 at distance 2, 8 at sqrt(5) = 2.24.
    assert metric.confusion()[:, 0, 0].tolist() == [4, 4, 8, 12, 20]
    assert metric.confusion()[:, 1, 1].tolist() == [1] * 5


def test_batches_add_up_and_no_boundary_is_nan():
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 3, (4, 8, 9)), rng.integers(0, 3, (4, 8, 9))
    whole, parts = TrimapMetrics(3), TrimapMetrics(3)
    whole.update_masks(labels, predictions)
    for index in range(4):
        parts.update_masks(labels[index : index + 1], predictions[index : index + 1])
    assert whole.result() == parts.result()
    empty = TrimapMetrics(3, widths=(1, 2))
    empty.update_masks(np.zeros((1, 8, 9), int), predictions[:1])
    assert np.isnan([*empty.result().miou, *empty.result().pixel_accuracy]).all()


def test_bad_input_is_named():
    for widths in ((), (0, 1), (2, 2), (1, math.inf), (math.nan,)):
        with pytest.raises(ValueError, match="at least 1 and increasing"):
            TrimapMetrics(3, widths=widths)
    metric = TrimapMetrics(2)
    with pytest.raises(ValueError, match=r"\(B, H, W\).*\(8, 9\) and \(8, 9\)"):
        metric.update_masks(np.zeros((8, 9), int), np.zeros((8, 9), int))
    with pytest.raises(ValueError, match="predictions must lie in"):
        metric.update_masks(np.eye(4, dtype=int)[None], np.full((1, 4, 4), 2))
