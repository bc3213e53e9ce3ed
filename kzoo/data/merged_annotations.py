"""PASCAL Context's masks out of PASCAL in Detail's annotation file, `trainval_merged.json`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kzoo.data.pascal_context import CONVERTED_MASKS, RAW_IDS, SPLIT_LISTS
from kzoo.data.rle import decode_rle
from kzoo.files import atomic_write

_VALUES = {raw_id: rank + 1 for rank, raw_id in enumerate(RAW_IDS.values())}


def convert_merged_annotations(
    annotations: Path, root: Path, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Writes `SegmentationClassContext/*.png` of 0..59 (0 background, then the classes in alphabetical order).

    The lists `ImageSets/SegmentationContext/{train,val}.txt` are written too, where there are none.

    Args:
        annotations: the JSON file.
        root: `VOC2010`, the folder to write into.
        progress: called with the number of masks written and of all.

    Returns:
        How many pictures each split has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no such annotation file, or an annotation in it is damaged.
    """
    if not annotations.is_file():
        raise FileNotFoundError(f"There is no annotation file {str(annotations)!r}.")
    try:
        content = json.loads(annotations.read_bytes())
        pictures = [picture for picture in content["images"] if picture["phase"] in ("train", "val")]
        segments = defaultdict(list)
        for segment in content["annos_segmentation"]:
            segments[segment["image_id"]].append(segment)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{str(annotations)!r} is no annotation file of PASCAL in Detail (`images` and `annos_segmentation`): "
            f"{error!r}"
        ) from error
    ids: dict[str, list[str]] = {"train": [], "val": []}
    for done, picture in enumerate(pictures):
        name = Path(picture["file_name"]).stem
        try:
            mask = _draw(segments[picture["image_id"]], (picture["height"], picture["width"]))
        except (ValueError, KeyError) as error:
            raise ValueError(f"{str(annotations)!r}, picture {name!r}: {error}") from error
        with atomic_write(root / CONVERTED_MASKS / f"{name}.png") as path:
            Image.fromarray(mask).save(path)
        ids[picture["phase"]].append(name)
        if progress is not None:
            progress(done + 1, len(pictures))
    for split, names in ids.items():
        if not (root / SPLIT_LISTS / f"{split}.txt").exists():
            with atomic_write(root / SPLIT_LISTS / f"{split}.txt") as path:
                path.write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")
    return {split: len(names) for split, names in ids.items()}


def _draw(segments: list[dict[str, Any]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The segments over each other, the last on top."""
    mask = np.zeros(size, np.uint8)
    for segment in segments:
        if segment["category_id"] not in _VALUES:
            raise ValueError(f"category {segment['category_id']} is none of the 59 classes.")
        mask[decode_rle(segment["segmentation"]["counts"], size)] = _VALUES[segment["category_id"]]
    return mask
