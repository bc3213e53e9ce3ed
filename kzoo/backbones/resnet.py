"""ResNet-50, -101 and -152 with three stems, at any output stride of 8, 16 or 32.

The networks that segmentation checkpoints were trained with, laid out as PyTorch lays them out: bottlenecks with the
stride on their 3x3 convolution, symmetric padding, BatchNormalization with epsilon 1e-5, no convolution bias.

References:
    He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (stem "b"; the stride on the 3x3, as in torch);
    He et al., Bag of Tricks for Image Classification, CVPR 2019, section 4.2 (stem "c");
    Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, the authors' network (stem "s").
"""

from __future__ import annotations

import os
from typing import Any

import keras

from kzoo.backbones.backbone import IMAGENET_MEAN_STD, Backbone, check_output_stride, picture_input
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
    *, stem: str = "b", output_stride: int = 32, weights: str | os.PathLike[str] | None = None, name: str = "resnet50"
) -> Backbone:
    """ResNet-50: 3, 4, 6 and 3 bottlenecks.

    Args:
        stem: `"b"` 7x7 to 64 channels (the original), `"c"` three 3x3 of 32, 32, 64 channels, `"s"` three 3x3 of 64,
            64, 128 channels (EncNet's published weights).
        output_stride: 8, 16 or 32, the stride of the last features. Where a stage would pass it, its stride becomes
            dilation ("atrous"): the features stay those of the undilated network, computed at more places.
        weights: None for fresh weights; `"imagenet"` for published ones (stem b torchvision's, c MMSegmentation's v1c,
            s PyTorch-Encoding's), fetched and converted once; or the path of a checkpoint of theirs (`.pth`), or of a
            `.weights.h5` file that kzoo saved from this backbone.
        name: the Keras model's name.

    Returns:
        A `Backbone` from normalised (B, H, W, 3) to features `c1` (256 channels, stride 4), `c2` (512, stride 8),
        `c3` (1024) and `c4` (2048); a side of H pixels gives ceil(H / stride).

    Raises:
        ValueError: unknown stem or output stride; no ImageNet weights of this depth and stem are published; a file
            that holds another network.
        FileNotFoundError: there is no file at `weights`.
        FetchError: the published weights are not in the cache, and no address gives them.
    """
    return _resnet("resnet50", stem, output_stride, weights, name)


def resnet101(
    *, stem: str = "b", output_stride: int = 32, weights: str | os.PathLike[str] | None = None, name: str = "resnet101"
) -> Backbone:
    """ResNet-101: 3, 4, 23 and 3 bottlenecks. Arguments, result and errors: see `resnet50`."""
    return _resnet("resnet101", stem, output_stride, weights, name)


def resnet152(
    *, stem: str = "b", output_stride: int = 32, weights: str | os.PathLike[str] | None = None, name: str = "resnet152"
) -> Backbone:
    """ResNet-152: 3, 8, 36 and 3 bottlenecks. Arguments, result and errors: see `resnet50`."""
    return _resnet("resnet152", stem, output_stride, weights, name)


def _resnet(
    depth_name: str,
    stem: str,
    output_stride: int,
    weights: str | os.PathLike[str] | None,
    name: str,
) -> Backbone:
    if stem not in STEMS:
        raise unknown_name("ResNet stem", stem, STEMS)
    check_output_stride(output_stride)
    inputs = picture_input()
    x = _stem(inputs, STEMS[stem])
    features, strides = {}, {}
    stride, dilation = 4, 1
    for stage, (width, depth) in enumerate(zip(STAGE_WIDTHS, DEPTHS[depth_name], strict=True), start=1):
        step = 1 if stage == 1 else 2
        # The first block sees the previous stage's grid, so it keeps that stage's dilation even where its own step of
        # 2 is turned into dilation for the blocks after it.
        first_dilation = dilation
        if stride * step > output_stride:
            dilation, step = dilation * step, 1
        stride *= step
        x = _bottleneck(x, width, step, first_dilation, project=True, name=f"layer{stage}_0")
        for block in range(1, depth):
            x = _bottleneck(x, width, 1, dilation, project=False, name=f"layer{stage}_{block}")
        features[f"c{stage}"], strides[f"c{stage}"] = x, stride

    backbone = Backbone(inputs, features, strides=strides, preprocessing=IMAGENET_MEAN_STD, name=name)
    is_checkpoint = str(weights).endswith((".pth", ".pt"))
    if weights == "imagenet" or is_checkpoint:
        from kzoo.zoo.imagenet import load_imagenet

        load_imagenet(backbone, depth_name, stem, weights if is_checkpoint else None)
    elif weights is not None:
        load_backbone_weights(backbone, weights)
    return backbone


def _stem(x: Any, channels: tuple[int, ...]) -> Any:
    kernel = 7 if len(channels) == 1 else 3
    for index, width in enumerate(channels, start=1):
        x = _conv(x, width, kernel, stride=2 if index == 1 else 1, name=f"stem_conv{index}")
        x = BatchNormalization(name=f"stem_bn{index}")(x)
        x = keras.layers.ReLU(name=f"stem_relu{index}")(x)
    # Zeros are as good as the minus infinity that torch pads with, because nothing after a ReLU is below them.
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


def _bottleneck(x: Any, width: int, stride: int, dilation: int, project: bool, name: str) -> Any:
    shortcut = x
    if project:
        shortcut = _conv(x, EXPANSION * width, 1, stride=stride, name=f"{name}_downsample_conv")
        shortcut = BatchNormalization(name=f"{name}_downsample_bn")(shortcut)
    for index, (channels, kernel) in enumerate(((width, 1), (width, 3), (EXPANSION * width, 1)), start=1):
        spatial = {"stride": stride, "dilation": dilation} if kernel == 3 else {}
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
