from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from kzoo.data import (
    PASCAL_CONTEXT,
    PASCAL_CONTEXT_33,
    PASCAL_CONTEXT_60_VOC_FIRST,
    PASCAL_CONTEXT_VOC_FIRST,
    VOC,
    open_dataset,
)
from kzoo.data.mat import read_mat

# The second statement of both tables: ZS3Net's list of names (the order of 59_labels.txt), and in the same order the
# raw ids that PASCAL in Detail's API evaluates.
NAMES = """
aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person pottedplant sheep sofa train
tvmonitor bag bed bench book building cabinet ceiling cloth computer cup door fence floor flower food grass ground
keyboard light mountain mouse curtain platform sign plate road rock shelves sidewalk sky snow bedclothes track tree
truck wall water window wood
""".split()
IDS = [
    *(2, 23, 25, 31, 34, 45, 59, 65, 72, 98, 397, 113, 207, 258, 284, 308, 347, 368, 416, 427, 9, 18, 22, 33, 44, 46),
    *(68, 80, 85, 104, 115, 144, 158, 159, 162, 187, 189, 220, 232, 259, 260, 105, 296, 355, 295, 324, 326, 349, 354),
    *(360, 366, 19, 415, 420, 424, 440, 445, 454, 458),
]
# CaGNet's list, with kzoo's name for `diningtable`.
NAMES_33 = """
aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person pottedplant sheep sofa train
tvmonitor sky grass ground road building tree water mountain wall floor track keyboard ceiling
""".split()
SORTED = sorted(IDS)
RAW = np.arange(460, dtype=np.uint16).reshape(20, 23)
CONVERTED = np.arange(60, dtype=np.uint8).reshape(6, 10)


def expected(name: str, raw_id: int) -> int:
    """The label of a raw id, from the second statement."""
    if name == "pcontext":
        return SORTED.index(raw_id) if raw_id in SORTED else 255
    if name == "pcontext_voc_first":
        return IDS.index(raw_id) if raw_id in IDS else 255
    if name == "pcontext33":
        names = [NAMES[IDS.index(raw_id)]] if raw_id in IDS else []
        return NAMES_33.index(names[0]) + 1 if names and names[0] in NAMES_33 else 0
    return IDS.index(raw_id) + 1 if raw_id in IDS else 0


def tree(root: Path, save, mask: str, values: np.ndarray, lists: str = "ImageSets/SegmentationContext") -> Path:
    save(root / "JPEGImages" / "2008_000002.jpg", np.zeros((*values.shape, 3), np.uint8))
    path = root / mask
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mat":
        scipy.io.savemat(path, {"LabelMap": values})
    else:
        save(path, values)
    (root / lists).mkdir(parents=True, exist_ok=True)
    (root / lists / "val.txt").write_text("2008_000002\n")
    return path


def test_names_and_orders() -> None:
    assert PASCAL_CONTEXT_VOC_FIRST.class_names == tuple(NAMES)
    assert PASCAL_CONTEXT_60_VOC_FIRST.class_names == ("background", *NAMES)
    # The raw ids are alphabetical, so that the order of the ids is that of the names.
    assert PASCAL_CONTEXT.class_names == tuple(sorted(NAMES)) == tuple(NAMES[IDS.index(i)] for i in SORTED)
    for name, color in zip(PASCAL_CONTEXT.class_names, PASCAL_CONTEXT.palette, strict=True):
        assert PASCAL_CONTEXT_VOC_FIRST.palette[NAMES.index(name)] == color
    assert PASCAL_CONTEXT_60_VOC_FIRST.palette[:21] == VOC.palette
    assert PASCAL_CONTEXT_33.class_names == ("background", *NAMES_33)
    for name, color in zip(PASCAL_CONTEXT_33.class_names, PASCAL_CONTEXT_33.palette, strict=True):
        assert PASCAL_CONTEXT_60_VOC_FIRST.palette[PASCAL_CONTEXT_60_VOC_FIRST.class_names.index(name)] == color
    assert PASCAL_CONTEXT_60_VOC_FIRST.palette[1:] == PASCAL_CONTEXT_VOC_FIRST.palette
    assert len(set(PASCAL_CONTEXT_60_VOC_FIRST.palette)) == 60


@pytest.mark.parametrize("name", ["pcontext", "pcontext_voc_first", "pcontext60_voc_first", "pcontext33"])
@pytest.mark.parametrize("suffix", ["mat", "png"])
def test_every_raw_id(tmp_path: Path, save, run_check, name: str, suffix: str) -> None:
    tree(tmp_path / "VOCdevkit" / "VOC2010", save, f"trainval/2008_000002.{suffix}", RAW)
    _, mask = open_dataset(name, tmp_path, "val").read(0)
    assert mask.dtype == np.uint8
    assert mask.ravel().tolist() == [expected(name, raw_id) for raw_id in range(460)]
    assert run_check(name, tmp_path, "val")[0] == 0


