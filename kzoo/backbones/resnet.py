"""ResNet-50, -101 and -152 with three stems, at any output stride of 8, 16 or 32.

The networks that segmentation checkpoints were trained with, laid out as PyTorch lays them out: bottlenecks with the
stride on their 3x3 convolution, symmetric padding, BatchNormalization with epsilon 1e-5, no convolution bias. Or as
Caffe does, for DeepLab v2.

References:
    He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (stem "b"; the stride on the 3x3, as in torch;
    the authors' own files, in Caffe, have it on the first 1x1);
    He et al., Bag of Tricks for Image Classification, CVPR 2019, section 4.2 (stem "c");
    Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, the authors' network (stem "s");
    Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, arXiv 1706.05587, section 3.2
    (multi-grid).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras

from kzoo.backbones.backbone import CAFFE_MEAN, IMAGENET_MEAN_STD, Backbone, check_output_stride, picture_input
from kzoo.backbones.weights import load_backbone_weights
from kzoo.errors import unknown_name
from kzoo.layers import BatchNormalization

# Output channels of the stem's convolutions: one 7x7, or three 3x3. The first has stride 2.
STEMS = {"b": (64,), "c": (32, 32, 64), "s": (64, 64, 128)}
# Bottlenecks of the four stages.
DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3)}
STAGE_WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # a bottleneck puts out this many times its width


def resnet50(
    *,
    stem: str = "b",
    output_stride: int = 32,
    multi_grid: Sequence[int] | None = None,
    caffe: bool = False,
    weights: str | os.PathLike[str] | None = None,
    name: str = "resnet50",
) -> Backbone:
    """ResNet-50: 3, 4, 6 and 3 bottlenecks.

    Args:
        stem: `"b"` 7x7 to 64 channels (the original), `"c"` three 3x3 of 32, 32, 64 channels, `"s"` three 3x3 of 64,
            64, 128 channels (EncNet's published weights).
        output_stride: 8, 16 or 32, the stride of the last features. Where a stage would pass it, its stride becomes
            dilation ("atrous"): the features stay those of the undilated network, computed at more places.
        multi_grid: DeepLab v3's unit rates, one for each of the last stage's three blocks: their dilations are these
            times the stage's, e.g. (1, 2, 4) at output stride 16: 2, 4, 8. By default the stage's, but for the first
            block, which keeps that of the stage before, as the stride on its 3x3 asks.
        caffe: the form of DeepLab v2's network: the stride on each stage's first 1x1, not on the 3x3; a pool that
            rounds up; pictures BGR without their mean, not divided.
        weights: None for fresh weights; `"imagenet"` for published ones (stem b torchvision's, c MMSegmentation's v1c,
            s PyTorch-Encoding's), fetched and converted once; or the path of a checkpoint of theirs (`.pth`,
            `.pth.tar`), with `caffe` of one that holds DeepLab v2 (`kzoo.convert.cagnet`); or of a `.weights.h5` file
            that kzoo saved from this backbone.
        name: the Keras model's name.

    Returns:
        A `Backbone` from normalised (B, H, W, 3) to features `c1` (256 channels, stride 4), `c2` (512, stride 8),
        `c3` (1024) and `c4` (2048). A side of H pixels gives ceil(H / stride); in Caffe's form c1 has
        floor(ceil(H / 2) / 2) + 1 and the others every second of these, so that corners of 8 k + 1 are kept.

    Raises:
        ValueError: unknown stem or output stride; a multi-grid that is not three positive whole numbers; no ImageNet
            weights of this depth, stem and form are published; a file that holds another network.
        FileNotFoundError: there is no file at `weights`.
        FetchError: the published weights are not in the cache, and no address gives them.
    """
    return _resnet("resnet50", stem, output_stride, multi_grid, caffe, weights, name)


def resnet101(
    *,
    stem: str = "b",
    output_stride: int = 32,
    multi_grid: Sequence[int] | None = None,
    caffe: bool = False,
    weights: str | os.PathLike[str] | None = None,
    name: str = "resnet101",
) -> Backbone:
    """ResNet-101: 3, 4, 23 and 3 bottlenecks. Arguments, result and errors: see `resnet50`."""
    return _resnet("resnet101", stem, output_stride, multi_grid, caffe, weights, name)


def resnet152(
    *,
    stem: str = "b",
    output_stride: int = 32,
    multi_grid: Sequence[int] | None = None,
    caffe: bool = False,
    weights: str | os.PathLike[str] | None = None,
    name: str = "resnet152",
) -> Backbone:
    """ResNet-152: 3, 8, 36 and 3 bottlenecks. Arguments, result and errors: see `resnet50`."""
    return _resnet("resnet152", stem, output_stride, multi_grid, caffe, weights, name)


def _resnet(
    depth_name: str,
    stem: str,
    output_stride: int,
    multi_grid: Sequence[int] | None,
    caffe: bool,
    weights: str | os.PathLike[str] | None,
    name: str,
) -> Backbone:
    if stem not in STEMS:
        raise unknown_name("ResNet stem", stem, STEMS)
    check_output_stride(output_stride)
    _check_multi_grid(multi_grid)
    if caffe and weights == "imagenet":
        raise ValueError(
            "There are no published ImageNet weights of ResNets in Caffe's form (caffe=True), and those of the other "
            "form, whose shapes would fit, compute something else. Give a checkpoint of DeepLab v2's layout as "
            "weights=PATH, or caffe=False. Received: caffe=True, weights='imagenet'"
        )
    inputs = picture_input()
    x = _stem(inputs, STEMS[stem], caffe)
    features, strides = {}, {}
    stride, dilation = 4, 1
    for stage, (width, depth) in enumerate(zip(STAGE_WIDTHS, DEPTHS[depth_name], strict=True), start=1):
        step = 1 if stage == 1 else 2
        previous = dilation
        if stride * step > output_stride:
            dilation, step = dilation * step, 1
        stride *= step
        # The first 3x3 sees the previous stage's grid where it has the stride itself, so it keeps that stage's
        # dilation even where its own step of 2 is turned into dilation for the blocks after it.
        dilations = [dilation if caffe else previous] + [dilation] * (depth - 1)
        if stage == 4 and multi_grid is not None:
            dilations = [rate * dilation for rate in multi_grid]
        for block, block_dilation in enumerate(dilations):
            first = block == 0
            x = _bottleneck(x, width, step if first else 1, block_dilation, first, caffe, f"layer{stage}_{block}")
        features[f"c{stage}"], strides[f"c{stage}"] = x, stride

    preprocessing = CAFFE_MEAN if caffe else IMAGENET_MEAN_STD
    backbone = Backbone(inputs, features, strides=strides, preprocessing=preprocessing, name=name)
    is_checkpoint = str(weights).endswith((".pth", ".pt", ".pth.tar"))
    if caffe and is_checkpoint:
        from kzoo.convert import read_checkpoint, set_weights
        from kzoo.convert.cagnet import RESNET

        set_weights(backbone, read_checkpoint(str(weights)), RESNET, str(weights))
    elif weights == "imagenet" or is_checkpoint:
        from kzoo.zoo.imagenet import load_imagenet

        load_imagenet(backbone, depth_name, stem, weights if is_checkpoint else None)
    elif weights is not None:
        load_backbone_weights(backbone, weights)
    return backbone


def _check_multi_grid(multi_grid: Any) -> None:
    blocks = DEPTHS["resnet50"][-1]  # the same at every depth
    if multi_grid is None or (
        isinstance(multi_grid, Sequence)
        and len(multi_grid) == blocks
        and all(isinstance(rate, int) and rate >= 1 for rate in multi_grid)
    ):
        return
    raise ValueError(
        f"multi_grid has a positive whole number for each of the last stage's {blocks} blocks, e.g. [1, 2, 4]. "
        f"Received: multi_grid={multi_grid!r}"
    )


def _stem(x: Any, channels: tuple[int, ...], caffe: bool) -> Any:
    kernel = 7 if len(channels) == 1 else 3
    for index, width in enumerate(channels, start=1):
        x = _conv(x, width, kernel, stride=2 if index == 1 else 1, name=f"stem_conv{index}")
        x = BatchNormalization(name=f"stem_bn{index}")(x)
        x = keras.layers.ReLU(name=f"stem_relu{index}")(x)
    # Zeros are as good as the minus infinity that torch pads with, because nothing after a ReLU is below them; two at
    # the end are Caffe's ceil rule.
    padding = ((1, 2), (1, 2)) if caffe else 1
    x = keras.layers.ZeroPadding2D(padding, name="stem_pool_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


def _bottleneck(x: Any, width: int, stride: int, dilation: int, project: bool, caffe: bool, name: str) -> Any:
    shortcut = x
    if project:
        shortcut = _conv(x, EXPANSION * width, 1, stride=stride, name=f"{name}_downsample_conv")
        shortcut = BatchNormalization(name=f"{name}_downsample_bn")(shortcut)
    for index, (channels, kernel) in enumerate(((width, 1), (width, 3), (EXPANSION * width, 1)), start=1):
        spatial = {
            "stride": stride if index == (1 if caffe else 2) else 1,
            "dilation": dilation if index == 2 else 1,
        }
        x = _conv(x, channels, kernel, name=f"{name}_conv{index}", **spatial)
        x = BatchNormalization(name=f"{name}_bn{index}")(x)
        if index < 3:
            x = keras.layers.ReLU(name=f"{name}_relu{index}")(x)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu3")(x)


def _conv(x: Any, channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, name: str) -> Any:
    """A convolution without bias, padded by `dilation * (kernel - 1) / 2` on every side as torch pads it."""
    padding = "same"  # the same thing at stride 1, without the copy; at stride 2 it would depend on the input's size
    if stride > 1:
        padding = "valid"
        if kernel > 1:
            x = keras.layers.ZeroPadding2D(dilation * (kernel - 1) // 2, name=f"{name}_pad")(x)
    return keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding=padding,
        dilation_rate=dilation,
        use_bias=False,
        # For layers followed by ReLU; Keras' default would start the residual branches a good deal smaller.
        kernel_initializer=keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal"),
        name=name,
    )(x)
