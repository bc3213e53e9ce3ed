"""The pictures that an export is calibrated with and judged by."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kzoo.data import Dataset, read_image
from kzoo.data.pictures import PICTURE_SUFFIXES

CALIBRATION_PICTURES = 64
# For the mIoU: rare classes are on a few pictures, and over 16 the mIoU of animals moved by ten points.
VERIFICATION_PICTURES = {"fp32": 16, "fp16": 16, "dynamic": 400, "int8": 400}


@dataclass(frozen=True)
class Pictures:
    """Pictures drawn from a folder or from a split, with the masks of the latter.

    Attributes:
        source: what they were drawn from, for the record.
        seed: of the draw.
        files: the pictures.
        split: the dataset's split whose samples they are, or None.
        places: their places in it.
    """

    source: str
    seed: int
    files: tuple[Path, ...]
    split: Dataset | None = None
    places: tuple[int, ...] = ()

    def sized(self, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
        """The pictures (height, width, 3) as a device scales them."""
        return (scaled(read_image(file), size) for file in self.files)


def draw(source: Path | Dataset, count: int, seed: int) -> Pictures:
    """`count` pictures, or all if there are fewer, of a folder or of a split.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no pictures.
    """
    if isinstance(source, Dataset):
        everything: Sequence[Path] = [sample.image for sample in source.samples]
        name = f"{source.name} {source.split}"
    else:
        if not source.is_dir():
            raise FileNotFoundError(f"There is no folder of pictures {str(source)!r}.")
        everything = sorted(file for file in source.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)
        name = source.name
    if not everything:
        raise ValueError(f"{name!r} holds no pictures; taken are files ending in {', '.join(PICTURE_SUFFIXES)}.")
    places = sorted(random.Random(seed).sample(range(len(everything)), min(count, len(everything))))
    files = tuple(everything[place] for place in places)
    split = source if isinstance(source, Dataset) else None
    return Pictures(name, seed, files, split, tuple(places))


def scaled(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture brought to (height, width): bilinear, with antialiasing where it shrinks, as `deploy/` does it."""
    if picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))


def batches(pictures: Iterable[NDArray[Any]], batch: int, dtype: str) -> Iterator[NDArray[Any]]:
    """Pictures (H, W, 3) in groups of `batch`; the last is filled up with its first picture."""
    group: list[NDArray[Any]] = []
    for picture in pictures:
        group.append(picture.astype(dtype))
        if len(group) == batch:
            yield np.stack(group)
            group = []
    if group:
        yield np.stack([*group, *[group[0]] * (batch - len(group))])
