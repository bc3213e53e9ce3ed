"""Finding the pictures and masks of a dataset on disk, by its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kzoo.data.ade20k import ADE20K, open_ade20k
from kzoo.data.camvid import CAMVID, open_camvid
from kzoo.data.cityscapes import CITYSCAPES, open_cityscapes
from kzoo.data.coco import COCO_STUFF, open_coco_stuff, open_coco_voc
from kzoo.data.dataset import Dataset
from kzoo.data.folder import open_folder
from kzoo.data.labels import Labels
from kzoo.data.pascal_context import PASCAL_CONTEXT_LABELS, open_pascal_context
from kzoo.data.voc import VOC, VOC_ANIMALS, open_sbd, open_voc2012, open_voc2012_aug, open_voc_animals
from kzoo.errors import unknown_name

DATASET_LABELS: dict[str, Labels] = {
    "ade20k": ADE20K,
    "camvid": CAMVID,
    "cityscapes": CITYSCAPES,
    "cocostuff": COCO_STUFF,
    **PASCAL_CONTEXT_LABELS,
    "voc2012": VOC,
    "voc_animals": VOC_ANIMALS,
}
"""The built-in label sets by the dataset that each is named for; other datasets share one of them."""


def dataset_names() -> list[str]:
    """The names that `open_dataset` knows."""
    return sorted(_READERS)


def open_dataset(name: str, root: str | os.PathLike[str], split: str) -> Dataset:
    """Opens one split of a dataset; no picture is read yet.

    Args:
        name: a name of `dataset_names()`. docs/data.md tells each one's classes and where its files are looked for;
            "folder" is what `dataset.yaml` in the root describes (see `kzoo.data.folder`).
        root: the dataset's folder.
        split: e.g. "train" or "val".

    Raises:
        ValueError: unknown dataset or split, two pictures of one name, or masks that need a package which is not
            installed.
        FileNotFoundError: the folder, or a folder or list that its layout needs, is missing.
    """
    if name not in _READERS:
        raise unknown_name("dataset", name, _READERS)
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"The dataset's folder {str(folder)!r} does not exist.")
    return _READERS[name](folder, split)


_READERS: dict[str, Callable[[Path, str], Dataset]] = {
    "ade20k": open_ade20k,
    "camvid": open_camvid,
    "cityscapes": open_cityscapes,
    "coco_voc": open_coco_voc,
    "cocostuff": open_coco_stuff,
    "folder": open_folder,
    **{name: partial(open_pascal_context, name) for name in PASCAL_CONTEXT_LABELS},
    "sbd": open_sbd,
    "voc2012": open_voc2012,
    "voc2012_aug": open_voc2012_aug,
    "voc_animals": open_voc_animals,
}
