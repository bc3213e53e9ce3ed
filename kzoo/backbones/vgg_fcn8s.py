"""VGG-16 as the published FCN-8s has it: fully convolutional, not dilated, on a picture with a wide margin of zeros."""

from __future__ import annotations

import os

from keras import layers

from kzoo.backbones.backbone import Backbone, Preprocessing, picture_input
from kzoo.backbones.vgg import BLOCKS
from kzoo.backbones.weights import load_backbone_weights

FC_CHANNELS = 4096
MARGIN = 100
# Red, green, blue; subtracted and not divided by anything, as in Caffe.
MEAN = (123.68, 116.779, 103.939)


def vgg16_fcn8s(
    *,
    width: float = 1.0,
    dropout: float = 0.5,
    output_stride: int = 32,
    weights: str | os.PathLike[str] | None = None,
) -> Backbone:
    """VGG-16 with its fully connected layers as convolutions, for the heads of `kzoo.models.FCN8s` alone.

    A margin of 100 zeros around the picture makes room for the 7x7 convolution `fc6`, which is not padded. Features lie
    on a grid that begins in the margin: `pool3` (256 channels, stride 8), `pool4` (512, stride 16) and `fc7` (4096,
    stride 32). They are no maps of the picture alone, for which reason they are not called `c2` ... `c4`.

    Pooling rounds sides up, as Caffe does (and crfasrnn_pytorch; the Keras port rounds the first pooling down, which is
    the same at its fixed 500x500).

    Args:
        width: multiplier of all channel counts; published weights have 1.
        dropout: rate behind `fc6` and `fc7`.
        output_stride: 32; there are no dilated ones.
        weights: None for fresh weights, or the path of a `.weights.h5` file of this backbone.

    Raises: `ValueError` for another output stride, a width that is not positive, or a file that does not fit.
    References: Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015 (configuration D); Long et al.,
        Fully Convolutional Networks for Semantic Segmentation, CVPR 2015.
    """
    if output_stride != 32:
        raise ValueError(f"vgg16_fcn8s is not dilated: output_stride must be 32. Received: {output_stride!r}")
    if width <= 0:
        raise ValueError(f"width must be positive. Received: width={width!r}")
    inputs = picture_input()
    # The first convolution is the only one of 3x3 without padding of its own: the margin is its padding.
    x = layers.ZeroPadding2D(MARGIN, name="margin")(inputs)
    features = {}
    for block, (count, channels) in enumerate(BLOCKS, start=1):
        for index in range(1, count + 1):
            padding = "valid" if (block, index) == (1, 1) else "same"
            x = layers.Conv2D(
                _scaled(channels, width),
                3,
                padding=padding,
                activation="relu",
                kernel_initializer="he_normal",
                name=f"conv{block}_{index}",
            )(x)
        # "same" adds a row or column at the end where a side is odd.
        x = layers.MaxPooling2D(2, padding="same", name=f"pool{block}")(x)
        features[f"pool{block}"] = x
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        x = layers.Conv2D(
            _scaled(FC_CHANNELS, width), kernel, activation="relu", kernel_initializer="he_normal", name=name
        )(x)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    backbone = Backbone(
        inputs,
        {"pool3": features["pool3"], "pool4": features["pool4"], "fc7": x},
        strides={"pool3": 8, "pool4": 16, "fc7": 32},
        preprocessing=Preprocessing.from_mean_std(MEAN, (1.0, 1.0, 1.0), bgr=True),
        name="vgg16_fcn8s",
    )
    if weights is not None:
        load_backbone_weights(backbone, weights)
    return backbone


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))
