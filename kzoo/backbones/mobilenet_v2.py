"""MobileNetV2 at any width and output stride, with the layer names of Keras Applications."""

from __future__ import annotations

import os
from typing import Any

from keras import layers

from kzoo.backbones.backbone import MINUS_ONE_TO_ONE, Backbone, check_output_stride, divisible, picture_input
from kzoo.backbones.weights import load_backbone_weights, load_keras_applications
from kzoo.layers import BatchNormalization

# (filters, stride) of the inverted residual blocks 0..16; the expansion is 1 for block 0 and 6 for the others.
BLOCKS = (
    *((16, 1),),
    *((24, 2), (24, 1)),
    *((32, 2), (32, 1), (32, 1)),
    *((64, 2), (64, 1), (64, 1), (64, 1)),
    *((96, 1), (96, 1), (96, 1)),
    *((160, 2), (160, 1), (160, 1)),
    *((320, 1),),
)
# The last block of each resolution, whose output is the feature of that name.
FEATURES = {2: "c1", 5: "c2", 12: "c3", 16: "c4"}
EPSILON = 1e-3


def mobilenet_v2(
    *, width: float = 1.0, output_stride: int = 32, weights: str | os.PathLike[str] | None = None
) -> Backbone:
    """MobileNetV2 without its classifier.

    Features: `c1` (stride 4, 24 channels), `c2` (8, 32), `c3` (16, 96), `c4` (32, 320), channels at width 1. With
    output stride 16 or 8 the later strides become dilations: the block that would have taken the stride keeps its
    dilation, the blocks after it get twice that.

    Padding is TensorFlow's "same", as the published weights were trained; at stride 2 it is asymmetric for even sizes.

    Args:
        width: multiplier of all channel counts.
        output_stride: 8, 16 or 32.
        weights: `None` for fresh weights; `"imagenet"` for the file of Keras Applications (fetched, widths 0.35, 0.5,
            0.75, 1.0, 1.3, 1.4); or the path of a `.weights.h5` or of an `.npz` with folded BatchNorm.

    Raises: `ValueError` for a wrong stride, width or weights file.
    Reference: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.
    """
    check_output_stride(output_stride)
    if width <= 0:
        raise ValueError(f"width must be positive. Received: width={width!r}")
    inputs = picture_input()
    x = layers.Conv2D(divisible(32 * width), 3, 2, padding="same", use_bias=False, name="Conv1")(inputs)
    x = layers.ReLU(6.0, name="Conv1_relu")(BatchNormalization(epsilon=EPSILON, name="bn_Conv1")(x))

    features, strides = {}, {}
    reached, dilation = 2, 1
    for index, (filters, stride) in enumerate(BLOCKS):
        next_dilation = dilation
        if stride == 2 and reached == output_stride:
            stride, next_dilation = 1, dilation * 2
        reached *= stride
        x = _inverted_residual(x, index, divisible(int(filters * width)), stride, dilation)
        dilation = next_dilation
        if index in FEATURES:
            features[FEATURES[index]], strides[FEATURES[index]] = x, reached

    backbone = Backbone(inputs, features, strides=strides, preprocessing=MINUS_ONE_TO_ONE, name="mobilenet_v2")
    if weights == "imagenet":
        load_keras_applications(backbone, "MobileNetV2", alpha=width)
    elif weights is not None:
        load_backbone_weights(backbone, weights)
    return backbone


def _inverted_residual(x: Any, index: int, filters: int, stride: int, dilation: int) -> Any:
    shortcut, channels = x, x.shape[-1]
    prefix = f"block_{index}_" if index else "expanded_conv_"
    if index:
        x = layers.Conv2D(6 * channels, 1, use_bias=False, name=prefix + "expand")(x)
        x = BatchNormalization(epsilon=EPSILON, name=prefix + "expand_BN")(x)
        x = layers.ReLU(6.0, name=prefix + "expand_relu")(x)
    x = layers.DepthwiseConv2D(
        3, stride, padding="same", dilation_rate=dilation, use_bias=False, name=prefix + "depthwise"
    )(x)
    x = BatchNormalization(epsilon=EPSILON, name=prefix + "depthwise_BN")(x)
    x = layers.ReLU(6.0, name=prefix + "depthwise_relu")(x)
    x = layers.Conv2D(filters, 1, use_bias=False, name=prefix + "project")(x)
    x = BatchNormalization(epsilon=EPSILON, name=prefix + "project_BN")(x)
    if channels == filters and BLOCKS[index][1] == 1:
        return layers.Add(name=prefix + "add")([shortcut, x])
    return x
