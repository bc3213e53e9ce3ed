"""EfficientNet B0 to B7 at any output stride, with the layer names of Keras Applications."""

from __future__ import annotations

import math
import os
from typing import Any

from keras import initializers, layers

from kzoo.backbones.backbone import IMAGENET_MEAN_STD, Backbone, check_output_stride, divisible, picture_input
from kzoo.backbones.weights import load_backbone_weights, load_keras_applications
from kzoo.layers import BatchNormalization

Weights = str | os.PathLike[str] | None

# (width, depth) that the channels and the repeats of B0 are multiplied with.
COEFFICIENTS = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
}
# (kernel, repeats, filters, expansion, stride of the first block) of B0's stages 1..7.
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
# The last stage of each resolution, whose output is the feature of that name.
FEATURES = {2: "c1", 3: "c2", 5: "c3", 7: "c4"}
SQUEEZE = 0.25  # channels of the squeeze, as a part of the block's input channels
EPSILON = 1e-3


def efficientnet_b0(*, output_stride: int = 32, drop_connect_rate: float = 0.2, weights: Weights = None) -> Backbone:
    """EfficientNet-B0 without its classifier and the 1x1 convolution to it.

    Features: `c1` (stride 4), `c2` (8), `c3` (16), `c4` (32), the last block of each resolution: 24, 40, 112 and 320
    channels in B0, 48, 80, 224 and 640 in B7. `c4` is not the 1x1 convolution behind the last block, which quadruples
    the channels for the average over the picture that the classifier reads; decoders bring their own.

    With output stride 16 or 8 the later strides become dilations: the block that would have taken the stride keeps its
    dilation, the blocks after it get twice that. The blocks' squeeze-and-excitation then averages over more places, so
    that the features behind the first such block are near those of the undilated network, not equal to them.

    Padding is TensorFlow's "same", which at stride 2 is what Keras Applications pads by hand for a known picture size.

    Args:
        output_stride: 8, 16 or 32.
        drop_connect_rate: in training, the rate at which the residual branch of a block is left out for a picture
            (stochastic depth); it grows linearly from 0 at the first block to this value behind the last.
        weights: None for fresh weights; `"imagenet"` for the file of Keras Applications (fetched); or the path of a
            `.weights.h5` or of an `.npz` with folded BatchNorm.

    Returns:
        A `Backbone` from (B, H, W, 3) with ImageNet's mean 0 and deviation 1; a side of H gives ceil(H / stride).

    Raises:
        ValueError: wrong output stride or rate, or a file of another network.
        FileNotFoundError: there is no file at `weights`.
        FetchError: Keras cannot fetch the published weights.

    References:
        Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019;
        Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.
    """
    return _efficientnet("b0", output_stride, drop_connect_rate, weights)


def efficientnet_b1(*, output_stride: int = 32, drop_connect_rate: float = 0.2, weights: Weights = None) -> Backbone:
    """EfficientNet-B1. Arguments, result and errors: see `efficientnet_b0`."""
    return _efficientnet("b1", output_stride, drop_connect_rate, weights)


def efficientnet_b2(*, output_stride: int = 32, drop_connect_rate: float = 0.2, weights: Weights = None) -> Backbone:
    """EfficientNet-B2. Arguments, result and errors: see `efficientnet_b0`."""
    return _efficientnet("b2", output_stride, drop_connect_rate, weights)


def efficientnet_b3(*, output_stride: int = 32, drop_connect_rate: float = 0.2, weights: Weights = None) -> Backbone:
    """EfficientNet-B3. Arguments, result and errors: see `efficientnet_b0`."""
    return _efficientnet("b3", output_stride, drop_connect_rate, weights)


def efficientnet_b4(*, output_stride: int = 32, drop_connect_rate: float = 0.2, weights: Weights = None) -> Backbone:
    """EfficientNet-B4. Arguments, result and errors: see `efficientnet_b0`."""
    return _efficientnet("b4", output_stride, drop_connect_rate, weights)


def efficientnet_b5(*, output_stride: int = 32, drop_connect_rate: float = 0.2, weights: Weights = None) -> Backbone:
    """EfficientNet-B5. Arguments, result and errors: see `efficientnet_b0`."""
    return _efficientnet("b5", output_stride, drop_connect_rate, weights)


