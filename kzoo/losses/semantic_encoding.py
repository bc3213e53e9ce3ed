"""The semantic-encoding loss: which classes does the scene hold?"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.losses.replicas import global_mean


def class_presence(labels: Any, num_classes: int, ignore_label: int = 255) -> Any:
    """Which classes each picture's mask holds.

    The ignore label and labels outside 0 .. num_classes - 1 count for no class.

    Args:
        labels: integers (B, H, W).
        num_classes: number C of classes.
        ignore_label: label of the pixels that do not count.

    Returns: float32 (B, C) of zeros and ones.
    """
    labels = ops.cast(labels, "int32")
    pixels = ops.reshape(labels, (ops.shape(labels)[0], -1))
    inside = ops.logical_and(pixels >= 0, pixels < num_classes)
    inside = ops.logical_and(inside, ops.not_equal(pixels, ignore_label))
    counts = ops.bincount(ops.where(inside, pixels, num_classes), minlength=num_classes + 1)
    return ops.cast(counts[:, :num_classes] > 0, "float32")


def semantic_encoding_loss(labels: Any, presence_logits: Any, *, ignore_label: int = 255) -> Any:
    """Mean binary cross-entropy between the predicted and the real presence of each class in each picture.

    Big and small objects count alike, which is what makes the loss help small classes. Under a strategy it is this
    replica's share of the global mean.

    Args:
        labels: integers (B, H, W); labels outside 0 .. C - 1 are ignored, too.
        presence_logits: (B, C).
        ignore_label: label of the pixels that do not count.

    Returns: a scalar, float32 at least.
    Reference: Zhang et al., Context Encoding for Semantic Segmentation, CVPR 2018, section 3.1.
    """
    logits = ops.cast(presence_logits, keras.backend.result_type(presence_logits.dtype, "float32"))
    targets = ops.cast(class_presence(labels, logits.shape[-1], ignore_label), logits.dtype)
    losses = ops.binary_crossentropy(targets, logits, from_logits=True)
    return global_mean(ops.sum(losses), ops.cast(ops.size(losses), losses.dtype))


@keras.saving.register_keras_serializable(package="kzoo")
class SemanticEncodingLoss(keras.losses.Loss):
    """`semantic_encoding_loss` as a Keras loss, for models that are not kzoo's.

    Args:
        ignore_label: label of the pixels that do not count.
    """

    def __init__(self, ignore_label: int = 255, name: str = "semantic_encoding", **kwargs: Any) -> None:
        super().__init__(name=name, **{"reduction": "sum", **kwargs})
        self.ignore_label = int(ignore_label)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return semantic_encoding_loss(y_true, y_pred, ignore_label=self.ignore_label)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore_label": self.ignore_label}
