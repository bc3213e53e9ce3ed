"""`kzoo predict NAME_OR_RUN INPUT...`: masks, overlays and class shares of pictures."""

from __future__ import annotations

import argparse
import glob
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kzoo.cli.eval import add_prediction_arguments, prediction_options, refinement_option
from kzoo.cli.quiet import import_tensorflow
from kzoo.files import atomic_write

HELP = "Segment pictures: writes a mask, an overlay with legend and the class shares of each."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("model", metavar="NAME_OR_RUN", help="a name from `kzoo list`, a run folder, or a .keras file")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="pictures, folders of pictures, or glob patterns")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where results are written")
    parser.add_argument(
        "--attention",
        type=Path,
        metavar="DIR",
        help="SANet: where to draw what its first and last head see from a point",
    )
    parser.add_argument(
        "--point", type=int, nargs=2, metavar=("X", "Y"), help="that point in pixels; the middle by default"
    )
    add_prediction_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Writes `<stem>_mask.png`, `<stem>_overlay.png` and `<stem>.json` for each picture; 1 if one was bad."""
    if args.point is not None and args.attention is None:
        raise ValueError("--point says where --attention DIR looks from: give that, too.")
    pictures = find_pictures(args.inputs)
    import_tensorflow()
    from kzoo.zoo import open_model

    model = open_model(args.model)
    if args.attention is not None and not hasattr(model, "attention_maps"):
        raise ValueError(
            f"--attention: {args.model} is a {type(model).__name__}, and attention maps are SANet's alone."
        )
    options = prediction_options(args) | refinement_option(args, model)
    bad = 0
    for picture in pictures:
        try:
            shares = predict_picture(model, picture, args.out, options)
            if args.attention is not None:
                draw_attention(model, picture, args.attention, args.point)
        except (ValueError, OSError) as error:  # the other pictures can still be had
            print(f"kzoo: error: {error}", file=sys.stderr)
            bad += 1
        else:
            print(f"{picture}: {describe(shares)}")
    if bad < len(pictures):
        print(f"Masks, overlays and shares are in {args.out}")
    return 1 if bad else 0


def find_pictures(inputs: Iterable[str]) -> list[Path]:
    """The pictures that files, folders and glob patterns name, each once, in order.

    Raises:
        FileNotFoundError: an input names nothing.
        ValueError: two pictures would be written to the same files.
    """
    from kzoo.data.pictures import PICTURE_SUFFIXES

    found: dict[Path, None] = {}
    for name in inputs:
        path = Path(name)
        # A file may be called `a[1].png`: what exists is no pattern.
        for match in [path] if path.exists() else sorted(Path(hit) for hit in glob.glob(name, recursive=True)):
            if match.is_dir():
                found |= {p: None for p in sorted(match.iterdir()) if p.suffix.lower() in PICTURE_SUFFIXES}
            else:
                found[match] = None
            path = match
        if not path.exists():
            raise FileNotFoundError(f"There is no picture, folder or match of the pattern {name!r}.")
    if not found:
        raise FileNotFoundError(
            f"No pictures in {', '.join(map(repr, inputs))}; taken are files ending in {', '.join(PICTURE_SUFFIXES)}."
        )
    by_stem: dict[str, Path] = {}
    for picture in found:
        other = by_stem.setdefault(picture.stem, picture)
        if other != picture:
            raise ValueError(
                f"{str(other)!r} and {str(picture)!r} would both be written to {picture.stem}_mask.png: "
                "predict them into different folders."
            )
    return list(found)


def predict_picture(model: Any, picture: Path, out: Path, options: dict[str, Any]) -> dict[str, float]:
    """Predicts one picture file and writes its three results into `out`; returns the class shares."""
    from kzoo.data import read_image
    from kzoo.inference import class_shares, draw_overlay, labels_of, mask_picture, predict_mask

    image, labels = read_image(picture), labels_of(model)
    mask = predict_mask(model, image, **options)
    shares = class_shares(mask, labels)
    record = {"picture": str(picture), "height": mask.shape[0], "width": mask.shape[1], "shares": shares}
    for file, drawn in (("mask", mask_picture(mask, labels)), ("overlay", draw_overlay(image, mask, labels))):
        with atomic_write(out / f"{picture.stem}_{file}.png") as temporary:
            drawn.save(temporary, format="PNG")
    with atomic_write(out / f"{picture.stem}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return shares


def draw_attention(model: Any, picture: Path, out: Path, point: list[int] | None) -> None:
    """Writes `<stem>_attention.png` into `out`."""
    from kzoo.data import read_image
    from kzoo.inference import attention_picture

    drawn = attention_picture(model, read_image(picture), None if point is None else (point[0], point[1]))
    with atomic_write(out / f"{picture.stem}_attention.png") as temporary:
        drawn.save(temporary, format="PNG")


def describe(shares: dict[str, float]) -> str:
    """The classes of a picture and their shares, the largest first."""
    largest_first = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share:.1%}" for name, share in largest_first if share >= 0.0005)
