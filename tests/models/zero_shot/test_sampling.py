"""Pixels drawn by class."""

import keras
import numpy as np

from kzoo.models.zero_shot.sampling import pixels_of, sample_by_class


def test_samples_are_different_pixels_of_their_class():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (2, 5, 7))
    labels[labels == 1] = 255
    labels[0, 0, :3] = 1
    features = np.arange(2 * 5 * 7, dtype="float32").reshape(2, 5, 7, 1)  # each pixel is known by its number
    taken, valid = sample_by_class(features, labels, (0, 1, 2), 40, keras.random.SeedGenerator(1))
    taken, valid = np.asarray(taken)[..., 0], np.asarray(valid)
    for row, wanted in enumerate((0, 1, 2)):
        there = np.flatnonzero(labels.ravel() == wanted)
        assert valid[row].sum() == min(len(there), 40)
        assert sorted(taken[row][valid[row]]) == sorted(there)  # fewer than 40 of each: all of them, once


def test_every_pixel_of_a_class_is_as_likely_as_another():
    labels, features = np.zeros((1, 1, 8), "int32"), np.arange(8, dtype="float32").reshape(1, 1, 8, 1)
    seed = keras.random.SeedGenerator(2)
    counts = np.zeros(8)
    for _ in range(200):
        counts[np.asarray(sample_by_class(features, labels, (0,), 2, seed)[0], int).ravel()] += 1
    assert counts.min() > 30  # 50 each
    assert counts.sum() == 400


def test_pixels_of_repeats_each_class():
    embeddings = np.arange(6, dtype="float32").reshape(3, 2)
    np.testing.assert_array_equal(pixels_of(embeddings, (2, 0), 2), [[[4, 5], [4, 5]], [[0, 1], [0, 1]]])
