"""Pictures in, class maps at their size, masks and overlays out."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from errors import OUTPUT, PICTURE, DeviceError
from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")


def read_picture(path: Path) -> Image.Image:
    """A picture of any mode as RGB, turned as its EXIF orientation says; transparent pixels lie over white.

    Raises:
        DeviceError: `PICTURE`: no such file, no picture, or cut off.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I;16"):
                picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                layer = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DeviceError(PICTURE, f"Cannot read the picture {str(path)!r}: {error}") from None


def at_network_size(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """The picture at (height, width), not keeping its proportions: bilinear, over the area a pixel comes from.

    Returns:
        (height, width, 3) uint8.
    """
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))


def class_map(output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A network's output as classes at a picture's size.

    Logits are resized bilinearly (half-pixel centres) before the best class is taken, so that outlines are smooth;
    classes have nothing between them and are taken from the nearest pixel, which leaves steps.

    Args:
        output: logits (h, w, C), or classes (h, w).
        size: (height, width) of the picture.

    Returns:
        (height, width) uint8.
    """
    if output.ndim == 2:
        rows, columns = (np.floor(_centres(there, here)).astype(int) for there, here in zip(size, output.shape))
        return output[rows[:, np.newaxis], columns].astype(np.uint8)
    if output.shape[:2] == tuple(size):
        return output.argmax(-1).astype(np.uint8)
    (top, bottom, down), (left, right, across) = (_neighbours(there, here) for there, here in zip(size, output.shape))
    best = output.argmax(-1).astype(np.uint8)
    corners = [best[rows[:, np.newaxis], columns] for rows in (top, bottom) for columns in (left, right)]
    classes = corners[0]
    # Between four pixels of one class there is no other, so that only outlines need their logits.
    y, x = np.nonzero(np.any([classes != corner for corner in corners[1:]], axis=0))
    for part in (slice(start, start + 65536) for start in range(0, len(y), 65536)):
        rows, columns = y[part], x[part]
        over, under = (
            output[row, left[columns]] * (1 - across[columns]) + output[row, right[columns]] * across[columns]
            for row in (top[rows], bottom[rows])
        )
        classes[rows, columns] = (over * (1 - down[rows]) + under * down[rows]).argmax(-1)
    return classes


def _centres(there: int, here: int) -> np.ndarray:
    """Where the centres of `there` pixels lie on a grid of `here`, whose first pixel reaches from 0 to 1."""
    return (np.arange(there, dtype=np.float32) + np.float32(0.5)) * np.float32(here / there)


def _neighbours(there: int, here: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `there` pixels the two of `here` that it lies between, and the second one's share, (there, 1)."""
    centres = np.clip(_centres(there, here) - np.float32(0.5), 0, here - 1)
    first = np.floor(centres)
    share = (centres - first)[:, np.newaxis]
    return first.astype(int), np.minimum(first + 1, here - 1).astype(int), share


def mask_picture(classes: np.ndarray, sidecar: dict[str, Any]) -> Image.Image:
    """A palette picture (mode "P"): the pixel values are the classes, shown in their colours."""
    picture = Image.fromarray(classes)
    picture.putpalette(_colors(sidecar).tobytes())
    return picture


def overlay(picture: Image.Image, classes: np.ndarray, sidecar: dict[str, Any], opacity: float = 0.6) -> Image.Image:
    """The picture painted with the classes' colours; a class named "background" is left unpainted."""
    painted = Image.blend(picture, Image.fromarray(_colors(sidecar)[classes]), opacity)
    if "background" in sidecar["classes"]:
        background = classes == sidecar["classes"].index("background")
        painted.paste(picture, mask=Image.fromarray(background.astype(np.uint8) * 255))
    return painted


def shares(classes: np.ndarray, sidecar: dict[str, Any]) -> str:
    """The classes and how much of the picture each covers, the largest first."""
    counts = np.bincount(classes.ravel(), minlength=256)[: len(sidecar["classes"])] / classes.size
    named = sorted(zip(counts.tolist(), sidecar["classes"]), key=lambda item: -item[0])
    return ", ".join(f"{name} {share:.1%}" for share, name in named if share >= 0.0005)


def _colors(sidecar: dict[str, Any]) -> np.ndarray:
    """(256, 3) uint8: the colour of each pixel value; the ignore label is light grey."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(sidecar["palette"])] = sidecar["palette"]
    table[sidecar["ignore_label"]] = 224
    return table


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed into it when the block succeeds: nothing half-written gets the name.

    Raises:
        DeviceError: `OUTPUT`: the folder cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix="-" + path.name, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's files are private
        temporary.replace(path)
    except OSError as error:
        raise DeviceError(OUTPUT, f"Cannot write {str(path)!r}: {error.strerror or error}.") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
