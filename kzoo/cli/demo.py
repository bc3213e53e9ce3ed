"""`kzoo demo`: two real pictures segmented by a network that kzoo trained; needs no network connection."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from kzoo.cli.predict import describe, predict_picture
from kzoo.cli.quiet import import_tensorflow

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
    pictures = [picture_file(name) for name in PICTURES]
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


def picture_file(name: str) -> Path:
    """A picture inside the installed scikit-image package; nothing is downloaded.

    Raises:
        FileNotFoundError: scikit-image is not installed, or carries no such picture.
    """
    # Found, not imported: importing scikit-image takes a second, and its own loader may go to the internet.
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "The demo's pictures come with scikit-image, which is not installed: pip install kzoo[demo]"
        )
    path = Path(package.origin).parent / "data" / name
    if not path.is_file():
        raise FileNotFoundError(
            f"This scikit-image carries no {name} ({str(path)!r} is missing): pip install --force-reinstall kzoo[demo]"
        )
    return path
