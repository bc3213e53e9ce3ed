"""Joint random augmentation of picture and mask: applying a draw with TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from kzoo.data.augment import BLUR_RADIUS, PAD_COLOR
from kzoo.data.labels import IGNORE_LABEL

_PAD_LABEL = 254  # marks padding in the warped mask, so that it can be told from annotated-as-ignored pixels


def apply_draw(
    image: tf.Tensor, mask: tf.Tensor, warp: tf.Tensor, color: tf.Tensor, blur: tf.Tensor, crop: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies a `Draw`.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8.
        warp, color, blur: the fields of the `Draw`.
        crop: (H, W) of the result.

    Returns:
        The picture (h, w, 3) float32 in 0..255, bilinear, `PAD_COLOR` outside; the mask (h, w) int32, nearest,
        255 outside.
    """
    labels = _warp(mask[:, :, None], warp, crop, "NEAREST", "CONSTANT", float(_PAD_LABEL))[:, :, 0]
    outside = tf.equal(labels, _PAD_LABEL)
    labels = tf.where(outside, tf.constant(IGNORE_LABEL, tf.uint8), labels)

    # Repeating the border keeps a fill colour from bleeding into the outermost pixels; what lies outside is painted
    # last, so that blur and colours leave it neutral.
    picture = _warp(tf.cast(image, tf.float32), warp, crop, "BILINEAR", "NEAREST", 0.0)
    picture = tf.cond(blur[BLUR_RADIUS] < 1.0, lambda: _blur(picture, blur), lambda: picture)
    flat = tf.matmul(tf.reshape(picture, (-1, 3)), color[:3]) + color[3]
    picture = tf.reshape(tf.clip_by_value(flat, 0.0, 255.0), (*crop, 3))
    picture = tf.where(outside[:, :, None], tf.constant(PAD_COLOR, tf.float32), picture)
    return picture, tf.cast(labels, tf.int32)


def _warp(
    picture: tf.Tensor, warp: tf.Tensor, crop: tuple[int, int], interpolation: str, fill_mode: str, fill_value: float
) -> tf.Tensor:
    result = tf.raw_ops.ImageProjectiveTransformV3(
        images=picture[None],
        transforms=warp[None],
        output_shape=crop,
        fill_value=fill_value,
        interpolation=interpolation,
        fill_mode=fill_mode,
    )
    return result[0]


def _blur(picture: tf.Tensor, taps: tf.Tensor) -> tf.Tensor:
    padding = (BLUR_RADIUS, BLUR_RADIUS)
    padded = tf.pad(picture, (padding, padding, (0, 0)), "SYMMETRIC")[None]
    kernel = tf.tile(tf.reshape(taps, (-1, 1, 1, 1)), (1, 1, 3, 1))
    columns = tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "VALID")
    return tf.nn.depthwise_conv2d(columns, tf.transpose(kernel, (1, 0, 2, 3)), (1, 1, 1, 1), "VALID")[0]
