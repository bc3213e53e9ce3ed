"""`kzoo demo`: two real pictures segmented by a network that kzoo trained; needs no network connection."""

from __future__ import annotations

import argparse
from pathlib import Path

from kzoo.cli.predict import describe, predict_picture
from kzoo.cli.quiet import import_tensorflow
from kzoo.data.demo import demo_picture

HELP = "Segment two real pictures that come with scikit-image."

MODEL = "encnet_mnv2_animals"
# "Chelsea" by Stefan van der Walt, CC0; Eileen Collins by NASA, public domain. Both lie inside scikit-image's package.
PICTURES = ("chelsea.png", "astronaut.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("--model", default=MODEL, metavar="NAME_OR_RUN", help=f"network, by default {MODEL}")
    parser.add_argument("-o", "--out", type=Path, default=Path("demo"), metavar="DIR", help="by default demo/")


def run(args: argparse.Namespace) -> int:
    """Predicts the pictures, and says where the overlays are."""
    pictures = [demo_picture(name) for name in PICTURES]
    import_tensorflow()
    from kzoo.zoo import open_model

    model = open_model(args.model)
    print(f"{args.model}: {', '.join(model.class_names)}")
    for picture in pictures:
        shares = predict_picture(model, picture, args.out, {})
        print(f"{picture.stem}: {describe(shares)}")
        for kind in ("overlay", "mask"):
            print(f"  {kind:8}{(args.out / f'{picture.stem}_{kind}.png').resolve()}")
    return 0
