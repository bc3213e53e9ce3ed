"""Per-pixel softmax cross-entropy with an ignore label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kzoo.losses.replicas import global_mean
from kzoo.shapes import class_map


def cross_entropy(
    labels: Any, logits: Any, *, ignore_label: int = 255, class_weights: Sequence[float] | None = None
) -> Any:
    """Mean softmax cross-entropy over the pixels that are not ignored; 0 if all are.

    With `class_weights` the mean is weighted by the weight of each pixel's class, as torch's
    `cross_entropy(weight=...)` has it. Under a strategy it is this replica's share of the global mean.

    Args:
        labels: integers (B, H, W) or (B, H, W, 1), 0 .. C - 1 or `ignore_label`.
        logits: (B, H, W, C).
        ignore_label: label of the pixels that do not count.
        class_weights: C weights, or none.

    Returns: a scalar, float32 at least.
    Raises: `ValueError` for labels of another shape.
    """
    labels = ops.cast(class_map(labels, logits), "int32")
    logits = ops.cast(logits, keras.backend.result_type(logits.dtype, "float32"))
    counted = ops.not_equal(labels, ignore_label)
    targets = ops.where(counted, labels, 0)
    weights = ops.cast(counted, logits.dtype)
    if class_weights is not None:
        weights = weights * ops.take(ops.convert_to_tensor(class_weights, logits.dtype), targets)
    losses = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return global_mean(ops.sum(losses * weights), ops.sum(weights))


@keras.saving.register_keras_serializable(package="kzoo")
class SegmentationCrossEntropy(keras.losses.Loss):
    """`cross_entropy` as a Keras loss, for models that are not kzoo's.

    Args:
        ignore_label: label of the pixels that do not count.
        class_weights: one weight a class, or none.
    """

    def __init__(
        self,
        ignore_label: int = 255,
        class_weights: Sequence[float] | None = None,
        name: str = "segmentation_cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **{"reduction": "sum", **kwargs})
        self.ignore_label = int(ignore_label)
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return cross_entropy(y_true, y_pred, ignore_label=self.ignore_label, class_weights=self.class_weights)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore_label": self.ignore_label, "class_weights": self.class_weights}
