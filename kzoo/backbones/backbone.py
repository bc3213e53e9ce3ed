"""What all backbones share: named features with known strides, and the input range they expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

OUTPUT_STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Preprocessing:
    """Takes RGB 0..255 to what a backbone was trained on: `x * scale + offset`, for each channel.

    Attributes:
        scale, offset: of red, green, blue, in this order whatever `bgr` is.
        bgr: whether the backbone takes the scaled channels as blue, green, red, as networks from Caffe do.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    bgr: bool = False

    @classmethod
    def from_mean_std(cls, mean: tuple[float, ...], std: tuple[float, ...], *, bgr: bool = False) -> Preprocessing:
        """`(x - mean) / std` with mean and std of red, green, blue in 0..255."""
        red, green, blue = zip(mean, std, strict=True)
        pairs = (red, green, blue)
        return cls(
            scale=tuple(1.0 / s for _, s in pairs),  # type: ignore[arg-type]
            offset=tuple(-m / s for m, s in pairs),  # type: ignore[arg-type]
            bgr=bgr,
        )


IMAGENET_MEAN_STD = Preprocessing.from_mean_std((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
# What Caffe's networks subtract, of red, green, blue; they take blue first.
CAFFE_MEAN = Preprocessing.from_mean_std((122.675, 116.669, 104.008), (1.0, 1.0, 1.0), bgr=True)
MINUS_ONE_TO_ONE = Preprocessing(scale=(1 / 127.5,) * 3, offset=(-1.0,) * 3)


class Backbone(keras.Model):
    """A functional model whose outputs are a dict of named features, finest first.

    Args:
        inputs: the symbolic input (B, H, W, 3), already in the range that `preprocessing` leads to.
        features: the symbolic features (B, H / stride, W / stride, C) by name: `c1` ... `c4`.
        strides: each feature's stride against the input.
        preprocessing: how RGB 0..255 becomes the input.
    """

    def __init__(
        self,
        inputs: Any,
        features: Mapping[str, Any],
        *,
        strides: Mapping[str, int],
        preprocessing: Preprocessing,
        name: str,
    ) -> None:
        super().__init__(inputs=inputs, outputs=dict(features), name=name)
        self.strides = dict(strides)
        self.channels = {key: int(feature.shape[-1]) for key, feature in features.items()}
        self.preprocessing = preprocessing


def check_output_stride(output_stride: int) -> int:
    """`output_stride` itself; `ValueError` if it is none of 8, 16, 32."""
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"output_stride must be one of {OUTPUT_STRIDES}. Received: output_stride={output_stride!r}")
    return output_stride


def divisible(channels: float) -> int:
    """`channels` rounded to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def full_precision() -> str:
    """The type of pictures and logits: float32 under half-precision policies too; float64 under a float64 policy."""
    return "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"


def picture_input() -> Any:
    """The symbolic input of a backbone: pictures (B, H, W, 3) of any size."""
    return keras.Input((None, None, 3), dtype=full_precision(), name="image")
