"""Pairing the files of two folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kzoo.data.dataset import Sample
from kzoo.data.pictures import PICTURE_SUFFIXES


def read_ids(path: Path) -> list[str]:
    """The first word of each line that is not empty."""
    return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def match_files(
    images: Path, masks: Path, ids: Iterable[str] | None = None, mask_suffix: str = ""
) -> tuple[Sample, ...]:
    """Pairs the pictures of one folder with the masks of another by their names without suffix.

    Args:
        images: folder of pictures.
        masks: folder of masks.
        ids: the names wanted, in order; by default all that either folder holds, sorted.
        mask_suffix: what a mask's name has behind the picture's, before the file suffix.

    Returns:
        One sample a name. A missing mask is None; a missing picture is a path that does not exist, which `kzoo data
        check` and reading report.

    Raises:
        FileNotFoundError: one of the folders is missing.
        ValueError: two files of one name and different suffixes in one folder.
    """
    by_image = _by_name(images)
    by_mask = {
        name.removesuffix(mask_suffix): path for name, path in _by_name(masks).items() if name.endswith(mask_suffix)
    }
    names = sorted(by_image.keys() | by_mask.keys()) if ids is None else list(ids)
    return tuple(Sample(name, by_image.get(name, images / f"{name}.jpg"), by_mask.get(name)) for name in names)


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {str(folder)!r} does not exist.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in PICTURE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(
                f"Two files of one name in {str(folder)!r}: {found[path.stem].name!r} and {path.name!r}. Pictures and "
                "masks are paired by their names, so each may occur once."
            )
        found[path.stem] = path
    return found
