"""`kzoo benchmark NAME...`: speed, size and accuracy of networks in each format, in one run."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kzoo.cli.export import own_size, parse_size
from kzoo.cli.quiet import import_tensorflow

if TYPE_CHECKING:
    from kzoo.export.benchmark import Contender
    from kzoo.export.target import Precision

HELP = "Measure networks in each format side by side: latency, memory, file size, mIoU."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument(
        "models", nargs="+", metavar="NAME", help="a name from `kzoo list`, a run folder, a .keras file, or an artefact"
    )
    parser.add_argument("--size", metavar="HxW", help="of the pictures; by default each network's own")
    parser.add_argument(
        "--formats",
        nargs="+",
        default=["all"],
        metavar="FORMAT[:PRECISION]",
        help="all (the default), or some of keras, frozen, onnx, litert, onnx:int8, ...",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="a dataset: int8 is calibrated on train")
    parser.add_argument("--split", metavar="NAME", help="of it, whose mIoU is measured, e.g. val")
    parser.add_argument("--dataset", help="folder, or a name of docs/data.md; by default what fits the network")
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="pictures for int8, in place of --data's train")
    parser.add_argument("--refine", choices=("none", "conv"), help="leave the CRF out, or a convolutional one in")
    parser.add_argument(
        "--refine-stride", type=int, default=1, metavar="N", help="pixels of a square between which it passes messages"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of ONNX Runtime and LiteRT; default: all")
    parser.add_argument("--rounds", type=int, default=21, metavar="N", help="timed runs of each; default: 21")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="keeps the artefacts, a CSV and a picture there")


def run(args: argparse.Namespace) -> int:
    """Prints the table, and writes it with the picture and the artefacts where `--out` says."""
    if args.split and args.data is None:
        raise ValueError("--split is one of a dataset: give --data DIR.")
    import_tensorflow()
    from kzoo.data import read_image
    from kzoo.data.demo import demo_picture
    from kzoo.export import benchmark

    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        contenders = []
        for name in args.models:
            _say(f"preparing {name}")
            if name.endswith((".onnx", ".tflite")):
                contenders.append(benchmark.artefact(Path(name), args.threads))
            else:
                contenders += _contenders(name, folder, args)
        picture = read_image(demo_picture("astronaut.png"))
        rows = benchmark.measure(contenders, picture, args.rounds, _say)
    print("\n".join(benchmark.table(rows)))
    if args.out:
        benchmark.write_csv(rows, args.out / "benchmark.csv")
        if any(row.miou is not None for row in rows):
            benchmark.plot(rows, args.out / "benchmark.png")
        print(f"wrote {args.out}")
    return 0


def formats(words: list[str]) -> list[tuple[str, Precision]]:
    """The (format, precision) pairs that the command line names, in their usual order."""
    from kzoo.export.benchmark import FORMATS

    if words == ["all"]:
        return list(FORMATS)
    for word in words:
        if not any(word in (name, f"{name}:{precision}") for name, precision in FORMATS):
            known = ", ".join(f"{name}:{precision}" for name, precision in FORMATS)
            raise ValueError(f"There is no format {word!r}. Known: {known}; and a name alone for all its precisions.")
    return [pair for pair in FORMATS if pair[0] in words or f"{pair[0]}:{pair[1]}" in words]


def _contenders(name: str, folder: Path, args: argparse.Namespace) -> list[Contender]:
    from kzoo.cli.eval import dataset_name
    from kzoo.data import open_dataset
    from kzoo.export import benchmark
    from kzoo.zoo import open_model

    model = open_model(name)
    calibration, measured = args.calibration, None
    if args.data is not None:
        known = args.dataset or dataset_name(args.data, model)
        calibration = calibration or open_dataset(known, args.data, "train")
        measured = open_dataset(known, args.data, args.split) if args.split else None
    return benchmark.contenders(
        Path(name).stem,
        model,
        parse_size(args.size) if args.size else own_size(model),
        folder,
        formats=formats(args.formats),
        refine=args.refine,
        refine_stride=args.refine_stride,
        calibration=calibration,
        dataset=measured,
        threads=args.threads,
        progress=_say,
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
