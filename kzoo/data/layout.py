"""How datasets lie on disk: folders of splits, lists of names, and the pairs of pictures and masks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kzoo.data.dataset import Sample
from kzoo.data.mat import MAT_SUFFIX, require_scipy
from kzoo.data.pictures import PICTURE_SUFFIXES
from kzoo.errors import unknown_name


def dataset_root(root: Path, marks: Iterable[str], inside: Iterable[str]) -> Path:
    """`root`, or the first of the folders `inside` it (what unpacking the archive makes) that holds one of `marks`."""
    candidates = (root, *(root / name for name in inside))
    return next((folder for folder in candidates if any((folder / mark).is_dir() for mark in marks)), root)


def first_folder(root: Path, names: tuple[str, ...]) -> Path:
    """The first of the folders `names` in `root` that exists.

    Raises:
        FileNotFoundError: none of them does.
    """
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"Expected the folder {' or '.join(map(repr, names))} in {str(root)!r}.")


def split_folder(folder: Path, split: str) -> Path:
    """The folder of one split in a folder of splits.

    Raises:
        FileNotFoundError: `folder` is missing or holds no folders.
        ValueError: there is no such split.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {str(folder)!r} does not exist.")
    splits = [entry.name for entry in folder.iterdir() if entry.is_dir()]
    if not splits:
        raise FileNotFoundError(f"Expected a folder for each split in {str(folder)!r}.")
    if split not in splits:
        raise unknown_name("split", split, splits, f"The splits are the folders in {str(folder)!r}.")
    return folder / split


def read_ids(path: Path) -> list[str]:
    """The first word of each line that is not empty; of a picture's path, its name without suffix.

    A name may hold spaces: then the line ends with the suffix of a picture, and with it the name.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    paths = [_named(line) for line in lines]
    return [path.stem if path.suffix.lower() in PICTURE_SUFFIXES else path.name for path in paths]


def _named(line: str) -> PurePosixPath:
    whole, first = PurePosixPath(line), PurePosixPath(line.split()[0])
    one_name = first.suffix.lower() not in PICTURE_SUFFIXES and whole.suffix.lower() in PICTURE_SUFFIXES
    return whole if one_name else first


def listed_samples(
    root: Path, split: str, *, images: tuple[str, ...], masks: tuple[str, ...], lists: tuple[str, ...]
) -> tuple[Sample, ...]:
    """The samples that a list `<split>.txt` names.

    Args:
        root: the dataset's folder.
        split: the split's name.
        images: folders of pictures; the first that exists is taken.
        masks: the same of masks.
        lists: folders of lists; where two hold a list of one name, the first has it.

    Raises:
        FileNotFoundError: no folder of pictures or masks, or no list at all.
        ValueError: no list of that name.
    """
    image_folder, mask_folder = first_folder(root, images), first_folder(root, masks)
    found = {path.stem: path for folder in reversed(lists) for path in sorted((root / folder).glob("*.txt"))}
    if not found:
        places = " or ".join(f"`{(Path(folder) / split).as_posix()}.txt`" for folder in lists)
        raise FileNotFoundError(f"No list of ids in {str(root)!r}: expected {places}.")
    if split not in found:
        raise unknown_name("split", split, found, f"A split is a list `{split}.txt`.")
    return match_files(image_folder, mask_folder, ids=read_ids(found[split]))


def match_files(
    images: Path, masks: Path, ids: Iterable[str] | None = None, mask_suffix: str = ""
) -> tuple[Sample, ...]:
    """Pairs the pictures of one folder with the masks of another by their names without suffix.

    Args:
        images: folder of pictures.
        masks: folder of masks: pictures, or MATLAB files.
        ids: the names wanted, in order; by default all that either folder holds, sorted.
        mask_suffix: what a mask's name has behind the picture's, before the file suffix.

    Returns:
        One sample a name. A missing mask is None; a missing picture is a path that does not exist, which `kzoo data
        check` and reading report.

    Raises:
        FileNotFoundError: one of the folders is missing.
        ValueError: two files of one name and different suffixes in one folder, or MATLAB files without scipy.
    """
    by_image = _by_name(images, PICTURE_SUFFIXES)
    by_mask = {
        name.removesuffix(mask_suffix): path
        for name, path in _by_name(masks, (*PICTURE_SUFFIXES, MAT_SUFFIX)).items()
        if name.endswith(mask_suffix)
    }
    if any(path.suffix.lower() == MAT_SUFFIX for path in by_mask.values()):
        require_scipy()
    names = sorted(by_image.keys() | by_mask.keys()) if ids is None else list(ids)
    return tuple(Sample(name, by_image.get(name, images / f"{name}.jpg"), by_mask.get(name)) for name in names)


def _by_name(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {str(folder)!r} does not exist.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(
                f"Two files of one name in {str(folder)!r}: {found[path.stem].name!r} and {path.name!r}. Pictures and "
                "masks are paired by their names, so each may occur once."
            )
        found[path.stem] = path
    return found
