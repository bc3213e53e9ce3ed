"""Joint random augmentation of picture and mask: what is drawn.

The random numbers of one sample are drawn here, with NumPy, into a `Draw`, a few small arrays; `kzoo.data.warp` applies
them with TensorFlow. Flip, scale, rotation and crop are one projective warp that is computed for the crop's pixels
only; brightness, contrast, saturation and hue are one 3x3 matrix and an offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLUR_RADIUS = 3

PAD_COLOR = (123.675, 116.28, 103.53)
"""The colour of the crop's pixels outside the picture: the mean of ImageNet's pictures, RGB 0..255."""

_LUMA = np.array([0.299, 0.587, 0.114])
_MEAN_GREY = float(np.dot(_LUMA, PAD_COLOR))


@dataclass(frozen=True)
class AugmentConfig:
    """What is drawn at random for every training sample.

    Attributes:
        flip: mirror left-right with probability 1/2.
        scale: bounds of the factor, uniform between them, by which the picture is resized before the crop.
        rotate: bound in degrees of the rotation about the picture's centre, uniform in [-rotate, rotate].
        blur: probability of a Gaussian blur, whose sigma is uniform in 0..1 pixels of the crop.
        brightness, contrast, saturation: bound b of the factor, uniform in [1 - b, 1 + b].
        hue: bound of the hue's shift as a fraction of the full circle, 0..0.5.

    Raises:
        ValueError: a value outside its range.
    """

    flip: bool = True
    scale: tuple[float, float] = (0.5, 2.0)
    rotate: float = 10.0
    blur: float = 0.2
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.02

    def __post_init__(self) -> None:
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"`scale` must be two positive factors, the lower one first; received {self.scale!r}.")
        bounds = {"rotate": 180.0, "blur": 1.0, "brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.5}
        for name, bound in bounds.items():
            value = getattr(self, name)
            if not 0 <= value <= bound:
                raise ValueError(f"`{name}` must be between 0 and {bound:g}, received {value!r}.")

    @classmethod
    def none(cls) -> AugmentConfig:
        """No augmentation but the random place of the crop."""
        zeros = {f.name: 0.0 for f in fields(cls) if f.name not in ("flip", "scale")}
        return cls(flip=False, scale=(1.0, 1.0), **zeros)


class Draw(NamedTuple):
    """The random numbers of one sample, ready to be applied.

    Attributes:
        warp: (8,) float32, maps the pixel indices (x, y) of the crop to pixel indices of the picture, as
            `ImageProjectiveTransformV3` takes it.
        color: (4, 3) float32; rows 0..2 multiply the RGB row vector, row 3 is added.
        blur: (7,) float32, the taps of the blur, or just the middle 1 for none.
    """

    warp: NDArray[np.float32]
    color: NDArray[np.float32]
    blur: NDArray[np.float32]


def draw(config: AugmentConfig, size: tuple[int, int], crop: tuple[int, int], rng: np.random.Generator) -> Draw:
    """Draws the augmentation of one picture of `size` (H, W) into a crop of `crop` (H, W).

    The same number of random values is used whatever the config, so that switching one part off leaves the others
    as they were.
    """
    u = rng.random(11)
    signed = 2.0 * u - 1.0
    low, high = config.scale
    scale = low + (high - low) * u[1]
    scaled = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    warp = warp_parameters(
        size,
        scaled,
        offset=(_place(u[2], scaled[0], crop[0]), _place(u[3], scaled[1], crop[1])),
        degrees=config.rotate * signed[4],
        flip=config.flip and u[0] < 0.5,
    )
    color = color_parameters(
        brightness=1 + config.brightness * signed[5],
        contrast=1 + config.contrast * signed[6],
        saturation=1 + config.saturation * signed[7],
        hue=config.hue * signed[8],
    )
    return Draw(warp, color, blur_parameters(u[10] if u[9] < config.blur else 0.0))


def _place(u: float, size: int, crop: int) -> int:
    """Where along one axis the crop begins in the scaled picture; negative where the picture is the smaller one."""
    room = size - crop
    steps = min(int(u * (abs(room) + 1)), abs(room))
    return steps if room >= 0 else -steps


def warp_parameters(
    size: tuple[int, int], scaled: tuple[int, int], offset: tuple[int, int], degrees: float, flip: bool
) -> NDArray[np.float32]:
    """The warp of flipping, then resizing `size` to `scaled`, then rotating about the centre, then cropping.

    Pixel centres lie at index + 1/2 (half-pixel convention), so that with nothing to do every pixel of the crop falls
    exactly on a pixel of the picture.

    Args:
        size: (H, W) of the picture.
        scaled: (H, W) that it is resized to.
        offset: (y, x) of the crop's first pixel in the scaled picture.
        degrees: counter-clockwise rotation of the content.
        flip: mirror left-right.

    Returns:
        (8,) float32: picture x = a0 x + a1 y + a2, picture y = a3 x + a4 y + a5, in pixel indices.
    """
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    step_y, step_x = size[0] / scaled[0], size[1] / scaled[1]
    # The crop's pixel (0, 0) relative to the scaled picture's centre; y points down.
    start_x = offset[1] + 0.5 - scaled[1] / 2
    start_y = offset[0] + 0.5 - scaled[0] / 2
    to_x = np.array([cos, -sin, cos * start_x - sin * start_y]) * step_x
    to_y = np.array([sin, cos, sin * start_x + cos * start_y]) * step_y
    if flip:
        to_x = -to_x
    to_x[2] += size[1] / 2 - 0.5
    to_y[2] += size[0] / 2 - 0.5
    return np.array([*to_x, *to_y, 0, 0], np.float32)


def color_parameters(brightness: float, contrast: float, saturation: float, hue: float) -> NDArray[np.float32]:
    """Saturation, hue, contrast and brightness, in this order, as one matrix and offset: (4, 3) float32.

    Saturation moves along the line to the pixel's luma (Rec. 601), hue turns the chroma plane of YIQ, contrast moves
    along the line to the luma of `PAD_COLOR`.
    """
    angle = 2 * math.pi * hue
    cos, sin = math.cos(angle), math.sin(angle)
    to_yiq = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
    chroma = np.array([[1, 0, 0], [0, saturation * cos, -saturation * sin], [0, saturation * sin, saturation * cos]])
    matrix = np.linalg.solve(to_yiq, chroma @ to_yiq)
    gain = brightness * contrast
    shift = brightness * (1 - contrast) * _MEAN_GREY
    return np.concatenate([gain * matrix.T, np.full((1, 3), shift)]).astype(np.float32)


def blur_parameters(sigma: float) -> NDArray[np.float32]:
    """Taps of a Gaussian of `sigma` pixels, cut at three pixels and summing to one."""
    x = np.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, dtype=np.float64)
    taps = np.exp(-0.5 * (x / max(sigma, 1e-3)) ** 2)
    return (taps / taps.sum()).astype(np.float32)
