"""The generic dataset: a folder of pictures and masks that `dataset.yaml` describes.

    classes: [background, leaf, fruit]      # in label order
    palette: [[0, 0, 0], [0, 160, 0], [220, 60, 0]]     # optional
    ignore_label: 255                       # the value of unannotated pixels in the mask files; optional
    ignore_color: [224, 224, 192]           # the same in masks of RGB colours; optional
    label_map: {0: background, 7: leaf, 9: ignore}      # value in the file -> class, optional
    mask_suffix: _mask                      # `a.jpg` belongs to `a_mask.png`; optional

A split is `<split>/images` with `<split>/masks`, `images/<split>` with `masks/<split>`, or a list of names
`<split>.txt` beside `images` and `masks`. Where `images` and `masks` hold the files themselves, the split "all" is all
of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kzoo.data.dataset import Dataset, Sample
from kzoo.data.labels import IGNORE_LABEL, Color, Labels, voc_palette
from kzoo.data.layout import match_files, read_ids
from kzoo.errors import near_matches, unknown_name
from kzoo.strict_yaml import from_mapping, read_yaml

DESCRIPTION = "dataset.yaml"
IGNORE = "ignore"
WHOLE = "all"


@dataclass(frozen=True)
class FolderConfig:
    """The keys of `dataset.yaml`, as the module's text describes them."""

    classes: tuple[str, ...]
    palette: tuple[Color, ...] | None = None
    ignore_label: int = IGNORE_LABEL
    ignore_color: Color | None = None
    label_map: dict[int, str] | None = None
    mask_suffix: str = ""

    def __post_init__(self) -> None:
        values = [self.ignore_label, *(self.label_map or {})]
        outside = [value for value in values if not 0 <= value <= 255]
        if outside:
            raise ValueError(f"the values in a mask file are 0..255, received {outside[0]}.")
        if self.label_map is None and self.ignore_label < len(self.classes):
            raise ValueError(
                f"ignore_label: {self.ignore_label} is also the label of the class "
                f"{self.classes[self.ignore_label]!r}. Give `label_map` to say which value is which class."
            )
        known = (*self.classes, IGNORE)
        for value, name in (self.label_map or {}).items():
            if name not in known:
                near = near_matches(name, known)
                hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Expected {', '.join(known)}."
                raise ValueError(f"label_map.{value}: {name!r} is no class. {hint}")

    def labels(self) -> Labels:
        """The label set; VOC's colours where no palette is given."""
        palette = voc_palette(len(self.classes)) if self.palette is None else self.palette
        return Labels(self.classes, palette)

    def values(self) -> dict[int, int]:
        """The label that each value in a mask file becomes."""
        if self.label_map is None:
            mapping = {label: label for label in range(len(self.classes))}
        else:
            order = {name: label for label, name in enumerate(self.classes)} | {IGNORE: IGNORE_LABEL}
            mapping = {value: order[name] for value, name in self.label_map.items()}
        # An entry of the map is the more explicit statement; without one, `ignore_label` keeps its meaning.
        return {self.ignore_label: IGNORE_LABEL} | mapping


def open_folder(root: Path, split: str) -> Dataset:
    """Opens one split of the dataset that `root / "dataset.yaml"` describes.

    Raises:
        FileNotFoundError: no `dataset.yaml`, or no folders of pictures and masks.
        ValueError: a key or value in it that is not understood, or an unknown split.
    """
    config = from_mapping(FolderConfig, read_yaml(root / DESCRIPTION, "description of the dataset"), DESCRIPTION)
    try:
        labels = config.labels()
    except ValueError as error:
        raise ValueError(f"{root / DESCRIPTION}: {error}") from error
    samples = _samples(root, split, config.mask_suffix)
    return Dataset(root.resolve().name, split, labels, samples, config.values(), config.ignore_color)


def _samples(root: Path, split: str, mask_suffix: str) -> tuple[Sample, ...]:
    images, masks = root / "images", root / "masks"
    outer = {path.parent.name for path in root.glob("*/images") if path.is_dir()}
    inner = {path.name for path in images.glob("*") if path.is_dir()}
    lists = {path.stem: path for path in root.glob("*.txt")} if images.is_dir() else {}
    if split in outer:
        return match_files(root / split / "images", root / split / "masks", mask_suffix=mask_suffix)
    if split in inner:
        return match_files(images / split, masks / split, mask_suffix=mask_suffix)
    if split in lists:
        return match_files(images, masks, ids=read_ids(lists[split]), mask_suffix=mask_suffix)
    if split == WHOLE and not outer and not inner:
        return match_files(images, masks, mask_suffix=mask_suffix)
    if outer or inner or lists:
        raise unknown_name("split", split, [*outer, *inner, *lists])
    raise ValueError(
        f"{str(root)!r} has no splits, so its only split is {WHOLE!r}; received {split!r}. Make splits with "
        f"lists of names `{split}.txt`, or with folders `{split}/images` and `{split}/masks`."
    )
