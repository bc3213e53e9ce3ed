"""`kzoo train`: a recipe becomes a run folder."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import shlex
from pathlib import Path

from kzoo.cli.quiet import import_tensorflow

HELP = "train a network from a recipe; the same command again goes on where a killed run stopped"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("config", help="a recipe, e.g. zoo_configs/camvid/encnet_mnv2.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="override a value of the recipe")
    parser.add_argument("--run", type=Path, help="run folder (default: runs/<dataset>_<recipe's name>)")
    parser.add_argument(
        "--tensorboard", action="store_true", help="write event files too (pip install kzoo[tensorboard])"
    )
    parser.add_argument("--quiet", action="store_true", help="one line an epoch, for logs")


def run(args: argparse.Namespace) -> int:
    """Trains, and prints the best validation mIoU and where the run lies."""
    if args.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError("--tensorboard needs TensorBoard: pip install kzoo[tensorboard]")
    import_tensorflow()
    from kzoo.training import load_config, train
    from kzoo.training.config import find_config

    logging.basicConfig(format="%(message)s")
    logging.getLogger("kzoo").setLevel(logging.INFO)  # not the root's: TensorFlow reports every reduction at INFO
    path = find_config(args.config)
    config = load_config(path, args.set)
    folder = args.run or Path("runs") / f"{config.data.dataset}_{path.stem}"
    results = train(
        config,
        folder,
        command=_command(args),
        tensorboard=args.tensorboard,
        verbose=0 if args.quiet else "auto",
    )
    print(f"best validation mIoU {100 * results['val_miou']:.2f} at epoch {results['best_epoch']}; see {folder}")
    return 0


def _command(args: argparse.Namespace) -> str:
    words = ["kzoo", "train", args.config]
    for override in args.set:
        words += ["--set", override]
    return shlex.join(words)
