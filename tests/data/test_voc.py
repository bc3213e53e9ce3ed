from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from kzoo.data import VOC, open_dataset

IMAGE = np.zeros((2, 11, 3), np.uint8)
MASK = np.arange(22, dtype=np.uint8).reshape(2, 11)
MASK[MASK == 21] = 255


def tree(root: Path, save, masks: str, ids: tuple[str, ...], lists: str = "ImageSets/Segmentation") -> None:
    for name in ids:
        save(root / "JPEGImages" / f"{name}.jpg", IMAGE)
        save(root / masks / f"{name}.png", MASK, "P")
    (root / lists).mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("inside", [".", "VOC2012", "VOCdevkit/VOC2012"])
def test_the_archive_as_it_unpacks(tmp_path: Path, save, run_check, inside: str) -> None:
    root = tmp_path / inside
    tree(root, save, "SegmentationClass", ("2007_000032", "2007_000033"))
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000033\n2007_000032\n")
    dataset = open_dataset("voc2012", tmp_path, "val")
    assert [sample.id for sample in dataset.samples] == ["2007_000033", "2007_000032"]
    assert dataset.labels is VOC
    np.testing.assert_array_equal(dataset.read(0)[1], MASK)
    assert run_check("voc2012", tmp_path, "val")[0] == 0
    (root / "SegmentationClass" / "2007_000032.png").unlink()
    status, out = run_check("voc2012", tmp_path, "val")
    assert status == 1 and "missing mask" in out and "2007_000032" in out


def test_augmented_masks_and_lists_of_paths(tmp_path: Path, save) -> None:
    tree(tmp_path, save, "SegmentationClassAug", ("2007_000032", "2008_000002"))
    line = "/JPEGImages/{0}.jpg /SegmentationClassAug/{0}.png\n"
    lists = tmp_path / "ImageSets" / "Segmentation"
    (lists / "train_aug.txt").write_text(line.format("2008_000002") + line.format("2007_000032"))
    dataset = open_dataset("voc2012_aug", tmp_path, "train_aug")
    assert [sample.id for sample in dataset.samples] == ["2008_000002", "2007_000032"]
    np.testing.assert_array_equal(dataset.read(1)[1], MASK)
    with pytest.raises(FileNotFoundError, match="SegmentationClass'"):
        open_dataset("voc2012", tmp_path, "train_aug")
    with pytest.raises(ValueError, match=r"'trainaug'.*'train_aug'"):
        open_dataset("voc2012_aug", tmp_path, "trainaug")


def test_sbd_as_distributed(tmp_path: Path, save, run_check) -> None:
    root = tmp_path / "benchmark_RELEASE" / "dataset"
    save(root / "img" / "2008_000002.jpg", IMAGE)
    (root / "cls").mkdir()
    mask = np.minimum(MASK, 20)
    structure = {"Segmentation": mask, "Boundaries": np.zeros((20, 1), object), "CategoriesPresent": np.arange(3)}
    scipy.io.savemat(root / "cls" / "2008_000002.mat", {"GTcls": structure}, do_compression=True)
    (root / "train.txt").write_text("2008_000002\n")
    np.testing.assert_array_equal(open_dataset("sbd", tmp_path, "train").read(0)[1], mask)
    assert run_check("sbd", tmp_path, "train")[0] == 0


def test_official_lists(kzoo_data: Path, tmp_path: Path) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets"):
        (tmp_path / folder).mkdir()
    shutil.copytree(kzoo_data / "voc2012_lists", tmp_path / "ImageSets" / "Segmentation")

    def ids(name: str, split: str) -> set[str]:
        dataset = open_dataset(name, tmp_path, split)
        found = {sample.id for sample in dataset.samples}
        assert len(found) == len(dataset)
        return found

    train, val = ids("voc2012", "train"), ids("voc2012", "val")
    assert (len(train), len(val)) == (1464, 1449)
    assert train.isdisjoint(val) and ids("voc2012", "trainval") == train | val
    augmented = ids("voc2012_aug", "train_aug")
    assert len(augmented) == 10582 and train <= augmented and augmented.isdisjoint(val)


def test_class_names_are_those_of_other_lists(kzoo_data: Path) -> None:
    lines = (kzoo_data / "embeddings" / "labels_voc12.txt").read_text().splitlines()
    assert [line.split("\t")[1] for line in lines] == ["__background__", *VOC.class_names[1:]]
    names = (kzoo_data / "weights" / "pascal_voc_segmentation_labels.txt").read_text().splitlines()[:21]
    assert names == list(VOC.class_names)