def efficientnet_b6(*, output_stride: int = 32, drop_connect_rate: float = 0.2, weights: Weights = None) -> Backbone:
    """EfficientNet-B6. Arguments, result and errors: see `efficientnet_b0`."""
    return _efficientnet("b6", output_stride, drop_connect_rate, weights)


def efficientnet_b7(*, output_stride: int = 32, drop_connect_rate: float = 0.2, weights: Weights = None) -> Backbone:
    """EfficientNet-B7. Arguments, result and errors: see `efficientnet_b0`."""
    return _efficientnet("b7", output_stride, drop_connect_rate, weights)


def _efficientnet(variant: str, output_stride: int, drop_connect_rate: float, weights: Weights) -> Backbone:
    check_output_stride(output_stride)
    if not 0 <= drop_connect_rate < 1:
        raise ValueError(f"drop_connect_rate must be in [0, 1). Received: drop_connect_rate={drop_connect_rate!r}")
    width, depth = COEFFICIENTS[variant]
    repeats = [math.ceil(depth * stage[1]) for stage in STAGES]
    inputs = picture_input()
    x = _conv(inputs, divisible(32 * width), "stem_conv", kernel=3, stride=2)
    x = _norm_swish(x, "stem_bn", "stem_activation")

    features, strides = {}, {}
    reached, dilation, index = 2, 1, 0
    for stage, (kernel, _, filters, expansion, first_stride) in enumerate(STAGES, start=1):
        for block in range(repeats[stage - 1]):
            stride = taken = first_stride if block == 0 else 1
            next_dilation = dilation
            if stride == 2 and reached == output_stride:
                taken, next_dilation = 1, dilation * 2
            reached *= taken
            name = f"block{stage}{chr(ord('a') + block)}_"
            shortcut = x
            x = _residual(x, name, kernel, divisible(filters * width), expansion, taken, dilation)
            if block > 0:  # the first block of each stage changes the channels
                rate = drop_connect_rate * index / sum(repeats)
                x = layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name + "drop")(x)
                x = layers.Add(name=name + "add")([x, shortcut])
            dilation, index = next_dilation, index + 1
        if stage in FEATURES:
            features[FEATURES[stage]], strides[FEATURES[stage]] = x, reached

    name = f"efficientnet_{variant}"
    # Keras Applications computes the same: its published files hold the deviation where its Normalization layer takes
    # the variance, and a Rescaling behind that layer divides by the root of the deviation once more.
    backbone = Backbone(inputs, features, strides=strides, preprocessing=IMAGENET_MEAN_STD, name=name)
    if weights == "imagenet":
        load_keras_applications(backbone, f"EfficientNet{variant.upper()}")
    elif weights is not None:
        load_backbone_weights(backbone, weights)
    return backbone


def _residual(x: Any, name: str, kernel: int, filters: int, expansion: int, stride: int, dilation: int) -> Any:
    """Expansion, depthwise convolution, squeeze-and-excitation and projection: what the shortcut goes around."""
    channels = x.shape[-1]
    if expansion > 1:
        x = _conv(x, expansion * channels, name + "expand_conv")
        x = _norm_swish(x, name + "expand_bn", name + "expand_activation")
    x = layers.DepthwiseConv2D(
        kernel,
        stride,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=name + "dwconv",
    )(x)
    x = _norm_swish(x, name + "bn", name + "activation")
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=name + "se_squeeze")(x)
    gate = _conv(gate, int(SQUEEZE * channels), name + "se_reduce", activation="swish", use_bias=True)
    gate = _conv(gate, expansion * channels, name + "se_expand", activation="sigmoid", use_bias=True)
    x = layers.Multiply(name=name + "se_excite")([x, gate])
    return BatchNormalization(epsilon=EPSILON, name=name + "project_bn")(_conv(x, filters, name + "project_conv"))


def _initializer() -> initializers.Initializer:
    """A new one for each layer: one object would give layers of one shape the same values."""
    return initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def _conv(
    x: Any, filters: int, name: str, kernel: int = 1, stride: int = 1, use_bias: bool = False, activation: Any = None
) -> Any:
    return layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        use_bias=use_bias,
        activation=activation,
        kernel_initializer=_initializer(),
        name=name,
    )(x)


def _norm_swish(x: Any, norm_name: str, activation_name: str) -> Any:
    x = BatchNormalization(epsilon=EPSILON, name=norm_name)(x)
    return layers.Activation("swish", name=activation_name)(x)
