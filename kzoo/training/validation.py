"""Validation during training: whole pictures, one scale, at the pictures' own size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.data import Dataset
from kzoo.metrics import confusion_matrix


class Validator:
    """Measures a model on a split; compiles its forward pass once for pictures of any size."""

    def __init__(self, model: Any, dataset: Dataset) -> None:
        self.dataset = dataset
        self.num_classes, self.ignore_label = model.num_classes, model.ignore_label
        self._class_map = tf.function(
            lambda image: tf.argmax(model(image, training=False)[0], axis=-1),
            input_signature=[tf.TensorSpec((1, None, None, 3), tf.float32)],
        )

    def __call__(self) -> dict[str, Any]:
        """`val_miou`, `val_pixel_accuracy` and `val_iou` (one value a class, None where the class is absent).

        Raises: `ValueError` if no pixel of the split is labelled.
        """
        matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        for index in range(len(self.dataset)):
            image, mask = self.dataset.read(index)
            prediction = self._class_map(image[np.newaxis].astype("float32")).numpy()
            matrix += confusion_matrix(mask, prediction, self.num_classes, self.ignore_label)
        if not matrix.any():
            raise ValueError(
                f"No pixel of the {len(self.dataset)} masks that the network is validated on is labelled: all have the "
                f"ignored label {self.ignore_label}. Check data.val_split."
            )
        union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
        iou = np.diag(matrix)[union > 0] / union[union > 0]
        per_class = iter(np.round(iou, 5).tolist())
        return {
            "val_miou": float(iou.mean()),
            "val_pixel_accuracy": float(np.diag(matrix).sum() / max(1, matrix.sum())),
            "val_iou": [next(per_class) if present else None for present in union > 0],
        }


@contextlib.contextmanager
def averaged_weights(model: Any) -> Iterator[None]:
    """While the block runs, the model has the optimizer's moving average of its weights, if the recipe keeps one."""
    # `convert_to_numpy`, because `int` and `float` do not take a variable that several devices mirror.
    if not model.optimizer.use_ema or keras.ops.convert_to_numpy(model.optimizer.iterations) == 0:
        yield
        return
    variables = model.segmentation_variables
    kept = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    model.optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
