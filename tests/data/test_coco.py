from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kzoo.data import COCO_STUFF, COCO_STUFF_VALUES, COCO_TO_VOC, open_dataset

# The second statements: the category ids that COCO leaves out of its 91 things, and PyTorch-Encoding's list of the
# category of each of VOC's labels.
LEFT_OUT = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
CATEGORY_OF_VOC_LABEL = [0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]
VALUES = [value for value in range(182) if value + 1 not in LEFT_OUT]


def tree(root: Path, save, values: list[int], layout: str) -> None:
    images, masks = {"zips": (".", "stuffthingmaps"), "readme": ("images", "annotations")}[layout]
    save(root / images / "val2017" / "000000000139.jpg", np.zeros((1, len(values), 3), np.uint8))
    save(root / masks / "val2017" / "000000000139.png", np.array([values], np.uint8))


@pytest.mark.parametrize("layout", ["zips", "readme"])
def test_every_value(tmp_path: Path, save, run_check, layout: str) -> None:
    tree(tmp_path, save, [*VALUES, 255], layout)
    _, mask = open_dataset("cocostuff", tmp_path, "val2017").read(0)
    assert mask.ravel().tolist() == [*range(171), 255]
    _, mask = open_dataset("coco_voc", tmp_path, "val2017").read(0)
    expected = [CATEGORY_OF_VOC_LABEL.index(v + 1) if v + 1 in CATEGORY_OF_VOC_LABEL else 0 for v in VALUES]
    assert mask.ravel().tolist() == [*expected, 0]
    assert sorted(set(expected)) == list(range(21))
    assert run_check("cocostuff", tmp_path, "val2017")[0] == run_check("coco_voc", tmp_path, "val2017")[0] == 0


@pytest.mark.parametrize("value", [category - 1 for category in LEFT_OUT] + [182])
def test_values_that_do_not_occur_are_errors(tmp_path: Path, save, value: int) -> None:
    tree(tmp_path, save, [0, value], "zips")
    for name in ("cocostuff", "coco_voc"):
        with pytest.raises(ValueError, match=rf"000000000139\.png.*label {value}; expected 0\.\.10, 12\.\.24"):
            open_dataset(name, tmp_path, "val2017").read(0)


def test_categories_of_voc() -> None:
    assert COCO_TO_VOC == {category: label for label, category in enumerate(CATEGORY_OF_VOC_LABEL) if label}


def test_what_is_missing_is_named(tmp_path: Path, save) -> None:
    with pytest.raises(FileNotFoundError, match="'stuffthingmaps' or 'annotations'"):
        open_dataset("cocostuff", tmp_path, "val2017")
    tree(tmp_path, save, [0], "zips")
    with pytest.raises(ValueError, match=r"'val'.*'val2017'"):
        open_dataset("cocostuff", tmp_path, "val")
    (tmp_path / "stuffthingmaps" / "train2017").mkdir()
    with pytest.raises(FileNotFoundError, match="train2017"):
        open_dataset("cocostuff", tmp_path, "train2017")


def test_names_and_values_are_those_of_the_182(kzoo_data: Path) -> None:
    lines = (kzoo_data / "embeddings" / "labels_cocostuff182.txt").read_text().splitlines()
    names = dict(line.split("\t") for line in lines)
    for name, value in zip(COCO_STUFF.class_names, COCO_STUFF_VALUES, strict=True):
        assert names[str(value + 1)] == name
    assert list(COCO_STUFF_VALUES) == VALUES
    assert len(set(COCO_STUFF.palette)) == 171
