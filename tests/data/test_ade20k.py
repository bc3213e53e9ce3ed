from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.data import ADE20K, open_dataset


def tree(root: Path, save, mask: np.ndarray) -> None:
    save(root / "images" / "validation" / "ADE_val_00000001.jpg", np.zeros((*mask.shape, 3), np.uint8))
    save(root / "annotations" / "validation" / "ADE_val_00000001.png", mask)


@pytest.mark.parametrize("inside", [".", "ADEChallengeData2016"])
def test_every_value(tmp_path: Path, save, run_check, inside: str) -> None:
    values = np.arange(151, dtype=np.uint8)
    tree(tmp_path / inside, save, values[None])
    _, mask = open_dataset("ade20k", tmp_path, "validation").read(0)
    assert mask.ravel().tolist() == [255, *range(150)]
    assert run_check("ade20k", tmp_path, "validation")[0] == 0
    tree(tmp_path / inside, save, values[None] + 1)
    status, out = run_check("ade20k", tmp_path, "validation")
    assert status == 1 and "ADE_val_00000001.png" in out and "label 151; expected 0..150" in out


def test_what_is_missing_is_named(tmp_path: Path, save) -> None:
    with pytest.raises(FileNotFoundError, match="images"):
        open_dataset("ade20k", tmp_path, "validation")
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match=r"a folder for each split in .*images"):
        open_dataset("ade20k", tmp_path, "validation")
    tree(tmp_path, save, np.ones((2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"'val'.*validation"):
        open_dataset("ade20k", tmp_path, "val")
    (tmp_path / "images" / "training").mkdir()
    with pytest.raises(FileNotFoundError, match=r"annotations.training"):
        open_dataset("ade20k", tmp_path, "training")


def test_class_names_are_the_first_synonyms_of_the_list(kzoo_data: Path) -> None:
    lines = (kzoo_data / "ade20k_sample" / "objectInfo150.txt").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    assert [int(row[0]) for row in rows] == list(range(1, 151))
    assert ADE20K.class_names == tuple(row[-1].split(",")[0].strip() for row in rows)
    assert len(set(ADE20K.palette)) == 150


def test_the_development_kits_sample(kzoo_data: Path, run_check) -> None:
    root = kzoo_data / "ade20k_sample"
    dataset = open_dataset("ade20k", root, "validation")
    assert [sample.id for sample in dataset.samples] == [f"ADE_val_0000000{number}" for number in (1, 2, 3)]
    for index in range(3):
        image, mask = dataset.read(index)
        with Image.open(root / "annotations" / f"ADE_val_0000000{index + 1}.png") as stored:
            raw = np.asarray(stored).astype(int)
        assert image.shape[:2] == raw.shape
        np.testing.assert_array_equal(mask, np.where(raw == 0, 255, raw - 1))
    # What a look at the first picture finds at these places.
    mask = dataset.read(0)[1]
    seen = {(50, 300): "sky", (230, 400): "building", (470, 300): "grass", (410, 150): "wall"}
    assert {place: ADE20K.class_names[mask[place]] for place in seen} == seen
    assert len(open_dataset("ade20k", root, "training")) == 0
    with pytest.raises(ValueError, match=r"'val'.*training, validation"):
        open_dataset("ade20k", root, "val")
    assert run_check("ade20k", root, "validation")[0] == 0