@pytest.mark.parametrize("name", ["pcontext", "pcontext_voc_first", "pcontext60_voc_first", "pcontext33"])
def test_every_converted_value(tmp_path: Path, save, run_check, name: str) -> None:
    tree(tmp_path, save, "SegmentationClassContext/2008_000002.png", CONVERTED)
    dataset = open_dataset(name, tmp_path, "val")
    assert dataset.read(0)[1].ravel().tolist() == [expected(name, raw_id) for raw_id in (0, *SORTED)]
    assert run_check(name, tmp_path, "val")[0] == 0


def test_masks_of_the_alphabetical_order_read_in_the_other() -> None:
    """mmsegmentation issue 1940: values 55 and 58 of 2008_000002's converted mask are tvmonitor and window."""
    assert [PASCAL_CONTEXT.class_names[value - 1] for value in (55, 58)] == ["tvmonitor", "window"]


def test_values_outside_name_the_file(tmp_path: Path, save, run_check) -> None:
    tree(tmp_path, save, "trainval/2008_000002.png", np.full((4, 5), 460, np.uint16))
    status, out = run_check("pcontext", tmp_path, "val")
    assert status == 1 and "2008_000002.png" in out and "label 460; expected 0..459" in out
    tree(tmp_path, save, "SegmentationClassContext/2008_000002.png", np.full((4, 5), 60, np.uint8))
    with pytest.raises(ValueError, match=r"2008_000002\.png.*label 60; expected 0\.\.59\."):
        open_dataset("pcontext", tmp_path, "val").read(0)


def test_what_is_missing_is_named(tmp_path: Path, save) -> None:
    with pytest.raises(FileNotFoundError, match="'JPEGImages'"):
        open_dataset("pcontext", tmp_path, "val")
    save(tmp_path / "JPEGImages" / "a.jpg", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(FileNotFoundError, match="'SegmentationClassContext' or 'trainval'"):
        open_dataset("pcontext", tmp_path, "val")
    (tmp_path / "trainval_merged.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="kzoo data convert-pcontext --data"):
        open_dataset("pcontext", tmp_path, "val")
    (tmp_path / "trainval").mkdir()
    with pytest.raises(FileNotFoundError, match=r"ImageSets/SegmentationContext/val\.txt"):
        open_dataset("pcontext", tmp_path, "val")


def test_the_lists_of_voc_2010_are_the_last_resort(tmp_path: Path, save) -> None:
    tree(tmp_path, save, "trainval/2008_000002.png", RAW, lists="ImageSets/Main")
    assert len(open_dataset("pcontext", tmp_path, "val")) == 1
    (tmp_path / "val.txt").write_text("a\nb\n")
    assert len(open_dataset("pcontext", tmp_path, "val")) == 2


def test_matlab_files_without_scipy_or_without_a_label_map(tmp_path: Path, save, monkeypatch) -> None:
    path = tree(tmp_path, save, "trainval/2008_000002.mat", RAW)
    dataset = open_dataset("pcontext", tmp_path, "val")
    scipy.io.savemat(path, {"Labels": RAW})
    with pytest.raises(ValueError, match=r"2008_000002\.mat.*holds Labels; expected `LabelMap`"):
        dataset.read(0)
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(ValueError, match=r"Cannot read the mask .*2008_000002\.mat"):
        dataset.read(0)
    with pytest.raises(FileNotFoundError, match=r"other\.mat"):
        read_mat(tmp_path / "other.mat")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install kzoo\[mat\]"):
        open_dataset("pcontext", tmp_path, "val")


def test_official_lists(kzoo_data: Path, tmp_path: Path) -> None:
    for folder in ("JPEGImages", "SegmentationClassContext", "ImageSets"):
        (tmp_path / folder).mkdir()
    shutil.copytree(kzoo_data / "pcontext_lists", tmp_path / "ImageSets" / "SegmentationContext")
    train, val = ({s.id for s in open_dataset("pcontext", tmp_path, split).samples} for split in ("train", "val"))
    assert (len(train), len(val)) == (4998, 5105) and train.isdisjoint(val)


def test_the_voc_first_order_is_that_of_the_word_vectors(kzoo_data: Path) -> None:
    """Each class's row in ZS3Net's list is nearest to the word2vec vector that SPNet gives the same word."""

    def rows(name: str) -> np.ndarray:
        vectors = np.load(kzoo_data / "embeddings" / name)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    lines = (kzoo_data / "embeddings" / "labels_cocostuff182.txt").read_text().splitlines()[1:]
    words = [line.split("\t")[1] for line in lines]
    likeness = rows("zs3__context__pascalcontext_class_w2c.npy") @ rows("spnet__cocostuff__word2vec.npy").T
    shared = [name for name in PASCAL_CONTEXT_60_VOC_FIRST.class_names if name in words]
    assert len(shared) == 39
    for name in shared:
        row = int(likeness[:, words.index(name)].argmax())
        assert PASCAL_CONTEXT_60_VOC_FIRST.class_names[row] == name
