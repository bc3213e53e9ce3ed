from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kzoo.data import open_dataset

MASK = np.array([[0, 1, 2, 255]] * 3, np.uint8)


def tree(root: Path, save, description: str, layout: str = "flat", mask: np.ndarray = MASK) -> None:
    places = {
        "flat": ("images", "masks"),
        "inner": ("images/train", "masks/train"),
        "outer": ("train/images", "train/masks"),
    }
    images, masks = places[layout]
    for name in ("a", "b"):
        save(root / images / f"{name}.jpg", np.zeros((3, 4, 3), np.uint8))
        save(root / masks / f"{name}.png", mask)
    (root / "dataset.yaml").write_text(description)


PLAIN = "classes: [soil, leaf, fruit]\n"


@pytest.mark.parametrize("layout", ["inner", "outer"])
def test_splits_by_folder(tmp_path: Path, save, layout: str) -> None:
    tree(tmp_path, save, PLAIN, layout)
    dataset = open_dataset("folder", tmp_path, "train")
    assert [sample.id for sample in dataset.samples] == ["a", "b"]
    assert dataset.labels.class_names == ("soil", "leaf", "fruit")
    assert dataset.labels.palette == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    np.testing.assert_array_equal(dataset.read(0)[1], MASK)
    with pytest.raises(ValueError, match=r"'trian'.*'train'"):
        open_dataset("folder", tmp_path, "trian")


def test_splits_by_list(tmp_path: Path, save) -> None:
    tree(tmp_path, save, PLAIN)
    (tmp_path / "val.txt").write_text("b\n")
    assert [sample.id for sample in open_dataset("folder", tmp_path, "val").samples] == ["b"]


def test_names_with_spaces_in_a_list(tmp_path: Path, save) -> None:
    for name in ("my photo 1", "b"):
        save(tmp_path / "images" / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
        save(tmp_path / "masks" / f"{name}.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "dataset.yaml").write_text("classes: [a, b]\n")
    (tmp_path / "val.txt").write_text("my photo 1.png\nb.png 1 0\n")
    assert [sample.id for sample in open_dataset("folder", tmp_path, "val").samples] == ["my photo 1", "b"]


def test_all_takes_every_picture_whatever_the_lists(tmp_path: Path, save) -> None:
    tree(tmp_path, save, PLAIN)
    (tmp_path / "readme.txt").write_text("some words\n")
    assert len(open_dataset("folder", tmp_path, "all")) == 2


def test_without_splits_there_is_only_all(tmp_path: Path, save) -> None:
    tree(tmp_path, save, PLAIN)
    assert len(open_dataset("folder", tmp_path, "all")) == 2
    with pytest.raises(ValueError, match=r"only split is 'all'; received 'train'.*train\.txt"):
        open_dataset("folder", tmp_path, "train")


def test_label_map_ignore_label_and_palette(tmp_path: Path, save) -> None:
    description = """
classes: [soil, leaf]
palette: [[1, 2, 3], [4, 5, 6]]
ignore_label: 0
label_map: {1: leaf, 2: soil, 255: ignore}
"""
    tree(tmp_path, save, description)
    dataset = open_dataset("folder", tmp_path, "all")
    assert dataset.labels.palette == ((1, 2, 3), (4, 5, 6)) and dataset.labels.ignore_label == 255
    assert dataset.read(0)[1][0].tolist() == [255, 1, 0, 255]


def test_an_entry_of_the_label_map_goes_before_the_ignore_label(tmp_path: Path, save) -> None:
    tree(
        tmp_path, save, "classes: [soil, leaf]\nignore_label: 2\nlabel_map: {0: soil, 1: ignore, 2: leaf, 255: leaf}\n"
    )
    assert open_dataset("folder", tmp_path, "all").read(0)[1][0].tolist() == [0, 255, 1, 1]


def test_rgb_masks_and_mask_suffix(tmp_path: Path, save) -> None:
    colors = np.array([[[1, 2, 3], [4, 5, 6], [9, 9, 9], [1, 2, 3]]] * 3, np.uint8)
    description = "classes: [soil, leaf]\npalette: [[1, 2, 3], [4, 5, 6]]\nignore_color: [9, 9, 9]\nmask_suffix: _gt\n"
    tree(tmp_path, save, description, mask=colors)
    for name in ("a", "b"):
        (tmp_path / "masks" / f"{name}.png").rename(tmp_path / "masks" / f"{name}_gt.png")
    assert open_dataset("folder", tmp_path, "all").read(1)[1][0].tolist() == [0, 1, 255, 0]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("clases: [a]\n", "clases: unknown key.*'classes'"),
        ("palette: null\n", "missing 'classes'"),
        ("classes: a\n", "classes: expected a list"),
        ("classes: [a, a]\n", "'a' occurs more than once"),
        ("classes: [a]\npalette: [[0, 0, 0], [1, 1, 1]]\n", r"one colour a class \(1\), received 2"),
        ("classes: [a]\npalette: [[0, 0]]\n", r"palette\[0\]"),
        ("classes: [a]\nignore_label: 300\n", "0..255, received 300"),
        ("classes: [a, b]\nignore_label: 0\n", "0 is also the label of the class 'a'.*label_map"),
        ("classes: [soil]\nlabel_map: {3: soli}\n", "label_map.3: 'soli' is no class.*'soil'"),
        ("classes: [a\n", "not valid YAML"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path: Path, save, description: str, message: str) -> None:
    tree(tmp_path, save, description)
    with pytest.raises(ValueError, match=message) as raised:
        open_dataset("folder", tmp_path, "all")
    assert "dataset.yaml" in str(raised.value)


def test_missing_description(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"dataset\.yaml"):
        open_dataset("folder", tmp_path, "all")


def test_missing_masks_folder(tmp_path: Path, save) -> None:
    save(tmp_path / "images" / "a.jpg", np.zeros((3, 4, 3), np.uint8))
    (tmp_path / "dataset.yaml").write_text(PLAIN)
    with pytest.raises(FileNotFoundError, match="masks"):
        open_dataset("folder", tmp_path, "all")
