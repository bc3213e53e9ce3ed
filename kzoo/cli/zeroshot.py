"""`kzoo zeroshot`: classes that a network has not been trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

from kzoo.cli.quiet import import_tensorflow

HELP = "Add a class to a zero-shot network from its word alone."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="a new class from its word vector, without a picture")
    add.add_argument("model", metavar="NAME_OR_RUN", help="a name from `kzoo list`, a run folder, or a .keras file")
    add.add_argument("--class", dest="word", required=True, metavar="WORD", help="the class, e.g. cow")
    add.add_argument(
        "--vectors",
        type=Path,
        required=True,
        action="append",
        metavar="FILE",
        help=".npy, or word2vec's text format; "
        "the network's own source of word vectors; several are concatenated in this order",
    )
    add.add_argument("--labels", type=Path, metavar="FILE.txt", help="the names of a .npy file's rows")
    add.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.keras", help="the network with the class")


def run(args: argparse.Namespace) -> int:
    """Writes the grown network."""
    if args.out.suffix != ".keras" or args.out.is_dir():
        raise ValueError(f"--out {args.out} is a folder, or no name of a Keras file: name a file that ends in .keras.")
    import_tensorflow()
    from kzoo.files import atomic_write
    from kzoo.models.zero_shot import ZeroShotSegmenter, add_class
    from kzoo.models.zero_shot.embeddings import concatenate, read_embeddings
    from kzoo.zoo import open_model

    model = open_model(args.model)
    if not isinstance(model, ZeroShotSegmenter):
        raise ValueError(f"{args.model} is no zero-shot network: a class of it needs pictures. Fine-tune it instead.")
    sources = [
        read_embeddings(path, args.labels if path.suffix == ".npy" else None, (args.word,)) for path in args.vectors
    ]
    grown = add_class(model, args.word, concatenate(sources).vectors[0])
    with atomic_write(args.out) as temporary:
        grown.save(temporary)
    print(f"{args.word!r} is one of {grown.num_classes} classes now")
    print(f"wrote {args.out}")
    return 0
