"""Cityscapes: street scenes, 19 of 34 labels are evaluated (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from pathlib import Path

from kzoo.data.dataset import Dataset, Sample
from kzoo.data.labels import IGNORE_LABEL, Color, Labels
from kzoo.data.layout import split_folder

_NUM_IDS = 34
_CLASSES: tuple[tuple[int, str, Color], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
"""The evaluated classes in the order of their train ids: id in `_labelIds.png`, name, official colour."""

CITYSCAPES = Labels(tuple(name for _, name, _ in _CLASSES), tuple(color for _, _, color in _CLASSES))
"""Cityscapes' 19 train ids with the official colours."""

_TRAIN_IDS = {label: label for label in (*range(len(_CLASSES)), IGNORE_LABEL)}
_LABEL_IDS = dict.fromkeys(range(_NUM_IDS), IGNORE_LABEL) | {
    label_id: label for label, (label_id, _, _) in enumerate(_CLASSES)
}


def open_cityscapes(root: Path, split: str) -> Dataset:
    """`leftImg8bit/<split>/<city>/*_leftImg8bit.png` with `gtFine/<split>/<city>/*_gtFine_labelIds.png`.

    Where a split has no `_labelIds.png`, `_labelTrainIds.png` is taken.
    """
    images = _frames(split_folder(root / "leftImg8bit", split), "_leftImg8bit.png")
    masks = _frames(split_folder(root / "gtFine", split), "_gtFine_labelIds.png")
    label_map = _LABEL_IDS
    if not masks:
        masks, label_map = _frames(root / "gtFine" / split, "_gtFine_labelTrainIds.png"), _TRAIN_IDS
    samples = []
    for name in sorted(images.keys() | masks.keys()):
        expected = root / "leftImg8bit" / split / name.split("_")[0] / f"{name}_leftImg8bit.png"
        samples.append(Sample(name, images.get(name, expected), masks.get(name)))
    return Dataset("cityscapes", split, CITYSCAPES, tuple(samples), label_map)


def _frames(folder: Path, suffix: str) -> dict[str, Path]:
    """The files of all cities by frame, e.g. "aachen_000000_000019"."""
    return {path.name.removesuffix(suffix): path for path in folder.glob(f"*/*{suffix}")}
