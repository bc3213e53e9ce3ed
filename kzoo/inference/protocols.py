"""The evaluation protocols of the codes that published weights come from, step by step as those codes take them.

A published mIoU belongs to a protocol: at which sizes the network sees a picture, how passes are added, where padding
goes. `PyTorchEncoding` and `MMSegmentation` predict class maps as the two codes do, so that `kzoo eval --protocol`
measures what their tables report. Both count the labelled pixels only, as kzoo's metrics do. (On part of a dataset the
first of them counts a class that is neither labelled nor predicted as 0; kzoo leaves it out of the mean.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.inference.freeze import freeze
from kzoo.inference.predict import Refinement

SIX_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
Network = Callable[[Any], Any]


@dataclass(frozen=True)
class PyTorchEncoding:
    """Multi-scale evaluation of PyTorch-Encoding (`MultiEvalModule`): the numbers of its model zoo.

    At each scale the longer side becomes `ceil(base_size * scale)`, corner-aligned. A picture that is then no longer
    than `crop_size` is padded with black to a square of that side and seen once; a longer one is seen through windows
    of that side at a step of two thirds. A pass is the exponential of the sum of the logits of the picture and of its
    mirror image: windows are averaged, scales are summed.

    Attributes:
        base_size: longer side at scale 1, pixels: 520, but 640 for ResNet-101 on ADE20K.
        crop_size: side of the training crops: 480, 576 there.
        scales: factors of the longer side.
        flip: whether every pass sees the mirror image as well.
    """

    base_size: int
    crop_size: int
    scales: tuple[float, ...] = SIX_SCALES
    flip: bool = True

    def scores(self, model: keras.Model, image: NDArray[Any]) -> NDArray[np.float64]:
        """Un-normalised scores (H, W, C) of a picture (H, W, 3), RGB 0..255; the class map is their argmax."""
        network = freeze(model).unrefined
        height, width = image.shape[:2]
        picture = tf.constant(image[np.newaxis].astype(np.float32))
        total: Any = 0.0
        for scale in self.scales:
            longer = math.ceil(self.base_size * scale)
            # Rounded as the published code does it: half up.
            shorter = int(min(height, width) * longer / max(height, width) + 0.5)
            size = (longer, shorter) if height > width else (shorter, longer)
            seen = self._windows(network, _corner_aligned(picture, size), longer > self.crop_size)
            total = total + _corner_aligned(seen[:, : size[0], : size[1]], (height, width))
        return np.asarray(total[0], np.float64)

    def _windows(self, network: Network, picture: Any, several: bool) -> Any:
        crop = self.crop_size
        if not several:
            return self._pass(network, _pad(picture, crop))
        if min(picture.shape[1:3]) < crop:
            picture = _pad(picture, crop)
        height, width = picture.shape[1:3]
        step = int(crop * (2 / 3))
        total: Any = None
        count = np.zeros((1, height, width, 1))
        for top in range(0, _reach(height, crop, step), step):
            for left in range(0, _reach(width, crop, step), step):
                window = picture[:, top : top + crop, left : left + crop]
                rows, columns = window.shape[1:3]
                seen = self._pass(network, _pad(window, crop))[:, :rows, :columns].numpy()
                if total is None:
                    total = np.zeros((1, height, width, seen.shape[-1]))
                total[:, top : top + rows, left : left + columns] += seen
                count[:, top : top + rows, left : left + columns] += 1
        return tf.constant(total / count)

    def _pass(self, network: Network, picture: Any) -> Any:
        logits = network(picture)
        if self.flip:
            logits += network(picture[:, :, ::-1])[:, :, ::-1]
        # In float64: the exponential of a sum of two logits leaves float32's range early.
        return tf.exp(tf.cast(logits, tf.float64))


@dataclass(frozen=True)
class MMSegmentation:
    """Evaluation of MMSegmentation: the picture scaled into a frame with its shape kept, whole or by windows.

    Attributes:
        frame: (longer, shorter) side that the picture is scaled to fit at scale 1: (2048, 512) for ADE20K,
            (2048, 1024) for Cityscapes, (2049, 1025) for its networks of 769x769.
        window: side of the square windows, pixels; None is the whole picture at once.
        stride: the windows' step, pixels.
        scales: factors of the frame.
        flip: whether every scale sees the mirror image as well.
        align_corners: how the network's logits are resized to the picture, as within the network.

    Raises: `ValueError` for one of `window` and `stride` without the other.
    """

    frame: tuple[int, int]
    window: int | None = None
    stride: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    align_corners: bool = False

    def __post_init__(self) -> None:
        if (self.window is None) != (self.stride is None):
            raise ValueError(f"Windows need both window and stride. Got window={self.window}, stride={self.stride}.")

    def scores(self, model: keras.Model, image: NDArray[Any]) -> NDArray[np.float64]:
        """Mean probabilities (H, W, C) of a picture (H, W, 3), RGB 0..255; the class map is their argmax."""
        network = freeze(model).unrefined
        height, width = image.shape[:2]
        total: Any = 0.0
        for scale in self.scales:
            picture = self._scaled(image, scale)
            for mirrored in (False, True) if self.flip else (False,):
                logits = self._logits(network, picture[:, :, ::-1] if mirrored else picture)
                resize = _corner_aligned if self.align_corners else _half_pixel
                probabilities = tf.nn.softmax(resize(logits, (height, width)))
                total = total + (probabilities[:, :, ::-1] if mirrored else probabilities)
        return np.asarray(total[0], np.float64) / (len(self.scales) * (1 + self.flip))

    def _scaled(self, image: NDArray[Any], scale: float) -> Any:
        height, width = image.shape[:2]
        longer, shorter = (int(side * scale) for side in self.frame)
        factor = min(longer / max(height, width), shorter / min(height, width))
        size = int(height * factor + 0.5), int(width * factor + 0.5)
        scaled = _half_pixel(tf.constant(image[np.newaxis].astype(np.float64)), size)
        # The published code scales pictures of bytes, so that the result is whole numbers. Halves, frequent at half
        # scale, go up whatever the last digits of the interpolation.
        return tf.cast(tf.floor(scaled + (0.5 + 1e-6)), tf.float32)

    def _logits(self, network: Network, picture: Any) -> Any:
        if self.window is None or self.stride is None:
            return tf.cast(network(picture), tf.float64)
        height, width = picture.shape[1:3]
        total: Any = None
        count = np.zeros((1, height, width, 1))
        for top in range(0, _reach(height, self.window, self.stride), self.stride):
            for left in range(0, _reach(width, self.window, self.stride), self.stride):
                # A window that would leave the picture is moved back into it.
                bottom, right = min(top + self.window, height), min(left + self.window, width)
                place = (
                    slice(None),
                    slice(max(bottom - self.window, 0), bottom),
                    slice(max(right - self.window, 0), right),
                )
                logits = network(picture[place]).numpy()
                if total is None:
                    total = np.zeros((1, height, width, logits.shape[-1]))
                total[place] += logits
                count[place] += 1
        return tf.constant(total / count)


Protocol = PyTorchEncoding | MMSegmentation


def predict_by_protocol(
    model: keras.Model, image: NDArray[Any], protocol: Protocol, refinement: Refinement | None = None
) -> NDArray[np.uint8]:
    """The class map (H, W) of a picture (H, W, 3), RGB 0..255, as the protocol predicts it.

    The published numbers are those of the network alone: only `refinement` refines (the logarithm of the scores).
    """
    scores = protocol.scores(model, image)
    if refinement is not None:
        logits = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
        scores = np.asarray(refinement(logits[np.newaxis], image[np.newaxis])[0])
    return scores.argmax(axis=-1).astype(np.uint8)


def _reach(length: int, window: int, step: int) -> int:
    """The end of `range` so that the windows that start in it cover `length`."""
    return math.ceil(max(length - window, 0) / step) * step + 1


def _pad(picture: Any, side: int) -> Any:
    """Black at the bottom and the right up to a square of `side`."""
    rows, columns = (max(side - length, 0) for length in picture.shape[1:3])
    return tf.pad(picture, [[0, 0], [0, rows], [0, columns], [0, 0]])


def _corner_aligned(x: Any, size: Sequence[int]) -> Any:
    return _resize(x, size, True)


def _half_pixel(x: Any, size: Sequence[int]) -> Any:
    return _resize(x, size, False)


def _resize(x: Any, size: Sequence[int], align_corners: bool) -> Any:
    from kzoo.layers import Resize

    return Resize((int(size[0]), int(size[1])), align_corners=align_corners, dtype=x.dtype.name)(x)
