"""Pixels of each class, drawn at random, in graphs of static shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def sample_by_class(
    features: Any, labels: Any, classes: Sequence[int], count: int, seed: keras.random.SeedGenerator
) -> tuple[Any, Any]:
    """Features of up to `count` pixels of each class, without repetition, each pixel as likely as another.

    Args:
        features: (B, h, w, D).
        labels: (B, h, w) integers.
        classes: the S labels that are looked for.
        count: pixels a class.
        seed: of the draw.

    Returns: the features (S, count, D), and (S, count) booleans: false where the batch has fewer pixels of the class;
        what stands there is another class's.
    """
    flat, given = ops.reshape(features, (-1, features.shape[-1])), ops.reshape(labels, (-1,))
    wanted = ops.cast(ops.convert_to_tensor(list(classes))[:, None], given.dtype)
    # A pixel of the class draws a number above 0, any other one below: the highest are the sample. Columns that no
    # pixel stands for, so that there are at least `count`, draw the lowest.
    drawn = keras.random.uniform(ops.shape(given), seed=seed, dtype="float32")
    ranks = ops.where(given[None] == wanted, drawn + 1.0, -drawn - 1.0)
    ranks = ops.pad(ranks, ((0, 0), (0, count)), constant_values=-3.0)
    best, places = ops.top_k(ranks, count)
    places = ops.minimum(places, ops.shape(given)[0] - 1)
    return ops.take(flat, places, axis=0), best > 0.0


def pixels_of(embeddings: Any, classes: Sequence[int], count: int) -> Any:
    """The embeddings of the classes, each `count` times: (S, count, E) of (C, E)."""
    rows = ops.take(embeddings, ops.convert_to_tensor(list(classes)), axis=0)
    return ops.repeat(rows[:, None], count, axis=1)
