"""`kzoo convert SRC --to NAME`: a foreign checkpoint as a `.weights.h5` file."""

from __future__ import annotations

import argparse
from pathlib import Path

from kzoo.cli.quiet import import_tensorflow

HELP = "Convert a checkpoint of a network's published layout (.pth, .h5, .caffemodel) into a .weights.h5 file."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("checkpoint", type=Path, metavar="SRC", help="the checkpoint, e.g. a .pth or .caffemodel file")
    parser.add_argument("--to", required=True, metavar="NAME", help="the network it belongs to, from `kzoo list`")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.weights.h5")


def run(args: argparse.Namespace) -> int:
    """Writes the file."""
    from kzoo.zoo.registry import get_card
    from kzoo.zoo.weights_io import checked_suffix, save_weights

    checked_suffix(args.output)  # before the network is built and the checkpoint read
    card = get_card(args.to)
    if card.source is None:
        why = "is shipped with kzoo" if card.weights else "has no weights"
        raise ValueError(f"{args.to!r} {why}: there is no published checkpoint of it to convert.")
    import_tensorflow()
    from kzoo.zoo import load

    save_weights(load(args.to, weights=args.checkpoint), args.output, dtype="float32")
    print(f"wrote {args.output}, {args.output.stat().st_size / 1e6:.1f} MB, for kzoo.load({args.to!r}, weights=...)")
    return 0
