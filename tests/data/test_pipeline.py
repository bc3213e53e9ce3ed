from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kzoo.data import AugmentConfig, Dataset, steps_per_epoch, training_pipeline
from kzoo.data import pipeline as pipeline_module
from kzoo.data.pipeline import epoch_order

CROP = (16, 12)


def batches(dataset: Dataset, epochs: int = 3, **changes: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    arguments: dict[str, Any] = {"crop": CROP, "batch_size": 2, "augment": AugmentConfig(), "seed": 4} | changes
    stream = training_pipeline(dataset, epochs=epochs, **arguments)
    return [(image.numpy(), mask.numpy()) for image, mask in stream]


def assert_same(first: list, second: list) -> None:
    assert len(first) == len(second) > 0
    for (image, mask), (other_image, other_mask) in zip(first, second, strict=True):
        np.testing.assert_array_equal(image, other_image)
        np.testing.assert_array_equal(mask, other_mask)


def shown(stream: list) -> list[int]:
    """Which pictures the batches hold: without augmentation, picture i's red is i."""
    return [round(float(picture[:, :, 0].max())) for image, _ in stream for picture in image]


def test_shapes_types_and_length(tiny: Dataset) -> None:
    stream = training_pipeline(tiny, crop=CROP, batch_size=2, augment=AugmentConfig(), seed=0, epochs=5, first_epoch=2)
    assert int(stream.cardinality()) == 3 * steps_per_epoch(tiny, 2) == 9
    image, mask = stream.element_spec
    assert image.shape == (2, *CROP, 3) and image.dtype == tf.float32
    assert mask.shape == (2, *CROP) and mask.dtype == tf.int32
    for image, mask in stream:
        assert 0 <= float(tf.reduce_min(image)) and float(tf.reduce_max(image)) <= 255
        assert set(np.unique(mask)) <= {0, 1, 2, 255}


@pytest.mark.parametrize("first_epoch", [1, 2])
def test_resuming_continues_the_identical_stream(tiny: Dataset, first_epoch: int) -> None:
    assert_same(batches(tiny)[first_epoch * 3 :], batches(tiny, first_epoch=first_epoch))


def test_threads_and_cache_do_not_change_the_stream(tiny: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    serial = batches(tiny)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert_same(serial, batches(tiny))
    assert_same(serial, batches(tiny, cache=False))


def test_seeds_and_epochs_differ(tiny: Dataset) -> None:
    stream = batches(tiny)
    assert not np.array_equal(stream[0][0], batches(tiny, seed=5)[0][0])
    assert not np.array_equal(stream[0][0], stream[3][0])


def test_an_epoch_shows_each_picture_once_in_changing_order(tiny: Dataset) -> None:
    small = (20, 18)  # fits into every picture
    stream = batches(tiny, epochs=6, crop=small, augment=AugmentConfig.none())
    epochs = [shown(stream[start : start + 3]) for start in range(0, 18, 3)]
    for epoch, pictures in enumerate(epochs):
        assert pictures == epoch_order(7, 4, epoch)[:6].tolist()
        assert len(set(pictures)) == 6
    assert len(set(map(tuple, epochs))) == 6
    assert {picture for pictures in epochs for picture in pictures} == set(range(7))


def test_the_same_picture_is_augmented_anew(tiny: Dataset) -> None:
    one = dataclasses.replace(tiny, samples=tiny.samples[:1] * 4)
    stream = batches(one, epochs=2)
    pictures = [picture for image, _ in stream for picture in image]
    assert len({picture.tobytes() for picture in pictures}) == 8


def test_order_and_augmentation_both_depend_on_the_seed(tiny: Dataset) -> None:
    assert epoch_order(100, 4, 0).tolist() != epoch_order(100, 5, 0).tolist()
    one = dataclasses.replace(tiny, samples=tiny.samples[:1] * 2)
    assert not np.array_equal(batches(one)[0][0], batches(one, seed=5)[0][0])


def test_cache_reads_each_file_once_up_to_its_budget(tiny: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = Dataset.read

    def counting(self: Dataset, index: int) -> tuple[np.ndarray, np.ndarray]:
        reads.append(index)
        return read(self, index)

    monkeypatch.setattr(Dataset, "read", counting)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    batches(tiny, epochs=4, batch_size=7)
    assert sorted(reads) == list(range(7))
    reads.clear()
    batches(tiny, epochs=4, batch_size=7, cache=False)
    assert len(reads) == 28
    reads.clear()
    monkeypatch.setattr(pipeline_module, "CACHE_BYTES", 2 * 20 * 24 * 4)  # about two of the seven
    batches(tiny, epochs=4, batch_size=7)
    assert len(reads) == 7 + 3 * 5


def test_replicas_share_each_batch(tiny: Dataset) -> None:
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(devices[:2])
    stream = training_pipeline(tiny, crop=CROP, batch_size=4, augment=AugmentConfig(), seed=0, epochs=2)
    distributed = strategy.experimental_distribute_dataset(stream)
    together = [
        tuple(np.concatenate([part.numpy() for part in strategy.experimental_local_results(value)]) for value in batch)
        for batch in distributed
    ]
    assert len(devices) >= 2
    assert_same(together, batches(tiny, epochs=2, batch_size=4, seed=0))


def test_a_bad_file_is_named(tiny: Dataset) -> None:
    bad = dataclasses.replace(tiny.samples[0], mask=None)
    with pytest.raises(tf.errors.UnknownError, match=r"p0\.png.*has no mask"):
        batches(dataclasses.replace(tiny, samples=(bad, bad)))
    wrong = dataclasses.replace(tiny, label_map={0: 0})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"_mask\.png.*labels 1, 2"):
        batches(wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 8}, "7 samples, fewer than one batch of 8"),
        ({"batch_size": 0}, "at least 1, received 0"),
        ({"crop": (4, 16)}, r"8x8 pixels, received \(4, 16\)"),
        ({"first_epoch": 4}, r"between 0 and `epochs` \(3\), received 4"),
        ({"seed": -1}, "seed.*-1"),
    ],
)
def test_arguments_out_of_range_are_refused(tiny: Dataset, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(tiny, **changes)
