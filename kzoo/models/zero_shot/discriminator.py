"""CaGNet's classifier and discriminator, which share a layer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kzoo")
class SharedClassifier(keras.layers.Layer):
    """A 1x1 convolution with ReLU and dropout, which a `Discriminator` may share, and a 1x1 convolution to classes.

    It is what inference needs: `classifier(x)` are the logits. In training both steps may be taken apart:

        hidden = classifier.hidden(x, training=True)
        logits, scores = classifier.classes(hidden), discriminator(hidden)

    Args:
        num_classes: number of classes, seen and unseen.
        filters: channels of the shared layer.
        dropout: rate behind it.

    Input shape: (B, H, W, D), real or generated features.
    Output shape: (B, H, W, num_classes), float32 at least.

    Weights: `filters (D + 1 + num_classes) + num_classes`: 636,949 for D = 600 and 21 classes as published.

    Raises: `ValueError` for sizes below 1 or a dropout outside of [0, 1).
    Reference: Gu et al., Context-aware Feature Generation for Zero-shot Semantic Segmentation, ACM MM 2020, arXiv
        2008.06893, section 3.3.
    """

    def __init__(self, num_classes: int, filters: int = 1024, dropout: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.filters, self.dropout = int(num_classes), int(filters), float(dropout)
        if min(self.num_classes, self.filters) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                "SharedClassifier needs num_classes and filters of at least 1 and a dropout of at least 0 and below 1. "
                f"Received: num_classes={num_classes}, filters={filters}, dropout={dropout}"
            )
        policy: dict[str, Any] = {"dtype": self.dtype_policy}
        precision = keras.backend.result_type(self.compute_dtype, "float32")
        self.shared = keras.layers.Conv2D(self.filters, 1, activation="relu", name="shared", **policy)
        self.drop = keras.layers.Dropout(self.dropout, name="drop", **policy)
        self.classes = keras.layers.Conv2D(self.num_classes, 1, dtype=precision, name="classes")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.shared.build(input_shape)
        self.classes.build((*input_shape[:-1], self.filters))

    def hidden(self, inputs: Any, training: bool | None = None) -> Any:
        """What classes and a discriminator see of features (B, H, W, D): (B, H, W, filters)."""
        return self.drop(self.shared(inputs), training=training)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.classes(self.hidden(inputs, training=training))

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor((*inputs.shape[:-1], self.num_classes), dtype=self.classes.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "filters": self.filters,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable(package="kzoo")
class Discriminator(keras.layers.Layer):
    """Whether features are real (1) or generated (0): a 1x1 convolution and a sigmoid; needed in training alone.

    Input shape: (B, H, W, filters), `SharedClassifier.hidden` of the features.
    Output shape: (B, H, W, 1), float32 at least.

    Weights: `filters + 1`.

    Reference: Gu et al., CaGNet, ACM MM 2020, arXiv 2008.06893, section 3.3.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        precision = keras.backend.result_type(self.compute_dtype, "float32")
        self.score = keras.layers.Conv2D(1, 1, dtype=precision, name="score")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.score.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return ops.sigmoid(self.score(inputs))

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor((*inputs.shape[:-1], 1), dtype=self.score.compute_dtype)
