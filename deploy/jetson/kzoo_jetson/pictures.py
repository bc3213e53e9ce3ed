"""Picture files: found, read, and written as masks and overlays, with Pillow or else with OpenCV."""

from pathlib import Path
from typing import Any, List, Optional, Sequence

import numpy as np

from .errors import InputError, SoftwareError
from .files import whole
from .sidecar import Sidecar

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
BACKGROUND = "background"
OPACITY = 0.6


def import_pillow() -> Optional[Any]:
    """Pillow's `Image`, or None where it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        return None
    return Image


def import_opencv(purpose: str) -> Any:
    """OpenCV.

    Raises:
        SoftwareError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise SoftwareError(f"{purpose} ({error}): run install.sh.") from None
    return cv2


def find_pictures(inputs: Sequence[str]) -> List[Path]:
    """The pictures that files and folders name, each once.

    Raises:
        InputError: one of the inputs is not there, a folder holds no pictures, or two pictures have one name.
    """
    found = []  # type: List[Path]
    for path in map(Path, inputs):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError("There are no pictures in {}; taken are {}.".format(path, ", ".join(SUFFIXES)))
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"There is no picture, folder, video or camera {path}.")
    found = sorted(set(found), key=found.index)
    by_stem = {}
    for path in found:
        other = by_stem.setdefault(path.stem, path)
        if other != path:
            raise InputError(f"{other} and {path} would both become {path.stem}_mask.png.")
    return found


def read_picture(path: Path) -> np.ndarray:
    """A picture file as RGB, (H, W, 3) uint8, turned the way its EXIF orientation says.

    Raises:
        InputError: it cannot be read.
        SoftwareError: there is neither Pillow nor OpenCV.
    """
    pillow = import_pillow()
    if pillow is None:
        cv2 = import_opencv("Reading pictures needs Pillow or OpenCV")
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise InputError(f"{path} is no picture that OpenCV can read.")
        return picture[:, :, ::-1]
    from PIL import ImageOps

    try:
        with pillow.open(str(path)) as picture:
            if hasattr(ImageOps, "exif_transpose"):  # Pillow 6; JetPack 4 has 5.1
                picture = ImageOps.exif_transpose(picture)
            return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} is no picture that Pillow can read: {error}") from None


def write_mask(path: Path, mask: np.ndarray, sidecar: Sidecar) -> None:
    """Writes class indices as a PNG: with a palette by Pillow, in grey by OpenCV."""
    pillow = import_pillow()
    with whole(path) as partial:
        if pillow is None:
            _write_with_opencv(partial, mask)
        else:
            picture = pillow.fromarray(mask)
            picture.putpalette(color_table(sidecar).tobytes())
            picture.save(str(partial), format="PNG")


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes an RGB picture; the suffix says in which format."""
    pillow = import_pillow()
    with whole(path) as partial:
        if pillow is None:
            _write_with_opencv(partial, picture[:, :, ::-1])
        else:
            pillow.fromarray(picture).save(str(partial))


def overlay(picture: np.ndarray, mask: np.ndarray, sidecar: Sidecar) -> np.ndarray:
    """The picture painted with the classes' colours; a class named "background" is left as it is."""
    weight = np.full(256, round(256 * OPACITY), np.uint16)
    if BACKGROUND in sidecar.classes:
        weight[sidecar.classes.index(BACKGROUND)] = 0
    paint = color_table(sidecar) * weight[:, None]
    return ((picture * (256 - weight)[mask][:, :, None] + paint[mask] + 128) >> 8).astype(np.uint8)


def color_table(sidecar: Sidecar) -> np.ndarray:
    """(256, 3) uint8: the colour of each value of a mask; what the network ignores is light grey."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(sidecar.palette)] = sidecar.palette
    table[sidecar.ignore_label] = 224
    return table


def _write_with_opencv(path: Path, picture: np.ndarray) -> None:
    cv2 = import_opencv("Writing pictures needs Pillow or OpenCV")
    if not cv2.imwrite(str(path), picture):
        raise OSError(f"OpenCV could not write {path}")
