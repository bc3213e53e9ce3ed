"""VGG-16 as DeepLab v1 has it: overlapping pools that keep corners aligned, dilation in place of the last strides."""

from __future__ import annotations

import os

from keras import layers

from kzoo.backbones.backbone import CAFFE_MEAN, Backbone, check_output_stride, picture_input
from kzoo.backbones.weights import load_backbone_weights, load_keras_applications

# (convolutions, filters) of the five blocks; each ends in a pool.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def vgg16(
    *, output_stride: int = 8, average_pool: bool = True, weights: str | os.PathLike[str] | None = None
) -> Backbone:
    """VGG-16 without its fully connected layers, with DeepLab v1's pools.

    Features are what the pools put out: `c0` (stride 2, 64 channels), `c1` (4, 128), `c2` (8, 256), `c3` (16, 512),
    `c4` (32, 512). With output stride 16 or 8 the later pools have stride 1, and the convolutions after `c3` are
    dilated where its stride is gone. No BatchNorm; layers have the names of Keras Applications, whose weights fit.

    The pools are Caffe's, 3x3 with one pixel of padding: a side of n pixels becomes floor(n / 2) + 1, so that sides of
    8 k + 1 give features whose corners lie on the picture's (321: 161, 81, 41).

    Args:
        output_stride: 8 (as published), 16 or 32.
        average_pool: 3x3 means (`pool5a`) after the last pool. LargeFOV's published networks have them, those with
            larger kernels have not, and the paper is silent.
        weights: `None` for fresh weights; `"imagenet"` for the file of Keras Applications (fetched; the weights of
            VGG's authors, CC BY 4.0); or the path of a `.caffemodel` with its layers (`vgg16_20M.caffemodel`, or
            VGG's own), a `.weights.h5` or an `.npz`.

    Raises: `ValueError` for a wrong stride or weights file; `FetchError` if Keras cannot fetch its file.
    References:
        Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015;
        Chen et al., arXiv 1412.7062, section 3.1, and its released `DeepLab-LargeFOV/test.prototxt`.
    """
    check_output_stride(output_stride)
    inputs = x = picture_input()
    features, strides = {}, {}
    stride, dilation = 1, 1
    for block, (depth, filters) in enumerate(BLOCKS, start=1):
        for index in range(1, depth + 1):
            x = layers.Conv2D(
                filters,
                3,
                padding="same",
                dilation_rate=dilation,
                activation="relu",
                kernel_initializer="he_normal",
                name=f"block{block}_conv{index}",
            )(x)
        if stride < output_stride:
            stride *= 2
            # Zeros are as good as none, for nothing after a ReLU is below them; two at the end are Caffe's ceil rule.
            x = layers.ZeroPadding2D(((1, 2), (1, 2)), name=f"block{block}_pad")(x)
            x = layers.MaxPooling2D(3, 2, name=f"block{block}_pool")(x)
        else:
            dilation *= 2
            x = layers.MaxPooling2D(3, 1, padding="same", name=f"block{block}_pool")(x)
        features[f"c{block - 1}"], strides[f"c{block - 1}"] = x, stride
    if average_pool:
        # The padding counts in Caffe's means: all of them are sums over 9.
        x = layers.ZeroPadding2D(1, name="average_pad")(x)
        features["c4"] = layers.AveragePooling2D(3, 1, name="average_pool")(x)

    backbone = Backbone(inputs, features, strides=strides, preprocessing=CAFFE_MEAN, name="vgg16")
    if weights == "imagenet":
        load_keras_applications(backbone, "VGG16")
    elif str(weights).endswith(".caffemodel"):
        from kzoo.convert import read_caffemodel, set_weights
        from kzoo.convert.deeplab_caffe import VGG16

        set_weights(backbone, read_caffemodel(str(weights)), VGG16, str(weights))
    elif weights is not None:
        load_backbone_weights(backbone, weights)
    return backbone
