"""The confusion matrix that every segmentation metric is read from."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.shapes import class_map


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int, ignore_label: int = 255
) -> np.ndarray:
    """Counts the pixels of each (label, prediction) pair.

    Args:
        labels: integers of any shape, each in 0..num_classes-1 or the ignore label.
        predictions: class indices 0..num_classes-1, the same shape. What is predicted at an ignored pixel is not
            looked at.
        num_classes: number of classes C.
        ignore_label: label of the pixels that do not count.

    Returns:
        (C, C) int64, rows are labels and columns are predictions.

    Raises:
        ValueError: the shapes differ, or a label or prediction lies outside the classes.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(
            f"Labels and predictions must have one shape, received {labels.shape} and {predictions.shape}. "
            "Resize the prediction to the label's size first."
        )
    counted = labels != ignore_label
    true, predicted = labels[counted].astype(np.int64), predictions[counted].astype(np.int64)
    for what, values in (("labels", true), ("predictions", predicted)):
        if values.size and (values.min() < 0 or values.max() >= num_classes):
            raise ValueError(
                f"The {what} must lie in 0..{num_classes - 1} (ignore label {ignore_label}), "
                f"received values from {values.min()} to {values.max()}."
            )
    counts = np.bincount(true * num_classes + predicted, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes)


@keras.saving.register_keras_serializable(package="kzoo")
class ConfusionMatrix(keras.metrics.Metric):
    """Confusion matrix over all the pixels seen since the last reset; the base of the other metrics.

    Counts are 64-bit integers, so that nothing is lost however many pixels are seen (a float32 counter stops at
    2^24, the pixels of a hundred small pictures). Under a strategy the replicas' counts are summed.

    Pixels with the ignore label do not count, neither as labels nor in the predicted area. Inside a compiled graph no
    error can be raised, so any other label outside the classes is left out in the same way: check the data with
    `kzoo data check`, or use the function `confusion_matrix`, which refuses them.

    Args:
        num_classes: number of classes C, at least 1.
        ignore_label: label of the pixels that do not count.
        name, dtype: as in every Keras metric.

    Input shape:
        Labels (B, H, W), integers; logits (B, H, W, C).

    Result:
        (C, C) int64, rows are labels and columns are predictions.

    Raises:
        ValueError: wrong class count, shapes that do not fit, or a sample weight (pixels are counted, not weighed).
    """

    def __init__(
        self, num_classes: int, ignore_label: int = 255, name: str = "confusion_matrix", dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if int(num_classes) < 1:
            raise ValueError(f"`num_classes` must be at least 1, received {num_classes!r}.")
        self.num_classes = int(num_classes)
        self.ignore_label = int(ignore_label)
        size = self.matrix_size()
        self.matrix = self.add_variable((size, size), initializer="zeros", dtype="int64", name="matrix")

    def matrix_size(self) -> int:
        """Rows and columns of the matrix that is kept: the classes, unless a metric needs a place for more."""
        return self.num_classes

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds labels (B, H, W), or (B, H, W, 1), against logits (B, H, W, C)."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} counts pixels and takes no sample weight: list it in `metrics`, not in "
                "`weighted_metrics`, and give the ignore label to pixels that should not count."
            )
        logits = ops.convert_to_tensor(y_pred)
        if len(logits.shape) != 4 or logits.shape[-1] != self.num_classes:
            raise ValueError(f"Expected logits (B, H, W, {self.num_classes}), received {tuple(logits.shape)}.")
        self.update_masks(class_map(y_true, logits), ops.argmax(logits, axis=-1))

    def update_masks(self, labels: Any, predictions: Any) -> None:
        """Adds labels (B, H, W) against predicted class indices (B, H, W)."""
        labels, predictions = ops.cast(labels, "int32"), ops.cast(predictions, "int32")
        self.count(*self.as_indices(labels, predictions, self.counted(labels)))

    def counted(self, labels: Any) -> Any:
        """Where `labels` count: not ignored, and one of the classes."""
        in_range = ops.logical_and(labels >= 0, labels < self.num_classes)
        return ops.logical_and(in_range, ops.not_equal(labels, self.ignore_label))

    def as_indices(self, labels: Any, predictions: Any, counted: Any) -> tuple[Any, Any, Any]:
        """Row, column and validity of each pixel in the matrix; metrics that look at a part of the pixels override."""
        return labels, predictions, counted

    def count(self, rows: Any, columns: Any, valid: Any) -> None:
        """Adds one to `matrix[row, column]` for every valid pixel."""
        size = self.matrix_size()
        # Pixels that do not count go to one bin behind the matrix, which is then dropped: shapes stay static.
        bins = ops.reshape(ops.where(valid, rows * size + columns, size * size), (-1,))
        counts = ops.segment_sum(ops.ones_like(bins), bins, num_segments=size * size + 1)
        self.matrix.assign_add(ops.cast(ops.reshape(counts[:-1], (size, size)), "int64"))

    def areas(self) -> tuple[Any, Any, Any]:
        """Intersection, label area and predicted area of each class, (C,) float64 (exact up to 2^53 pixels)."""
        matrix = ops.cast(self.matrix.value, "float64")
        classes = slice(0, self.num_classes)
        return ops.diagonal(matrix)[classes], ops.sum(matrix, axis=1)[classes], ops.sum(matrix, axis=0)[classes]

    def iou(self) -> Any:
        """Intersection over union of each class, (C,) float64; NaN for a class neither labelled nor predicted."""
        intersection, labelled, predicted = self.areas()
        return intersection / (labelled + predicted - intersection)

    def mean_iou(self) -> Any:
        """Mean of `iou` over the classes that are labelled or predicted somewhere; NaN when there is none."""
        iou = self.iou()
        present = ops.logical_not(ops.isnan(iou))
        total = ops.sum(ops.where(present, iou, ops.zeros_like(iou)))
        return total / ops.sum(ops.cast(present, "float64"))

    def result(self) -> Any:
        return ops.convert_to_tensor(self.matrix.value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "ignore_label": self.ignore_label}
