"""The class map of one picture: whole or by windows, at one scale or several, with or without its mirror image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from kzoo.data.pictures import read_image, to_rgb
from kzoo.inference.freeze import freeze

Size = int | tuple[int, int]
Refinement = Callable[[Any, Any], Any]
"""(logits (B, H, W, C), pictures (B, H, W, 3)) -> logits; the layers of `kzoo.crf` are."""


def predict_mask(
    model: keras.Model,
    image: Any,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: Size | None = None,
    stride: Size | None = None,
    refinement: Refinement | Literal["own"] | None = "own",
) -> NDArray[np.uint8]:
    """The class map of a picture, at the picture's own size.

    Args:
        model, image, scales, flip, window, stride, refinement: as in `predict_logits`.

    Returns:
        (H, W) uint8, class indices.
    """
    logits = _predict(model, read_picture(image), scales, flip, window, stride, refinement)
    return tf.argmax(logits, axis=-1, output_type=tf.int32).numpy().astype(np.uint8)


def predict_logits(
    model: keras.Model,
    image: Any,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: Size | None = None,
    stride: Size | None = None,
    refinement: Refinement | Literal["own"] | None = "own",
) -> NDArray[np.float32]:
    """The logits of a picture, at the picture's own size. Runs the model's inference graph (`freeze`).

    With several scales or `flip`, the passes' probabilities (softmax) are averaged, and the result is the logarithm of
    the average: its softmax is the averaged probability.

    Args:
        model: takes pictures (1, H, W, 3), RGB 0..255, and returns logits (1, H, W, C) of any size.
        image: path, PIL picture (any mode), or array (H, W, 3), RGB 0..255, of any size.
        scales: the picture is resized by each of them (bilinear, half-pixel centres), its logits are resized back.
        flip: whether to add the mirrored picture at every scale.
        window: (height, width) in pixels, or one number for both: the network sees windows of that size, whose logits
            are averaged where they overlap. The last window in each direction ends with the picture. None: all at once.
        stride: step from window to window; two thirds of the window by default.
        refinement: what refines the result, once and at the picture's own size, however many passes there were: by
            default the network's `refinement`, if it has one; a layer of `kzoo.crf`; or None.

    Returns:
        (H, W, C) float32.

    Raises:
        FileNotFoundError, ValueError: the picture cannot be read or is no picture; a scale, window or stride that is
            not positive; a stride larger than the window, which would leave gaps; a refinement that is none.

    Reference:
        Multi-scale and flip evaluation as in Zhang et al., "Context Encoding for Semantic Segmentation", CVPR 2018,
        with probabilities where its published code adds exponentials of logits.
    """
    picture = read_picture(image)
    logits: NDArray[np.float32] = _predict(model, picture, scales, flip, window, stride, refinement).numpy()
    return logits


def read_picture(image: Any) -> NDArray[np.float32]:
    """A path, PIL picture or array as RGB, (H, W, 3) float32, 0..255.

    Raises:
        FileNotFoundError, ValueError: no such file, no picture, or an array of another shape or range.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(image).astype(np.float32)
    if isinstance(image, Image.Image):
        return to_rgb(image).astype(np.float32)
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape or array.dtype.kind not in "uif":
        raise ValueError(
            "A picture is a path, a PIL picture, or an array (H, W, 3) of RGB values 0..255; received an array of "
            f"shape {array.shape} and type {array.dtype}."
        )
    picture = array.astype(np.float32)
    if not (picture.min() >= 0 and picture.max() <= 255):  # so written that NaN is refused
        raise ValueError(f"A picture's values lie in 0..255, received values from {picture.min()} to {picture.max()}.")
    return picture


def _predict(
    model: keras.Model,
    picture: NDArray[np.float32],
    scales: Sequence[float],
    flip: bool,
    window: Size | None,
    stride: Size | None,
    refinement: Refinement | Literal["own"] | None,
) -> Any:
    if not len(scales) or not all(scale > 0 for scale in scales):
        raise ValueError(f"`scales` are one or more positive factors such as (0.75, 1.0, 1.25), received {scales!r}.")
    if refinement is not None and refinement != "own" and not callable(refinement):
        raise ValueError(
            'The `refinement` of a prediction is "own" (the network\'s, if it has one), None, or a layer such as '
            f"kzoo.crf.DenseCRF(). Received: {refinement!r}"
        )
    network = freeze(model).unrefined
    if window is None:
        if stride is not None:
            raise ValueError(f"`stride` is the step between windows: give `window` too. Received stride={stride!r}.")
        run: Callable[[Any], Any] = network
    else:
        sides, steps = _window_and_stride(window, stride)

        def run(images: Any) -> Any:
            return _by_windows(network, images, sides, steps)

    height, width = picture.shape[:2]
    images = tf.constant(picture[np.newaxis])
    passes = []
    for scale in scales:
        size = max(1, round(height * scale)), max(1, round(width * scale))
        scaled = images if size == (height, width) else tf.image.resize(images, size)
        for mirrored in (False, True) if flip else (False,):
            logits = run(scaled[:, :, ::-1] if mirrored else scaled)
            logits = logits[:, :, ::-1] if mirrored else logits
            if tuple(logits.shape[1:3]) != (height, width):
                logits = tf.image.resize(logits, (height, width))
            passes.append(tf.cast(logits[0], tf.float32))
    averaged = passes[0]
    if len(passes) > 1:
        # The logarithm of the sum of softmaxes, without leaving the logarithms: no probability underflows.
        log_probabilities = tf.stack([tf.nn.log_softmax(logits) for logits in passes])
        averaged = tf.reduce_logsumexp(log_probabilities, axis=0) - np.log(len(passes)).astype(np.float32)
    refine = getattr(model, "refinement", None) if refinement == "own" else refinement
    return averaged if refine is None else tf.cast(refine(averaged[tf.newaxis], images)[0], tf.float32)


def _by_windows(network: Any, images: Any, window: tuple[int, int], stride: tuple[int, int]) -> Any:
    """Logits of the size of `images` (1, H, W, 3), averaged over the windows that see each pixel."""
    height, width = images.shape[1:3]
    window = min(window[0], height), min(window[1], width)
    total, count = None, np.zeros((1, height, width, 1), np.float32)
    for top in _starts(height, window[0], stride[0]):
        for left in _starts(width, window[1], stride[1]):
            place = slice(None), slice(top, top + window[0]), slice(left, left + window[1])
            logits = network(images[place])
            if tuple(logits.shape[1:3]) != window:
                logits = tf.image.resize(logits, window)
            if total is None:
                total = np.zeros((1, height, width, logits.shape[-1]), np.float32)
            total[place] += logits.numpy()
            count[place] += 1
    return tf.constant(total / count)


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Where the windows begin: every `stride`, and the last one so that it ends with the picture."""
    return [*range(0, length - window, stride), length - window]


def _window_and_stride(window: Size, stride: Size | None) -> tuple[tuple[int, int], tuple[int, int]]:
    sides = (window, window) if isinstance(window, int) else (window[0], window[1])
    if stride is None:
        steps = max(1, sides[0] * 2 // 3), max(1, sides[1] * 2 // 3)
    else:
        steps = (stride, stride) if isinstance(stride, int) else (stride[0], stride[1])
    if not all(0 < step <= side for side, step in zip(sides, steps, strict=True)):
        raise ValueError(
            "`window` and `stride` are positive numbers of pixels (height, width), the stride at most the window; "
            f"received window={window!r}, stride={stride!r}."
        )
    return sides, steps
