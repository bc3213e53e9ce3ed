"""Draws what refinements do to a network's segmentation: pictures for docs/.

    python tools/side_by_side.py encnet_mnv2_animals none dense conv -o docs/pictures/refinement.png
    python tools/side_by_side.py encnet_mnv2_animals none "trained=own@runs/deeplab_mnv2_rnn" -o out.png

A column is `[TITLE=]KIND[:PRESET][@NAME_OR_RUN]`: none, dense, conv (fresh) or own (what the network has), with a
preset, of another network than the first. The pictures are scikit-image's Chelsea (CC0) and Eileen Collins (NASA,
public domain), and those given with --pictures. Under each row the part in which the columns differ most, enlarged.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import kzoo
from kzoo.cli.demo import PICTURES
from kzoo.data import read_image
from kzoo.data.demo import demo_picture
from kzoo.files import atomic_write
from kzoo.inference import labels_of, predict_mask

GAP, HEIGHT, TITLE = 6, 240, 24


def painted(image: np.ndarray, mask: np.ndarray, model: Any) -> Image.Image:
    """The picture with the classes' colours at half strength and white lines where they meet."""
    labels = labels_of(model)
    colors = np.array(labels.palette, np.float32)[mask]
    opacity = np.where(mask[..., np.newaxis] == 0, 0.0, 0.5)
    mixed = image * (1 - opacity) + colors * opacity
    edge = np.zeros(mask.shape, bool)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    mixed[edge] = 255
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def column(text: str, first: str) -> tuple[str, Any, Any]:
    """Title, network and refinement of a column's description."""
    from kzoo.crf import create, load_preset

    title, _, described = text.rpartition("=")
    rest, _, name = described.partition("@")
    kind, _, preset = rest.partition(":")
    model = kzoo.open_model(name or first)
    if kind in ("none", "own"):
        if preset:
            raise SystemExit(f"{text}: a preset has the arguments of dense, conv or rnn.")
        return title or text, model, None if kind == "none" else "own"
    return title or text, model, create(kind, load_preset(preset) if preset else {})


def where_they_differ(masks: list[np.ndarray], side: int) -> tuple[int, int, int, int]:
    """The square (left, top, right, bottom) with the most pixels in which some mask differs from the first."""
    differ = np.any([mask != masks[0] for mask in masks], axis=0).astype(np.int64)
    total = np.pad(differ.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return int(left), int(top), int(left) + side, int(top) + side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name or run of the network")
    parser.add_argument("columns", nargs="+", metavar="[TITLE=]KIND[:PRESET][@NAME]")
    parser.add_argument(
        "--pictures", nargs="+", type=Path, help="freely licensed ones only, if the result is published"
    )
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()

    columns = [column(text, args.model) for text in args.columns]
    rows = []
    for file in args.pictures or [demo_picture(name) for name in PICTURES]:
        image = read_image(file)
        masks = [predict_mask(model, image, refinement=refinement) for _, model, refinement in columns]
        cells = [Image.fromarray(image)]
        cells += [painted(image, mask, model) for mask, (_, model, _) in zip(masks, columns, strict=True)]
        height, width = image.shape[:2]
        rows.append([cell.resize((width * HEIGHT // height, HEIGHT), Image.Resampling.BILINEAR) for cell in cells])
        part, shape = where_they_differ(masks, min(height, width) // 3), (rows[-1][0].width, HEIGHT)
        enlarged = [cell.crop(part).resize((HEIGHT, HEIGHT), Image.Resampling.NEAREST) for cell in cells]
        rows.append([_centred(cell, shape) for cell in enlarged])
    widest = max(row[0].width for row in rows)
    canvas = Image.new("RGB", ((len(columns) + 1) * (widest + GAP), TITLE + len(rows) * (HEIGHT + GAP)), "white")
    draw = ImageDraw.Draw(canvas)
    for place, title in enumerate(["picture", *(title for title, *_ in columns)]):
        draw.text((place * (widest + GAP), TITLE // 2), title, (0, 0, 0), ImageFont.load_default(15), anchor="lm")
        for line, row in enumerate(rows):
            canvas.paste(row[place], (place * (widest + GAP), TITLE + line * (HEIGHT + GAP)))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out) as temporary:
        canvas.save(temporary, format="PNG", optimize=True)
    print(args.out)


def _centred(cell: Image.Image, size: tuple[int, int]) -> Image.Image:
    canvas = Image.new("RGB", size, "white")
    canvas.paste(cell, ((size[0] - cell.width) // 2, 0))
    return canvas


if __name__ == "__main__":
    main()
