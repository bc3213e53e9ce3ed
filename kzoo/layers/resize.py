"""Resizing of feature maps, in the two bilinear conventions that segmentation networks were published with."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

INTERPOLATIONS = ("bilinear", "nearest")


@keras.saving.register_keras_serializable(package="kzoo")
class Resize(keras.layers.Layer):
    """Resizes (B, H, W, C) to a fixed size, or to the height and width of a reference tensor.

    The three forms, in the words of `torch.nn.functional.interpolate` (no anti-aliasing in any of them):

    - `interpolation="bilinear"`, `align_corners=False`: half-pixel centres, source = (target + 0.5) * H / h - 0.5;
    - `interpolation="bilinear"`, `align_corners=True`: corner pixels coincide, source = target * (H - 1) / (h - 1);
    - `interpolation="nearest"`: the pixel under the target pixel's centre, torch's `nearest-exact`.

    `keras.layers.Resizing` is no substitute: called inside a model it moves later BatchNormalization layers into
    training mode. Nor is `keras.ops.image.resize`, which cannot be traced with a symbolic size. The TensorFlow ops used
    here (those behind `tf.image.resize`, which lacks the corner-aligned form) export to ONNX as one Resize each.

    Args:
        size: (height, width) of the result in pixels, or None when the call gives a reference tensor.
        interpolation: `"bilinear"` or `"nearest"`.
        align_corners: bilinear only, see above.

    Call arguments:
        inputs: (B, H, W, C), floating point.
        reference: (B', h, w, C'), only its height and width are used; required exactly when `size` is None.

    Output shape:
        (B, h, w, C) in the layer's compute dtype. Equal sizes leave the values untouched.

    Raises:
        ValueError: unknown interpolation; `align_corners` with nearest; a size that is no pair of positive integers;
            neither or both of `size` and `reference`; tensors that do not have four axes.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        interpolation: str = "bilinear",
        align_corners: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"Resize(interpolation=...) is one of {INTERPOLATIONS}. Received: {interpolation!r}")
        if align_corners and interpolation == "nearest":
            raise ValueError(
                "Resize(align_corners=True) needs interpolation='bilinear': nearest takes the pixel under the target "
                "pixel's centre. Received: interpolation='nearest', align_corners=True"
            )
        self.size = None if size is None else _checked_size(size)
        self.interpolation = interpolation
        self.align_corners = bool(align_corners)

    def call(self, inputs: Any, reference: Any = None) -> Any:
        self._check_call(inputs.shape, None if reference is None else reference.shape)
        x = tf.cast(inputs, self.compute_dtype)
        static = self._target_size(None if reference is None else tuple(reference.shape))
        if None not in static and static == tuple(x.shape[1:3]):
            return x
        size = static if None not in static else tf.shape(reference)[1:3]
        if self.interpolation == "bilinear" and x.dtype == tf.float64:
            resized = _bilinear(_bilinear(x, size[0], 1, self.align_corners), size[1], 2, self.align_corners)
        elif self.interpolation == "nearest":
            resized = tf.raw_ops.ResizeNearestNeighbor(images=x, size=size, half_pixel_centers=True)
        else:
            corners = self.align_corners
            resized = tf.raw_ops.ResizeBilinear(
                images=x, size=size, align_corners=corners, half_pixel_centers=not corners
            )
        # The kernels forget a size known only in part, and the bilinear one answers in float32 whatever comes in,
        # which is why float64 has a path of its own.
        resized.set_shape((x.shape[0], *static, x.shape[3]))
        return tf.cast(resized, self.compute_dtype)

    def compute_output_shape(self, inputs_shape: Any, reference_shape: Any = None) -> tuple[int | None, ...]:
        self._check_call(inputs_shape, reference_shape)
        return (inputs_shape[0], *self._target_size(reference_shape), inputs_shape[3])

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        config.update(size=self.size, interpolation=self.interpolation, align_corners=self.align_corners)
        return config

    def _target_size(self, reference_shape: Any) -> tuple[int | None, int | None]:
        if self.size is not None:
            return self.size
        return reference_shape[1], reference_shape[2]

    def _check_call(self, inputs_shape: Any, reference_shape: Any) -> None:
        if len(inputs_shape) != 4:
            raise ValueError(f"Resize takes a tensor (B, H, W, C). Received the shape {tuple(inputs_shape)}")
        if self.size is None and reference_shape is None:
            raise ValueError(
                f"Resize layer {self.name!r} has no size to resize to: give Resize(size=(height, width)), or call it "
                "as layer(x, reference). Received: size=None, reference=None"
            )
        if self.size is not None and reference_shape is not None:
            raise ValueError(
                f"Resize layer {self.name!r} was given two sizes: leave out either `size` or the reference tensor. "
                f"Received: size={self.size}, reference of shape {tuple(reference_shape)}"
            )
        if reference_shape is not None and len(reference_shape) != 4:
            raise ValueError(
                f"Resize takes a reference tensor (B, H, W, C). Received a reference of shape {tuple(reference_shape)}"
            )


def corner_aligned(labels: Any, reference: Any) -> Any:
    """The labels at the places of a smaller map's pixels whose corners lie on theirs; the nearest, halves upwards.

    Args:
        labels: integers (B, H, W).
        reference: (B', h, w, C'), only its height and width are used.

    Returns: (B, h, w). Of 321 labels 41 are every 8th.
    """
    for axis in (1, 2):
        last, steps = tf.shape(labels)[axis] - 1, tf.maximum(tf.shape(reference)[axis] - 1, 1)
        places = (2 * tf.range(tf.shape(reference)[axis]) * last + steps) // (2 * steps)
        labels = tf.gather(labels, places, axis=axis)
    return labels


def _bilinear(x: Any, target: Any, axis: int, align_corners: bool) -> Any:
    """Linear interpolation of `x` (B, H, W, C) along one axis to `target` places, in the type of `x`."""
    length, target = tf.cast(tf.shape(x)[axis], x.dtype), tf.cast(target, x.dtype)
    places = tf.range(target, dtype=x.dtype)
    if align_corners:
        source = places * (length - 1.0) / tf.maximum(target - 1.0, 1.0)
    else:
        source = tf.clip_by_value((places + 0.5) * length / target - 0.5, 0.0, length - 1.0)
    below = tf.floor(source)
    weight = tf.reshape(source - below, (1, -1, 1, 1) if axis == 1 else (1, 1, -1, 1))
    first = tf.gather(x, tf.cast(below, tf.int32), axis=axis)
    second = tf.gather(x, tf.cast(tf.minimum(below + 1.0, length - 1.0), tf.int32), axis=axis)
    return first + (second - first) * weight


def _checked_size(size: Any) -> tuple[int, int]:
    """The size as a pair of ints; raises ValueError for anything but two positive whole numbers."""
    try:
        height, width = (int(side) for side in size)
        whole = [height, width] == list(size)
    except (TypeError, ValueError):
        whole = False
    if not whole or height < 1 or width < 1:
        raise ValueError(f"Resize(size=...) is (height, width) in pixels, two positive integers. Received: {size!r}")
    return height, width
