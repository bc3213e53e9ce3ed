"""The search for the bilateral kernel of a dense CRF: from a coarse grid to finer steps around the best point."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.crf.bilateral import bilateral_kernel
from kzoo.crf.dense import DenseCRF
from kzoo.crf.mean_field import mean_field
from kzoo.crf.normalization import normalized
from kzoo.crf.spatial import SpatialKernel
from kzoo.metrics import ConfusionMatrix, confusion_matrix


class BilateralKernel(NamedTuple):
    """A point of the search; the names are `DenseCRF`'s."""

    bilateral_sigma_xy: float
    bilateral_sigma_rgb: float
    bilateral_weight: float


Score = Callable[[float, float, Sequence[float]], Sequence[float]]
"""(sigma_xy, sigma_rgb, weights) -> mIoU of each weight; kernels of the same widths share a lattice."""

Report = Callable[[BilateralKernel, float, bool], None]
"""(point, its mIoU, whether that was known before)."""


@dataclass(frozen=True)
class SearchGrid:
    """Where the search looks.

    Attributes:
        bilateral_weight, bilateral_sigma_xy, bilateral_sigma_rgb: the coarse grid is all combinations of these.
        steps: steps of (sigma_xy, sigma_rgb, weight). With each triple in turn the search goes from the best point to
            its best neighbour, one step along one of the three, until none is better.

    Raises:
        ValueError: an empty axis, or values or steps that are not positive.
    """

    bilateral_weight: tuple[float, ...] = (3.0, 5.0, 10.0)
    bilateral_sigma_xy: tuple[float, ...] = (20.0, 50.0, 80.0)
    bilateral_sigma_rgb: tuple[float, ...] = (3.0, 5.0, 10.0)
    steps: tuple[tuple[float, float, float], ...] = ((15.0, 2.0, 2.0), (5.0, 1.0, 1.0))

    def __post_init__(self) -> None:
        axes = self.bilateral_sigma_xy, self.bilateral_sigma_rgb, self.bilateral_weight
        if not all(axes) or not all(value > 0 for value in itertools.chain(*axes, *self.steps)):
            raise ValueError(f"A grid needs positive weights, widths and steps, at least one value each. Got {self}.")

    def points(self) -> list[BilateralKernel]:
        """The coarse grid."""
        axes = self.bilateral_sigma_xy, self.bilateral_sigma_rgb, self.bilateral_weight
        return list(itertools.starmap(BilateralKernel, itertools.product(*axes)))


GRIDS = {
    "default": SearchGrid(),
    # The coarse grid is that of Chen et al., ICLR 2015, section 4.1; it does not say what its finer steps were.
    "paper": SearchGrid(
        (5.0, 10.0), tuple(range(50, 101, 10)), tuple(range(3, 11)), ((5.0, 0.5, 1.0), (1.0, 0.5, 1.0))
    ),
}


def search_kernel(
    grid: SearchGrid, score: Score, known: MutableMapping[BilateralKernel, float], report: Report
) -> BilateralKernel:
    """The best kernel that a coarse-to-fine search finds; of equals the one that was looked at first.

    Args:
        grid: where to look.
        score: measures kernels.
        known: mIoU of the points that need not be measured; what is measured is added to it.
        report: called once for each point that is looked at.

    Reference: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR
        2015, section 4.1.
    """
    seen: set[BilateralKernel] = set()

    def best_of(points: list[BilateralKernel]) -> BilateralKernel:
        for (sigma_xy, sigma_rgb), group in itertools.groupby(points, lambda point: point[:2]):
            fresh = [point for point in group if point not in seen]
            missing = [point for point in fresh if point not in known]
            if missing:
                weights = [point.bilateral_weight for point in missing]
                for point, miou in zip(missing, score(sigma_xy, sigma_rgb, weights), strict=True):
                    known[point] = miou
            for point in fresh:
                report(point, known[point], point not in missing)
            seen.update(fresh)
        return max(points, key=lambda point: known[point])

    best = best_of(grid.points())
    for steps in grid.steps:
        while (around := _neighbours(best, steps)) and known[better := best_of(around)] > known[best]:
            best = better
    return best


def _neighbours(point: BilateralKernel, steps: tuple[float, float, float]) -> list[BilateralKernel]:
    """One step down and up along each of the three; rounded, so that ways which meet find the same point."""
    moved = []
    for axis in reversed(range(3)):  # the weights first, which share a lattice
        for step in (-steps[axis], steps[axis]):
            values = [*point]
            values[axis] = round(values[axis] + step, 6)
            if values[axis] > 0:
                moved.append(BilateralKernel(*values))
    return moved


class KernelScorer:
    """The mIoU of dense CRFs on pictures; one lattice a picture serves all weights of a kernel's widths.

    Args:
        pictures: gives, as often as it is iterated over, logits (H, W, C) of any float type, the picture (H, W, 3)
            RGB 0..255 and its labels (H, W).
        num_classes: number of classes C.
        ignore_label: label of the pixels that do not count.
        crf: its spatial kernel, iterations and normalisation are the ones of all points.
    """

    def __init__(
        self, pictures: Iterable[tuple[Any, Any, Any]], num_classes: int, ignore_label: int, crf: DenseCRF
    ) -> None:
        self._pictures, self._num_classes, self._ignore_label, self._crf = pictures, num_classes, ignore_label, crf

    def without_crf(self) -> float:
        """The mIoU of the logits as they are.

        Raises:
            ValueError: no pixel is labelled.
        """
        miou = self._mean_iou([[np.argmax(logits, -1)], labels] for logits, _, labels in self._pictures)[0]
        if np.isnan(miou):
            raise ValueError("The pictures of a CRF search need labelled pixels; all of these are ignored.")
        return miou

    def __call__(self, sigma_xy: float, sigma_rgb: float, weights: Sequence[float]) -> list[float]:
        """The mIoU of each of `weights` with these widths."""

        def refined() -> Any:
            for logits, image, labels in self._pictures:
                beliefs, picture = (tf.cast(array[np.newaxis], tf.float32) for array in (logits, image))
                yield [self._labels(beliefs, picture, sigma_xy, sigma_rgb, weights), labels]

        return self._mean_iou(refined())

    def _labels(
        self, logits: Any, images: Any, sigma_xy: float, sigma_rgb: float, weights: Sequence[float]
    ) -> list[NDArray[np.int64]]:
        """The refined labels (H, W) of one picture for each weight."""
        crf = self._crf
        spatial = normalized(SpatialKernel(crf.spatial_sigma, logits), logits, crf.normalization, crf.spatial_weight)
        bilateral = normalized(bilateral_kernel(images, sigma_xy, sigma_rgb), logits, crf.normalization)
        found = []
        for weight in weights:

            def messages(belief: Any, weight: float = weight) -> tuple[Any, Any]:
                return spatial(belief), weight * bilateral(belief)

            found.append(tf.argmax(mean_field(logits, messages, crf.iterations)[0], -1).numpy())
        return found

    def _mean_iou(self, results: Iterable[list[Any]]) -> list[float]:
        """The mIoU of each prediction of a picture, from [predictions, labels] of all pictures."""
        counts: Any = 0
        for predictions, labels in results:
            counts = counts + np.stack(
                [confusion_matrix(labels, found, self._num_classes, self._ignore_label) for found in predictions]
            )
        mious = []
        for matrix in counts:
            metric = ConfusionMatrix(self._num_classes)
            metric.matrix.assign(matrix)
            mious.append(float(metric.mean_iou()))
        return mious
