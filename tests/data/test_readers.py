from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kzoo.data import DATASET_LABELS, dataset_names, open_dataset

IMAGE = np.zeros((3, 4, 3), np.uint8)


def camvid_tree(root: Path, layout: str, save) -> None:
    for split, names in {"train": ["b", "a"], "val": ["c"], "test": ["d"]}.items():
        images, masks = (
            (root / split, root / f"{split}annot")
            if layout == "segnet"
            else (root / split / "images", root / split / "masks")
        )
        for name in names:
            save(images / f"{name}.png", IMAGE)
            save(masks / f"{name}.png", np.array([[0, 10, 11, 5]] * 3, np.uint8))


def voc_tree(root: Path, layout: str, save) -> None:
    own = layout == "voc"
    images, masks = (root / "JPEGImages", root / "SegmentationClass") if own else (root / "images", root / "masks")
    lists = root / "ImageSets" / "Segmentation" if own else root
    lists.mkdir(parents=True, exist_ok=True)
    for name in ("x", "y", "z"):
        save(images / f"{name}.jpg", IMAGE)
        save(masks / f"{name}.png", np.array([[0, 8, 15, 255], [10, 12, 13, 17], [1, 20, 7, 0]], np.uint8), "P")
    (lists / "train.txt").write_text("z\nx\n")
    (lists / "val.txt").write_text("y\n\n")


def test_names_and_unknown_names(tmp_path: Path) -> None:
    assert {"camvid", "voc_animals", "folder", *DATASET_LABELS} <= set(dataset_names())
    with pytest.raises(ValueError, match=r"'camvit'.*'camvid'"):
        open_dataset("camvit", tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_dataset("camvid", tmp_path / "nowhere", "train")


@pytest.mark.parametrize("layout", ["segnet", "nested"])
def test_camvid_layouts(tmp_path: Path, save, layout: str) -> None:
    camvid_tree(tmp_path, layout, save)
    dataset = open_dataset("camvid", tmp_path, "train")
    assert [sample.id for sample in dataset.samples] == ["a", "b"]
    assert [len(open_dataset("camvid", tmp_path, split)) for split in ("val", "test")] == [1, 1]
    image, mask = dataset.read(0)
    assert image.shape == (3, 4, 3)
    assert mask.dtype == np.uint8 and mask[0].tolist() == [0, 10, 255, 5]
    with pytest.raises(ValueError, match=r"'trian'.*'train'"):
        open_dataset("camvid", tmp_path, "trian")


def test_camvid_elsewhere_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(FileNotFoundError, match=r"annot.*found pictures"):
        open_dataset("camvid", tmp_path, "train")


@pytest.mark.parametrize("layout", ["voc", "short"])
def test_voc_layouts_and_label_maps(tmp_path: Path, save, layout: str) -> None:
    voc_tree(tmp_path, layout, save)
    dataset = open_dataset("voc_animals", tmp_path, "train")
    assert [sample.id for sample in dataset.samples] == ["z", "x"]
    _, mask = dataset.read(0)
    assert mask.tolist() == [[0, 1, 6, 255], [2, 3, 4, 5], [255, 255, 255, 0]]
    _, mask = open_dataset("voc2012", tmp_path, "val").read(0)
    assert mask.tolist() == [[0, 8, 15, 255], [10, 12, 13, 17], [1, 20, 7, 0]]
    with pytest.raises(ValueError, match=r"'vall'.*'val'"):
        open_dataset("voc2012", tmp_path, "vall")


def test_a_list_in_the_root_goes_before_vocs_own_and_its_first_column_counts(tmp_path: Path, save) -> None:
    voc_tree(tmp_path, "voc", save)
    (tmp_path / "train.txt").write_text("y 1 -1\nx\n")
    assert [sample.id for sample in open_dataset("voc2012", tmp_path, "train").samples] == ["y", "x"]
    assert [sample.id for sample in open_dataset("voc2012", tmp_path, "val").samples] == ["y"]


def test_hidden_files_and_other_suffixes_are_no_pictures(tmp_path: Path, save) -> None:
    camvid_tree(tmp_path, "nested", save)
    save(tmp_path / "val" / "images" / "._c.png", IMAGE)
    (tmp_path / "val" / "images" / "notes.md").write_text("words")
    assert [sample.id for sample in open_dataset("camvid", tmp_path, "val").samples] == ["c"]


def test_voc_without_folders_or_lists(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'images' or 'JPEGImages'"):
        open_dataset("voc2012", tmp_path, "train")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(FileNotFoundError, match=r"train\.txt"):
        open_dataset("voc2012", tmp_path, "train")


def test_labels_outside_the_map_name_the_file_and_the_values(tmp_path: Path, save) -> None:
    camvid_tree(tmp_path, "nested", save)
    save(tmp_path / "val" / "masks" / "c.png", np.array([[0, 12, 77, 5]] * 3, np.uint8))
    with pytest.raises(ValueError, match=r"c\.png.*labels 12, 77; expected 0\.\.11, 255"):
        open_dataset("camvid", tmp_path, "val").read(0)


def test_sizes_that_differ_name_both_files(tmp_path: Path, save) -> None:
    camvid_tree(tmp_path, "nested", save)
    save(tmp_path / "val" / "masks" / "c.png", np.zeros((3, 5), np.uint8))
    with pytest.raises(ValueError, match=r"images.*c\.png.*4x3.*masks.*c\.png.*5x3"):
        open_dataset("camvid", tmp_path, "val").read(0)


def test_two_pictures_of_one_name_are_refused(tmp_path: Path, save) -> None:
    camvid_tree(tmp_path, "nested", save)
    save(tmp_path / "val" / "images" / "c.jpg", IMAGE)
    with pytest.raises(ValueError, match=r"'c\.jpg' and 'c\.png'"):
        open_dataset("camvid", tmp_path, "val")


def test_real_data(kzoo_data: Path) -> None:
    sizes = {
        ("camvid", "train"): 367,
        ("camvid", "val"): 101,
        ("voc_animals", "train"): 2694,
        ("voc_animals", "val"): 437,
    }
    for (name, split), size in sizes.items():
        dataset = open_dataset(name, kzoo_data / name, split)
        assert len(dataset) == size
        image, mask = dataset.read(size // 2)
        assert image.shape[:2] == mask.shape
        assert set(np.unique(mask)) <= {*range(dataset.labels.num_classes), 255}
