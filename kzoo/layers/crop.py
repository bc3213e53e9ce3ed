"""Cropping to the size of another tensor, as Caffe's `Crop` layer does it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kzoo")
class Crop(keras.layers.Layer):
    """Takes the height and width of a reference from (B, H, W, C), beginning at a fixed place.

    Args:
        offset: the first row and column that are kept.

    Call arguments:
        inputs: (B, H, W, C), with H and W at least `offset` larger than the reference's.
        reference: (B', h, w, C'), only its height and width are used.

    Output shape: (B, h, w, C).
    """

    def __init__(self, offset: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offset = int(offset)

    def call(self, inputs: Any, reference: Any) -> Any:
        known, dynamic = reference.shape[1:3], tf.shape(reference)
        ends = [self.offset + (dynamic[axis + 1] if side is None else side) for axis, side in enumerate(known)]
        # Not tf.slice, which names all four axes: tf2onnx would wrap it into transpositions.
        x = inputs[:, self.offset : ends[0], self.offset : ends[1]]
        x.set_shape(self.compute_output_shape(inputs.shape, reference.shape))
        return x

    def compute_output_shape(self, inputs_shape: Any, reference_shape: Any) -> tuple[int | None, ...]:
        return (inputs_shape[0], *reference_shape[1:3], inputs_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset}
