"""The stream of training batches, a pure function of (seed, epoch, place in the epoch)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.data.at_exit import rests_at_exit
from kzoo.data.augment import AugmentConfig, draw
from kzoo.data.dataset import Dataset
from kzoo.data.warp import apply_draw

CACHE_BYTES = 4 * 2**30
"""Decoded pictures and masks are kept in memory up to this size; those beyond it are decoded each time."""

_ORDER_STREAM = 0  # the two uses of the seed must not share random numbers
_SAMPLE_STREAM = 1

_error: Exception | None = None  # what a stream's reading raised last; TensorFlow passes on a report of it alone


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """While the block runs, what `Dataset.read` raises in a stream is raised itself, not as a `tf.errors.OpError`."""
    global _error
    _error = None
    try:
        yield
    except tf.errors.OpError as error:
        if _error is None:
            raise
        raise _error from error


class _Reader:
    """Reads samples, keeping the decoded ones while they fit `budget` bytes."""

    def __init__(self, dataset: Dataset, budget: int) -> None:
        self._dataset = dataset
        self._left = budget
        self._kept: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._lock = threading.Lock()

    def __call__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        pair = self._dataset.read(index)
        size = pair[0].nbytes + pair[1].nbytes
        with self._lock:
            if size <= self._left and index not in self._kept:
                self._left -= size
                self._kept[index] = pair
        return pair


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Full batches in one epoch; the rest of the permutation is dropped.

    Raises:
        ValueError: the batch is not positive or larger than the dataset.
    """
    if batch_size < 1:
        raise ValueError(f"The batch size must be at least 1, received {batch_size}.")
    if len(dataset) < batch_size:
        raise ValueError(
            f"The dataset {dataset.name!r}, split {dataset.split!r}, has {len(dataset)} samples, fewer than one batch "
            f"of {batch_size}. Choose a smaller batch, or check the data with `kzoo data check`."
        )
    return len(dataset) // batch_size


@lru_cache(maxsize=4)
def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The permutation of 0..count-1 in which `epoch` (from 0) shows the samples."""
    order = np.random.default_rng((seed, _ORDER_STREAM, epoch)).permutation(count)
    order.setflags(write=False)
    return order


def training_pipeline(
    dataset: Dataset,
    *,
    crop: tuple[int, int],
    batch_size: int,
    augment: AugmentConfig,
    seed: int,
    epochs: int,
    first_epoch: int = 0,
    cache: bool = True,
) -> tf.data.Dataset:
    """Shuffled, augmented batches of the epochs `first_epoch`..`epochs` - 1, one after the other.

    Order and augmentation depend on (seed, epoch, place in the epoch) only: the stream that starts at epoch k equals
    the epochs k, k + 1, ... of a stream that starts at 0, however many threads work.

    Args:
        dataset: the training split.
        crop: (H, W) of the pictures delivered.
        batch_size: the global batch; an epoch's last incomplete batch is dropped.
        augment: what is drawn at random.
        seed: a non-negative integer.
        epochs: the number at which training ends, counted from 0.
        first_epoch: the epoch to start from.
        cache: keep decoded files in memory, up to `CACHE_BYTES`.

    Returns:
        Batches of picture (B, h, w, 3) float32 in 0..255 and mask (B, h, w) int32; its cardinality is
        (epochs - first_epoch) * steps_per_epoch(dataset, batch_size).

    Raises:
        ValueError: a crop, batch, seed or epoch out of range. While iterating, what `Dataset.read` raises comes with
            its message as `tf.errors.InvalidArgumentError` (ValueError) or `tf.errors.UnknownError`
            (FileNotFoundError); within `reading_errors()`, as itself.
    """
    steps = steps_per_epoch(dataset, batch_size)
    if len(crop) != 2 or min(crop) < 8:
        raise ValueError(f"The crop (height, width) must be at least 8x8 pixels, received {crop!r}.")
    if not 0 <= first_epoch <= epochs:
        raise ValueError(f"`first_epoch` must be between 0 and `epochs` ({epochs}), received {first_epoch}.")
    if seed < 0:
        raise ValueError(f"The seed must not be negative, received {seed}.")
    shown = steps * batch_size
    reader = _Reader(dataset, CACHE_BYTES if cache else 0)

    def load(counter: np.int64) -> tuple[NDArray[np.generic], ...]:
        epoch, place = divmod(int(counter), shown)
        try:
            image, mask = reader(int(epoch_order(len(dataset), seed, epoch)[place]))
        except Exception as error:
            global _error
            _error = error
            raise
        rng = np.random.default_rng((seed, _SAMPLE_STREAM, epoch, place))
        return image, mask, *draw(augment, mask.shape, crop, rng)

    def nothing() -> tuple[NDArray[np.generic], ...]:
        mask = np.zeros((8, 8), np.uint8)
        return np.zeros((8, 8, 3), np.uint8), mask, *draw(augment, mask.shape, crop, np.random.default_rng(0))

    call = rests_at_exit(load, nothing)

    def sample(counter: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        types = (tf.uint8, tf.uint8, tf.float32, tf.float32, tf.float32)
        image, mask, warp, color, blur = tf.numpy_function(call, (counter,), types, stateful=False)
        image.set_shape((None, None, 3))
        mask.set_shape((None, None))
        warp.set_shape((8,))
        color.set_shape((4, 3))
        blur.set_shape((7,))
        return apply_draw(image, mask, warp, color, blur, crop)

    stream = tf.data.Dataset.range(first_epoch * shown, epochs * shown)
    workers = min(os.cpu_count() or 1, 16)
    stream = stream.map(sample, num_parallel_calls=workers, deterministic=True)
    stream = stream.batch(batch_size, drop_remainder=True).prefetch(2)
    options = tf.data.Options()
    # Every replica takes its share of each batch; splitting the range by files or elements would change the stream.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return stream.with_options(options)
