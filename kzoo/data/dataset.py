"""A split of a dataset: its samples, its labels, and how its files are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kzoo.data.labels import MAX_CLASSES, Color, Labels
from kzoo.data.pictures import read_image, read_mask

_NO_LABEL = MAX_CLASSES  # neither a class nor the ignore label


@dataclass(frozen=True)
class Sample:
    """One picture and its mask; `mask` is None where no file was found for it."""

    id: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Dataset:
    """One split of a dataset.

    Attributes:
        name: the dataset's name.
        split: the split's name.
        labels: classes, palette and ignore label, as they are after `label_map`.
        samples: the pictures, in the order of their list or of their names.
        label_map: the label that each value stored in a mask file becomes; a value without entry is an error.
            Masks of RGB colours go through the palette instead.
        ignore_color: in masks of RGB colours, the colour of pixels without annotation.
        hidden: labels whose pixels are read as without annotation (see `kzoo.data.without_classes`).
    """

    name: str
    split: str
    labels: Labels
    samples: tuple[Sample, ...]
    label_map: Mapping[int, int]
    ignore_color: Color | None = None
    hidden: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Picture (H, W, 3) uint8 RGB and mask (H, W) uint8, after the label map, of sample `index`.

        Raises:
            FileNotFoundError: the picture or the mask is missing.
            ValueError: a file cannot be read, the sizes differ, or the mask holds a label that is not in the map;
                the message names the file.
        """
        image = read_image(self.samples[index].image)
        mask = self.read_mask(index)
        if mask.shape != image.shape[:2]:
            raise self.size_error(index, image.shape[:2], mask.shape)
        return image, mask

    def size_error(self, index: int, image_size: tuple[int, ...], mask_size: tuple[int, ...]) -> ValueError:
        """The error for picture and mask of different sizes (H, W)."""
        sample = self.samples[index]
        return ValueError(
            f"The picture {str(sample.image)!r} has {image_size[1]}x{image_size[0]} pixels, but its mask "
            f"{str(sample.mask)!r} has {mask_size[1]}x{mask_size[0]}; they must be of one size."
        )

    def read_mask(self, index: int) -> NDArray[np.uint8]:
        """The mask (H, W) uint8 of sample `index`, after the label map; raises like `read`."""
        sample = self.samples[index]
        if sample.mask is None:
            raise FileNotFoundError(f"The picture {str(sample.image)!r} has no mask.")
        values, from_colors = read_mask(sample.mask, self.labels.palette, self.ignore_color)
        if from_colors:
            labels = values.astype(np.uint8, copy=False)
            return np.where(np.isin(labels, self.hidden), np.uint8(self.labels.ignore_label), labels)
        mapped: NDArray[np.uint8] = np.take(self._table, values)
        unknown = mapped == _NO_LABEL
        if unknown.any():
            wrong = np.unique(values[unknown]).tolist()
            shown = ", ".join(map(str, wrong[:8])) + (", ..." if len(wrong) > 8 else "")
            raise ValueError(
                f"The mask {str(sample.mask)!r} holds the label{'s' if len(wrong) > 1 else ''} {shown}; "
                f"expected {_ranges(self.label_map)}."
            )
        return mapped

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        """`label_map` as an array over all 16-bit values; `_NO_LABEL` where it has no entry."""
        table = np.full(65536, _NO_LABEL, np.uint8)
        for value, label in self.label_map.items():
            table[value] = self.labels.ignore_label if label in self.hidden else label
        return table


def _ranges(values: Mapping[int, int]) -> str:
    """Sorted integers in short, e.g. "0..11, 255"."""
    parts: list[list[int]] = []
    for value in sorted(values):
        if parts and parts[-1][1] == value - 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in parts)
