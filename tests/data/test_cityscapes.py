from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kzoo.data import CITYSCAPES, open_dataset

# The second statement: for each of the ids 0..33 its train id in the columns of cityscapesScripts' table, the names of
# the evaluation's result table, and the colours of its "train" rows as hexadecimal RGB.
TRAIN_IDS = [
    *(255, 255, 255, 255, 255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255),
    *(5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255, 16, 17, 18),
]
NAMES = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky person rider car truck "
    "bus train motorcycle bicycle"
)
COLORS = (
    "804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 00008e 000046 003c64 "
    "005064 0000e6 770b20"
)
FRAMES = ("aachen_000000_000019", "bad-honnef_000001_000002")


def tree(root: Path, save, kind: str, values: np.ndarray) -> None:
    for frame in FRAMES:
        city = frame.split("_")[0]
        save(root / "leftImg8bit" / "val" / city / f"{frame}_leftImg8bit.png", np.zeros((*values.shape, 3), np.uint8))
        masks = root / "gtFine" / "val" / city
        save(masks / f"{frame}_gtFine_{kind}.png", values)
        save(masks / f"{frame}_gtFine_color.png", np.zeros((*values.shape, 3), np.uint8))
        save(masks / f"{frame}_gtFine_instanceIds.png", values.astype(np.uint16) * 1000)
        (masks / f"{frame}_gtFine_polygons.json").write_text("{}")


def test_names_and_colours() -> None:
    assert [name.replace(" ", "_") for name in CITYSCAPES.class_names] == NAMES.split()
    assert [bytes(color).hex() for color in CITYSCAPES.palette] == COLORS.split()


def test_every_label_id(tmp_path: Path, save, run_check) -> None:
    tree(tmp_path, save, "labelIds", np.arange(34, dtype=np.uint8)[None])
    tree(tmp_path, save, "labelTrainIds", np.full((1, 34), 3, np.uint8))
    dataset = open_dataset("cityscapes", tmp_path, "val")
    assert [sample.id for sample in dataset.samples] == list(FRAMES)
    assert dataset.read(1)[1].ravel().tolist() == TRAIN_IDS
    assert run_check("cityscapes", tmp_path, "val")[0] == 0


def test_every_train_id(tmp_path: Path, save) -> None:
    values = [*range(19), 255]
    tree(tmp_path, save, "labelTrainIds", np.array([values], np.uint8))
    dataset = open_dataset("cityscapes", tmp_path, "val")
    assert dataset.read(0)[1].ravel().tolist() == values
    tree(tmp_path, save, "labelTrainIds", np.full((1, 20), 19, np.uint8))
    with pytest.raises(ValueError, match=r"bad-honnef.*labelTrainIds\.png.*label 19; expected 0\.\.18, 255"):
        dataset.read(1)


def test_missing_files_and_splits(tmp_path: Path, save, run_check) -> None:
    with pytest.raises(FileNotFoundError, match="leftImg8bit"):
        open_dataset("cityscapes", tmp_path, "val")
    tree(tmp_path, save, "labelIds", np.full((2, 3), 34, np.uint8))
    with pytest.raises(ValueError, match=r"'vall'.*'val'"):
        open_dataset("cityscapes", tmp_path, "vall")
    first, second = FRAMES
    (tmp_path / "gtFine" / "val" / "aachen" / f"{first}_gtFine_labelIds.png").unlink()
    (tmp_path / "leftImg8bit" / "val" / "bad-honnef" / f"{second}_leftImg8bit.png").unlink()
    status, out = run_check("cityscapes", tmp_path, "val")
    assert status == 1
    assert f"bad-honnef/{second}_leftImg8bit.png" in out and "missing image" in out
    assert f"{first}_leftImg8bit.png' has no mask" in out
    assert f"{second}_gtFine_labelIds.png' holds the label 34; expected 0..33" in out
    (tmp_path / "leftImg8bit" / "test").mkdir()
    with pytest.raises(ValueError, match="gtFine"):
        open_dataset("cityscapes", tmp_path, "test")
