"""Whether a network sees pictures of a size as it saw those that it was trained with.

TensorFlow's "same" padding puts the last sample of a strided convolution on the last pixel, and counts back from there:
with all strides together S, the features of a side of N pixels begin at pixel (N - 1) mod S. The resizing behind them
knows nothing of that. A network learns to make up for it, at the sizes that it is trained with: of EncNet on
MobileNetV2, trained at 320x320 (the features begin at pixel 31), 321x321 (at 0) takes seven points of mIoU
(`docs/deployment.md`).
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kzoo.export.sidecar import network_name

if TYPE_CHECKING:
    from kzoo.models import Segmenter

_log = logging.getLogger("kzoo")


def size_advice(model: Segmenter, size: tuple[int, int]) -> str | None:
    """What is wrong with pictures of `size` (height, width) for a network trained at another; None if nothing is.

    Nothing is said of features that begin within a quarter of the stride from where they began in training, of
    backbones that pad by a fixed number of pixels, nor of a network of which it is not known what it was trained at.
    """
    if model.trained_size is None or not _begins_by_size(model):
        return None
    stride = max(model.backbone.strides.values())
    sides = list(zip(size, model.trained_size, strict=True))
    moved = max(abs(first_sample(side, stride) - first_sample(trained, stride)) for side, trained in sides)
    if 4 * moved <= stride:
        return None
    fitting = [_nearest(side, trained, stride) for side, trained in sides]
    return (
        f"{network_name(model)} was trained at {_spelled(model.trained_size)}: in pictures of {_spelled(size)} its "
        f"features begin up to {moved} pixels from where they began there, which can cost points of mIoU. "
        f"{_spelled(fitting)} fits."
    )


def first_sample(side: int, stride: int) -> int:
    """The pixel, from 0, that the first feature of a side of so many pixels lies on."""
    return (side - 1) % stride


def advise(model: Segmenter, size: tuple[int, int]) -> None:
    """Logs `size_advice`, if there is any: once, for all files of a network at a size."""
    if advice := size_advice(model, size):
        _log_once(advice)


@lru_cache
def _log_once(advice: str) -> None:
    _log.warning(advice)


def _begins_by_size(model: Segmenter) -> bool:
    """Whether the backbone has strided convolutions with "same" padding."""
    return any(
        getattr(layer, "padding", None) == "same"
        and max(np.ravel(layer.strides)) > 1
        and max(np.ravel(layer.kernel_size)) > 1
        for layer in model.backbone.layers
        if hasattr(layer, "kernel_size")
    )


def _nearest(side: int, trained: int, stride: int) -> int:
    below = side - (side - trained) % stride
    return min((below, below + stride), key=lambda fitting: (fitting < 1, abs(fitting - side)))


def _spelled(size: tuple[int, ...] | list[int]) -> str:
    return "x".join(map(str, size))
