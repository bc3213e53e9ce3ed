"""Datasets without some of their classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kzoo.data import Dataset, Labels, Sample, open_dataset, without_classes

COLORS = ((0, 0, 0), (255, 0, 0), (0, 255, 0))
STORED = ([[5, 5], [5, 9]], [[5, 6], [5, 5]], [[7, 7], [5, 5]], [[5, 5], [5, 5]], [[6, 7], [9, 9]])
"""Values 5, 6, 7 are the classes a, b, c; 9 is not annotated."""


@pytest.fixture(params=["values", "colors"])
def dataset(request, tmp_path: Path, save) -> Dataset:
    samples = []
    for index, mask in enumerate(STORED):
        stored = np.array(mask, np.uint8)
        if request.param == "colors":
            stored = np.array([*COLORS, (9, 9, 9), (9, 9, 9)], np.uint8)[stored - 5]
        image = save(tmp_path / f"p{index}.png", np.zeros((2, 2, 3), np.uint8))
        samples.append(Sample(f"p{index}", image, save(tmp_path / f"p{index}_mask.png", stored)))
    labels = Labels(("a", "b", "c"), COLORS)
    return Dataset("letters", "train", labels, tuple(samples), {5: 0, 6: 1, 7: 2, 9: 255}, (9, 9, 9))


def masks(dataset: Dataset) -> list:
    return [dataset.read(index)[1].tolist() for index in range(len(dataset))]


def test_drop(dataset: Dataset) -> None:
    kept = without_classes(dataset, [1])
    assert [sample.id for sample in kept.samples] == ["p0", "p2", "p3"]
    assert [sample.id for sample in without_classes(dataset, [2, 1]).samples] == ["p0", "p3"]
    assert kept.labels is dataset.labels
    assert without_classes(kept, [1], "error") == kept
    with pytest.raises(ValueError, match="Every picture of 'letters', split 'train', carries one of a, b"):
        without_classes(dataset, [0, 1])


def test_error_names_picture_and_class(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=r"p1\.png' carries b, which .* 1 more of the 5 pictures.*'drop'.*'ignore'"):
        without_classes(dataset, [1], "error")
    with pytest.raises(ValueError, match=r"p1\.png' carries b.* 2 more"):
        without_classes(dataset, [2, 1], "error")
    assert without_classes(replace(dataset, samples=dataset.samples[3:4]), [1, 2], "error").samples


def test_ignore(dataset: Dataset) -> None:
    """Masks of colours too, which no label map reaches; and one class after the other."""
    hidden = without_classes(dataset, [1], "ignore")
    want = [[[0, 0], [0, 255]], [[0, 255], [0, 0]], [[2, 2], [0, 0]], [[0, 0], [0, 0]], [[255, 2], [255, 255]]]
    assert masks(hidden) == want
    assert masks(without_classes(hidden, [2], "ignore"))[2:] == [
        [[255, 255], [0, 0]],
        [[0, 0], [0, 0]],
        [[255, 255], [255, 255]],
    ]
    assert len(without_classes(hidden, [1], "error")) == 5
    assert masks(dataset)[1] == [[0, 1], [0, 0]]


def test_wrong_arguments(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=r"Unknown policy 'dorp'\. Did you mean 'drop'"):
        without_classes(dataset, [1], "dorp")  # type: ignore[arg-type]
    for wrong in (3, -1, 255):
        with pytest.raises(ValueError, match=rf"labels of the dataset 'letters', 0\.\.2, received {wrong}"):
            without_classes(dataset, [0, wrong])


def test_a_missing_mask_is_not_taken_for_one_without_the_class(dataset: Dataset) -> None:
    dataset.samples[3].mask.unlink()
    with pytest.raises(FileNotFoundError, match="p3_mask"):
        without_classes(dataset, [1])


def test_real_animals(kzoo_data: Path) -> None:
    """No sheep is left in pictures whose masks are read anew; some were there."""
    whole = open_dataset("voc_animals", kzoo_data / "voc_animals", "train")
    some = replace(whole, samples=whole.samples[:60])
    sheep = some.labels.class_names.index("sheep")
    kept = without_classes(some, [sheep])
    with_sheep = {sample.id for index, sample in enumerate(some.samples) if sheep in some.read_mask(index)}
    assert with_sheep and {sample.id for sample in some.samples} - with_sheep == {sample.id for sample in kept.samples}
