"""Reading pictures and masks of any mode from files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from kzoo.data.labels import Color
from kzoo.data.mat import MAT_SUFFIX, read_mat

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
"""File suffixes (lower case) taken for pictures in a folder."""


def to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """A PIL picture of any mode as RGB, (H, W, 3) uint8, turned the way its EXIF orientation says.

    Transparent pixels are laid over white; 16-bit grey is scaled to 8 bits.

    Raises:
        ValueError: floating-point pictures, whose range nothing tells.
    """
    picture = ImageOps.exif_transpose(picture)
    mode = picture.mode
    if mode == "F":
        raise ValueError(
            "Pictures of 32-bit floats (mode 'F') have no defined range; save the picture with 8 or 16 bits."
        )
    if mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        # A 32-bit container is how some formats carry 16-bit grey; values up to 255 are 8-bit grey widened.
        if mode.startswith("I;16") or values.max(initial=0) > 255:
            values = values // 257
        grey = np.clip(values, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)
    return np.array(picture.convert("RGB"), dtype=np.uint8)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """A picture file as RGB, (H, W, 3) uint8: grey, palette, RGBA, CMYK, 16-bit and EXIF-rotated files too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no picture, is cut off, or has a mode without defined range.
    """
    try:
        with Image.open(path) as picture:
            return to_rgb(picture)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no picture {os.fspath(path)!r}.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"Cannot read the picture {os.fspath(path)!r}: {error}") from error


def read_mask(
    path: str | os.PathLike[str], palette: tuple[Color, ...] | None = None, ignore_color: Color | None = None
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], bool]:
    """A mask file as the label values that it stores.

    Args:
        path: a picture of 8- or 16-bit grey, of 1 bit, or with a palette (whose indices are the labels), or of RGB
            colours; or a MATLAB file (see `kzoo.data.mat`).
        palette: for RGB masks, the colour of each label.
        ignore_color: for RGB masks, the colour of pixels without annotation; they become 255.

    Returns:
        The values, (H, W) uint8, or uint16 if one is above 255, and whether they were found through `palette`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no picture, stores values outside 0..65535, or is RGB without a palette or with a
            colour that is not in it.
    """
    name = os.fspath(path)
    if name.lower().endswith(MAT_SUFFIX):
        return _unsigned(read_mat(path), name), False
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no mask {name!r}.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"Cannot read the mask {name!r}: {error}") from error
    if picture.mode in ("RGB", "RGBA"):
        return _labels_of_colors(np.asarray(picture.convert("RGB")), name, palette, ignore_color), True
    if picture.mode in ("P", "L", "1") or picture.mode.startswith("I"):
        return _unsigned(np.asarray(picture), name), False
    raise ValueError(
        f"The mask {name!r} has mode {picture.mode!r}; expected one label a pixel (mode 'L' or 'P') or RGB colours."
    )


def _unsigned(values: NDArray[Any], name: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    highest = values.max(initial=0)
    if values.min(initial=0) < 0 or highest > 65535:
        raise ValueError(f"The mask {name!r} stores labels {values.min()}..{highest}, expected 0..65535.")
    return values.astype(np.uint8, copy=False) if highest <= 255 else values.astype(np.uint16)


def _labels_of_colors(
    colors: NDArray[np.uint8], name: str, palette: tuple[Color, ...] | None, ignore_color: Color | None
) -> NDArray[np.uint8]:
    if palette is None:
        raise ValueError(f"The mask {name!r} stores RGB colours, and no palette says which label each colour is.")
    if len(set(palette)) < len(palette):
        raise ValueError(f"The mask {name!r} stores RGB colours, but the palette gives one colour to several classes.")
    labels = {color: label for label, color in enumerate(palette)}
    if ignore_color is not None:
        labels[ignore_color] = 255
    codes = colors.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    found, inverse = np.unique(codes, return_inverse=True)
    result = np.zeros(len(found), np.uint8)
    for index, code in enumerate(found.tolist()):
        color = (code >> 16, code >> 8 & 255, code & 255)
        if color not in labels:
            raise ValueError(
                f"The mask {name!r} has the colour {color}, which is not in the palette. Expected the colours of the "
                "classes; a colour for pixels without annotation is given as `ignore_color`."
            )
        result[index] = labels[color]
    return result[inverse].reshape(codes.shape)
