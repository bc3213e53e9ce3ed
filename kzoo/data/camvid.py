"""CamVid: street scenes, 11 classes and void, in SegNet's split."""

from __future__ import annotations

from pathlib import Path

from kzoo.data.dataset import Dataset
from kzoo.data.labels import IGNORE_LABEL, Labels
from kzoo.data.layout import match_files
from kzoo.errors import unknown_name

_VOID = 11

CAMVID = Labels(
    class_names=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
"""CamVid's 11 classes in SegNet's order."""


def open_camvid(root: Path, split: str) -> Dataset:
    """Opens `<split>/images` with `<split>/masks`, or SegNet's `<split>` with `<split>annot`.

    Raises:
        FileNotFoundError: none of these folders are there.
        ValueError: unknown split.
    """
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
    label_map |= {_VOID: IGNORE_LABEL, IGNORE_LABEL: IGNORE_LABEL}
    return Dataset("camvid", split, CAMVID, samples, label_map)
