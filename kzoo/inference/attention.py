"""What the branches of a squeeze-and-attention network see from one point of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SHOWN = {"c1": "head 1", "c4": "head 4"}
BRANCHES = ("main", "attention")
MARK, GAP = (255, 255, 255), 6


def similarity_to_point(features: NDArray[Any], row: int, column: int) -> NDArray[np.float64]:
    """How alike every place is to one place: the cosine of their feature vectors, each channel's mean taken off.

    Without the means, features that are all positive would be alike everywhere.

    Args:
        features: (h, w, C).
        row, column: the place.

    Returns: (h, w) in -1..1; 0 where a vector is zero.
    """
    vectors = np.asarray(features, np.float64)
    vectors = vectors - vectors.mean(axis=(0, 1))
    length = np.linalg.norm(vectors, axis=-1)
    product = vectors @ vectors[row, column]
    scale = length * length[row, column]
    return np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)


def attention_picture(model: Any, image: NDArray[Any], point: tuple[int, int] | None = None) -> Image.Image:
    """The picture with the point, and beside it what is alike to it in the branches of the first and last head.

    Red is alike (cosine 1), blue is not (0 or less). In the paper's figure 6 the first head's main branch keeps to
    edges and its attention sees far; the last head's attention keeps to the surroundings of the point.

    Args:
        model: a network with `attention_maps`, see `kzoo.models.SANet`.
        image: (H, W, 3) RGB 0..255.
        point: column and row in pixels; the middle by default.

    Returns: an RGB picture of five panels in a row.

    Raises:
        ValueError: a network without attention maps, or a point outside of the picture.
    """
    if not hasattr(model, "attention_maps"):
        raise ValueError(f"{model.name} is a {type(model).__name__}: attention maps are SANet's alone.")
    height, width = image.shape[:2]
    column, row = (width // 2, height // 2) if point is None else point
    if not (0 <= column < width and 0 <= row < height):
        raise ValueError(
            f"The point ({column}, {row}) is outside of the picture: expected a column of 0..{width - 1} and a row of "
            f"0..{height - 1}."
        )
    maps = model.attention_maps(np.asarray(image, np.float32)[np.newaxis])
    panels = [("picture", np.asarray(image, np.float64))]
    for stage, title in SHOWN.items():
        for branch in BRANCHES:
            features = np.asarray(maps[stage][branch])[0]
            h, w = features.shape[:2]
            alike = similarity_to_point(features, row * h // height, column * w // width)
            panels.append((f"{title}, {branch}", _paint(alike, image)))
    return _side_by_side(panels, column, row)


def _paint(alike: NDArray[np.float64], image: NDArray[Any]) -> NDArray[np.float64]:
    """The picture in grey, washed with blue (0 or less) over green to red (1)."""
    height, width = image.shape[:2]
    heat = Image.fromarray(np.clip(alike, 0, 1).astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    level = np.asarray(heat, np.float64)[..., np.newaxis]
    color = np.concatenate([level, 1 - np.abs(2 * level - 1), 1 - level], axis=-1) * 255
    return 0.4 * image.mean(axis=-1, keepdims=True) + 0.6 * color


def _side_by_side(panels: list[tuple[str, NDArray[np.float64]]], column: int, row: int) -> Image.Image:
    height, width = panels[0][1].shape[:2]
    size = min(max(12, height // 24), 40)
    font, top = ImageFont.load_default(size), size * 3 // 2
    canvas = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + top), "white")
    draw = ImageDraw.Draw(canvas)
    reach = max(3, height // 60)
    for index, (title, panel) in enumerate(panels):
        left = index * (width + GAP)
        canvas.paste(Image.fromarray(np.rint(np.clip(panel, 0, 255)).astype(np.uint8)), (left, top))
        draw.text((left, top // 2), title, fill=(0, 0, 0), font=font, anchor="lm")
        x, y = left + column, top + row
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=MARK, width=max(1, reach // 3))
    return canvas
