"""Boundary IoU: intersection over union of the bands along the boundaries."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.metrics.confusion_matrix import ConfusionMatrix


@keras.saving.register_keras_serializable(package="kzoo")
class BoundaryIoU(ConfusionMatrix):
    """Mean over the classes of the IoU between label and prediction, both cut down to a band along their boundary.

    For the mask M of one class, the band is `M minus erode(M, d)`: the pixels of M from which a pixel outside M can be
    reached within d steps (to the 8 neighbours), with `d = max(1, round(width * picture diagonal))`. Areas of the bands
    are summed over the whole data set; a class without a band in labels and predictions is left out of the mean.

    Conventions:
        - What lies beyond the picture belongs to no class, as in the paper's reference code: an object that the picture
          cuts off has a boundary along the picture's border.
        - Ignored pixels belong to no class, in the labels and, at the same places, in the prediction: an object has a
          boundary towards an ignored area (PASCAL VOC rings every object with one), and a perfect prediction gets 1.

    Args:
        num_classes, ignore_label, name, dtype: as in `ConfusionMatrix`.
        width: width of the band as a share of the picture's diagonal.

    Input shape:
        Labels (B, H, W), integers; logits (B, H, W, C).

    Reference:
        Cheng, Girshick, Dollar, Berg, Kirillov, "Boundary IoU: Improving Object-Centric Image Segmentation
        Evaluation", CVPR 2021, equation 2.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int = 255,
        width: float = 0.02,
        name: str = "boundary_iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, ignore_label, name=name, dtype=dtype)
        if not 0 < width < 1:
            raise ValueError(f"`width` is a share of the picture's diagonal between 0 and 1, received {width!r}.")
        self.width = float(width)

    def matrix_size(self) -> int:
        return self.num_classes + 1  # the last row and column: off the band

    def as_indices(self, labels: Any, predictions: Any, counted: Any) -> tuple[Any, Any, Any]:
        radius = self._radius(labels)
        # Class masks are disjoint: a pixel is on its own class's band where its window is not of one class only. So
        # one pass over the class map serves all classes. Pixels of no class become -1, as all beyond the picture.
        labels, predictions = ops.where(counted, labels, -1), ops.where(counted, predictions, -1)
        off_band = self.num_classes
        rows = ops.where(_window_is_uniform(labels, radius), off_band, labels)
        columns = ops.where(_window_is_uniform(predictions, radius), off_band, predictions)
        return rows, columns, counted

    def _radius(self, labels: Any) -> Any:
        height, width = (ops.cast(side, "float64") for side in ops.shape(labels)[1:])
        diagonal = ops.sqrt(height * height + width * width)
        return ops.maximum(ops.cast(ops.round(self.width * diagonal), "int32"), 1)

    def result(self) -> Any:
        return ops.cast(self.mean_iou(), "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


def _window_is_uniform(classes: Any, radius: Any) -> Any:
    """Whether the (2 radius + 1)^2 window around each pixel holds one class and lies inside the picture.

    `classes`: (B, H, W) int32. The cost does not depend on the radius, which may be a tensor: counts of what breaks the
    uniformity come from cumulative sums. (A window is uniform if each of its rows is, and its middle column is.)
    """
    padded = ops.pad(classes, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    row_is_broken = _changes_within(padded, radius, axis=2) > 0
    broken_rows = _sum_within(ops.cast(row_is_broken, "int32"), radius, axis=1)
    column_changes = _changes_within(padded, radius, axis=1)
    return ops.logical_and(broken_rows == 0, column_changes == 0)[:, 1:-1, 1:-1]


def _changes_within(classes: Any, radius: Any, axis: int) -> Any:
    """How often the class changes between the pixels radius before and radius after each, along `axis`."""
    size = ops.shape(classes)[axis]
    before = ops.take(classes, ops.maximum(ops.arange(size) - 1, 0), axis=axis)
    changes = ops.cumsum(ops.cast(ops.not_equal(classes, before), "int32"), axis=axis)
    first, last = _window_ends(size, radius)
    return ops.take(changes, last, axis=axis) - ops.take(changes, first, axis=axis)


def _sum_within(values: Any, radius: Any, axis: int) -> Any:
    """Sum of `values` from radius before to radius after each pixel, along `axis`."""
    first, last = _window_ends(ops.shape(values)[axis], radius)
    sums = ops.cumsum(values, axis=axis)
    return ops.take(sums, last, axis=axis) - ops.take(sums, first, axis=axis) + ops.take(values, first, axis=axis)


def _window_ends(size: Any, radius: Any) -> tuple[Any, Any]:
    centre = ops.arange(size)
    return ops.maximum(centre - radius, 0), ops.minimum(centre + radius, size - 1)
