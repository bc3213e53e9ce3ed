"""What a prediction looks like: palette masks, overlays with a legend, class shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kzoo.data.labels import Labels, voc_palette

BACKGROUND = "background"
LEAST_SHARE_IN_LEGEND = 0.0005  # would be shown as 0.0 %


def labels_of(model: Any) -> Labels:
    """The classes and colours of a network; PASCAL VOC's colours where it has none of its own."""
    names = tuple(model.class_names)
    return Labels(names, tuple(model.palette) or voc_palette(len(names)), model.ignore_label)


def class_shares(mask: NDArray[np.uint8], labels: Labels) -> dict[str, float]:
    """The share of the picture (0..1) that each class has, in label order, zeros included.

    Args:
        mask: (H, W) class indices; pixels of the ignore label belong to no class.
        labels: the classes.
    """
    counts = np.bincount(mask.ravel(), minlength=256)[: labels.num_classes]
    return {name: int(count) / mask.size for name, count in zip(labels.class_names, counts, strict=True)}


def mask_picture(mask: NDArray[np.uint8], labels: Labels) -> Image.Image:
    """The mask as a palette picture (mode "P"): pixel values are class indices, shown in the classes' colours.

    The ignore label is shown in a light grey.
    """
    picture = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    picture.putpalette(_color_table(labels).tobytes())  # turns mode "L" into "P", values unchanged
    return picture


def draw_overlay(image: NDArray[Any], mask: NDArray[np.uint8], labels: Labels, opacity: float = 0.6) -> Image.Image:
    """The picture painted with the classes' colours, and beside it a legend: colour, name and share of each class.

    A class named "background" is left unpainted.

    Args:
        image: (H, W, 3) RGB 0..255.
        mask: (H, W) class indices.
        labels: classes and colours.
        opacity: of the paint, 0..1.

    Returns:
        An RGB picture: H rows (more if the legend needs them), W columns and the legend's.

    Raises:
        ValueError: picture and mask differ in size.
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(f"Picture and mask must be of one size, received {image.shape[:2]} and {mask.shape}.")
    paint = np.full((*mask.shape, 1), opacity, np.float32)
    if BACKGROUND in labels.class_names:
        paint[mask == labels.class_names.index(BACKGROUND)] = 0
    colors = _color_table(labels)[mask]
    painted = Image.fromarray(np.rint(image * (1 - paint) + colors * paint).astype(np.uint8))
    shares = class_shares(mask, labels)
    legend = _legend({name: s for name, s in shares.items() if s >= LEAST_SHARE_IN_LEGEND}, labels, painted.height)
    result = Image.new("RGB", (painted.width + legend.width, max(painted.height, legend.height)), "white")
    result.paste(painted, (0, 0))
    result.paste(legend, (painted.width, 0))
    return result


def _legend(shares: Mapping[str, float], labels: Labels, height: int) -> Image.Image:
    """Colour, name and share of each class, the largest first; letters grow with the picture."""
    size = min(max(12, height // 28), 40)
    font = ImageFont.load_default(size)
    line, gap = size * 3 // 2, size // 2
    rows = [(name, f"{name}  {share:.1%}") for name, share in sorted(shares.items(), key=lambda item: -item[1])]
    width = max((int(font.getlength(text)) for _, text in rows), default=0)
    picture = Image.new("RGB", (width + size + 3 * gap, line * len(rows) + gap), "white")
    draw = ImageDraw.Draw(picture)
    for row, (name, text) in enumerate(rows):
        top = gap + row * line
        color = labels.palette[labels.class_names.index(name)]
        draw.rectangle((gap, top, gap + size, top + size), fill=tuple(color), outline=(96, 96, 96))
        draw.text((2 * gap + size, top + size // 2), text, fill=(0, 0, 0), font=font, anchor="lm")
    return picture


def _color_table(labels: Labels) -> NDArray[np.uint8]:
    """(256, 3): the colour of each pixel value."""
    table = np.zeros((256, 3), np.uint8)
    table[: labels.num_classes] = labels.palette
    table[labels.ignore_label] = 224
    return table
