"""Trimap metrics: accuracy and mIoU in narrow bands along the boundaries of the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.metrics.confusion_matrix import confusion_matrix

WIDTHS = (1, 2, 3, 5, 8, 12, 16, 20, 30, 40)
"""The bands' widths in pixels, by default."""


@dataclass(frozen=True)
class TrimapResults:
    """One entry a band. Fractions of 1; NaN for a band without pixels.

    Attributes:
        widths: of the bands, in pixels.
        pixel_accuracy: share of the band's pixels whose class is predicted.
        miou: mean over the classes that are labelled or predicted in the band.
    """

    widths: tuple[float, ...]
    pixel_accuracy: tuple[float, ...]
    miou: tuple[float, ...]


class TrimapMetrics:
    """Pixel accuracy and mIoU of the pixels near a boundary of the labels, for bands of several widths at once.

    The band of width w holds the labelled pixels that are at most w away (Euclidean, from centre to centre) from a
    pixel of another label, where "ignored" is a label like any other. So:

        - where two classes touch, the band of width 1 is the pixels with one of the other class above, below, left or
          right of them, and the band of width w reaches w pixels to either side;
        - where an ignored strip parts them, as in PASCAL VOC, it is the strip dilated by a disc of radius w: the
          papers' trimap, which dilates VOC's void labels. A larger ignored area has a boundary too;
        - ignored pixels themselves never count, and the picture's border is no boundary.

    Counts of all pictures are added before accuracy and IoU are formed. Computed in NumPy, outside of graphs; one
    distance map serves all bands.

    Args:
        num_classes: number of classes C.
        ignore_label: label of the pixels that do not count.
        widths: of the bands, in pixels, at least 1 and increasing.

    Raises:
        ValueError: no widths, or widths that are less than 1 or do not increase.

    Reference:
        Kohli, Ladicky, Torr, "Robust Higher Order Potentials for Enforcing Label Consistency", IJCV 2009; Chen et al.,
        "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015, section 5.3.
    """

    def __init__(self, num_classes: int, ignore_label: int = 255, widths: Sequence[float] = WIDTHS) -> None:
        self.num_classes, self.ignore_label, self.widths = num_classes, ignore_label, tuple(widths)
        rising = all(low < high for low, high in zip(self.widths, self.widths[1:], strict=False))
        if not self.widths or not rising or not self.widths[0] >= 1 or not math.isfinite(self.widths[-1]):
            raise ValueError(f"`widths` are pixels, at least 1 and increasing, received {widths!r}.")
        # Of the pixels between one width and the next, so that a pixel is counted once.
        self._counts = np.zeros((len(self.widths), num_classes, num_classes), np.int64)

    def update_masks(self, labels: Any, predictions: Any) -> None:
        """Adds labels (B, H, W) against predicted class indices (B, H, W).

        Raises:
            ValueError: the shapes differ or have not three axes, or a pixel of a band has no class.
        """
        labels, predictions = np.asarray(labels), np.asarray(predictions)
        if labels.ndim != 3 or labels.shape != predictions.shape:
            raise ValueError(
                "Expected labels and predictions of one shape (B, H, W), received "
                f"{labels.shape} and {predictions.shape}."
            )
        for label, prediction in zip(labels, predictions, strict=True):
            squares = squared_distances(label, int(self.widths[-1]))
            band = np.searchsorted(np.square(self.widths), squares)
            for index, counts in enumerate(self._counts):
                here = band == index
                counts += confusion_matrix(label[here], prediction[here], self.num_classes, self.ignore_label)

    def confusion(self) -> NDArray[np.int64]:
        """(bands, C, C) pixel counts of each band; rows are labels, columns predictions."""
        return np.cumsum(self._counts, axis=0)

    def result(self) -> TrimapResults:
        """Accuracy and mIoU of each band, over all that was added."""
        counts = self.confusion()
        correct = np.diagonal(counts, axis1=1, axis2=2)
        total = counts.sum((1, 2))
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: an empty band, an absent class
            accuracy = correct.sum(1) / total
            iou = correct / (counts.sum(1) + counts.sum(2) - correct)
        miou = [row[~np.isnan(row)].mean() if pixels else math.nan for row, pixels in zip(iou, total, strict=True)]
        return TrimapResults(self.widths, tuple(accuracy.tolist()), tuple(map(float, miou)))


def squared_distances(labels: NDArray[Any], reach: int) -> NDArray[np.int64]:
    """The squared distance of each pixel to the nearest one of another label, exact up to `reach`^2, larger beyond.

    Args:
        labels: (H, W) integers.
        reach: a whole number of pixels.

    Returns:
        (H, W).
    """
    up_or_down = np.square(_to_other_label(labels, reach + 1))
    nearest = up_or_down.copy()
    for offset in range(1, min(reach, labels.shape[1] - 1) + 1):
        left, right = np.s_[:, :-offset], np.s_[:, offset:]
        # Another label there is as near as it is far to the side; the same label leads on to the nearest above or
        # below it.
        same = labels[left] == labels[right]
        for here, there in ((left, right), (right, left)):
            np.minimum(nearest[here], offset**2 + same * up_or_down[there], out=nearest[here])
    return nearest


def _to_other_label(labels: NDArray[Any], most: int) -> NDArray[np.int64]:
    """The distance of each pixel to the nearest one of another label in its column, or `most` if that is less."""
    height = labels.shape[0]
    row = np.arange(height)[:, np.newaxis]
    changes = labels[1:] != labels[:-1]
    above, below = np.full(labels.shape, -most), np.full(labels.shape, height + most)
    above[1:] = np.maximum.accumulate(np.where(changes, row[:-1], -most))
    below[:-1] = np.minimum.accumulate(np.where(changes, row[1:], height + most)[::-1])[::-1]
    return np.minimum(np.minimum(row - above, below - row), most)
