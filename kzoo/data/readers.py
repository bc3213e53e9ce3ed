"""Finding the pictures and masks of a dataset on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from kzoo.data.dataset import Dataset, Sample
from kzoo.data.folder import open_folder
from kzoo.data.labels import CAMVID, IGNORE_LABEL, VOC, VOC_ANIMALS
from kzoo.data.layout import match_files, read_ids
from kzoo.errors import unknown_name

_CAMVID_VOID = 11
_IMAGE_FOLDERS = ("images", "JPEGImages")
_MASK_FOLDERS = ("masks", "SegmentationClass")
_LIST_FOLDERS = (".", "ImageSets/Segmentation")


def dataset_names() -> list[str]:
    """The names that `open_dataset` knows."""
    return sorted(_READERS)


def open_dataset(name: str, root: str | os.PathLike[str], split: str) -> Dataset:
    """Opens one split of a dataset; no picture is read yet.

    Args:
        name: "camvid" (11 classes; SegNet's folders `train`, `trainannot`, ..., or `<split>/images` and
            `<split>/masks`), "voc" (21 classes) and "voc_animals" (background, cat, cow, dog, horse, sheep, person;
            VOC's other labels become 255), both with `images` or `JPEGImages`, `masks` or `SegmentationClass`, and
            the list `<split>.txt` in the root or in `ImageSets/Segmentation`; or "folder", which `dataset.yaml` in
            the root describes (see `kzoo.data.folder`).
        root: the dataset's folder.
        split: e.g. "train" or "val".

    Raises:
        ValueError: unknown dataset or split, or two pictures of one name.
        FileNotFoundError: the folder, or a folder or file that its layout needs, is missing.
    """
    if name not in _READERS:
        raise unknown_name("dataset", name, _READERS)
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"The dataset's folder {str(folder)!r} does not exist.")
    return _READERS[name](folder, split)


def _camvid(root: Path, split: str) -> Dataset:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    nested = [name for name in names if (root / name / "images").is_dir()]
    segnet = [name for name in names if f"{name}annot" in names]
    if split in nested:
        samples = match_files(root / split / "images", root / split / "masks")
    elif split in segnet:
        samples = match_files(root / split, root / f"{split}annot")
    elif nested or segnet:
        raise unknown_name("split", split, nested + segnet)
    else:
        raise FileNotFoundError(
            f"No CamVid in {str(root)!r}: expected `<split>/images` and `<split>/masks`, or SegNet's `<split>` and "
            f"`<split>annot`; found {', '.join(names) or 'no folders'}."
        )
    label_map = {label: label for label in range(CAMVID.num_classes)}
    label_map |= {_CAMVID_VOID: IGNORE_LABEL, IGNORE_LABEL: IGNORE_LABEL}
    return Dataset("camvid", split, CAMVID, samples, label_map)


def _voc(root: Path, split: str) -> Dataset:
    label_map = {label: label for label in (*range(VOC.num_classes), IGNORE_LABEL)}
    return Dataset("voc", split, VOC, _voc_samples(root, split), label_map)


def _voc_animals(root: Path, split: str) -> Dataset:
    label_map = dict.fromkeys((*range(VOC.num_classes), IGNORE_LABEL), IGNORE_LABEL)
    for label, name in enumerate(VOC_ANIMALS.class_names):
        label_map[VOC.class_names.index(name)] = label
    return Dataset("voc_animals", split, VOC_ANIMALS, _voc_samples(root, split), label_map)


def _voc_samples(root: Path, split: str) -> tuple[Sample, ...]:
    images = _first_folder(root, _IMAGE_FOLDERS)
    masks = _first_folder(root, _MASK_FOLDERS)
    lists = {path.stem: path for folder in reversed(_LIST_FOLDERS) for path in sorted((root / folder).glob("*.txt"))}
    if not lists:
        raise FileNotFoundError(
            f"No list of ids in {str(root)!r}: expected `{split}.txt` or `ImageSets/Segmentation/{split}.txt`."
        )
    if split not in lists:
        raise unknown_name("split", split, lists)
    return match_files(images, masks, ids=read_ids(lists[split]))


def _first_folder(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"Expected the folder {' or '.join(map(repr, names))} in {str(root)!r}.")


_READERS: dict[str, Callable[[Path, str], Dataset]] = {
    "camvid": _camvid,
    "folder": open_folder,
    "voc": _voc,
    "voc_animals": _voc_animals,
}
