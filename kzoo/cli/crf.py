"""`kzoo crf`: parameters of the dense CRF for a network."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.cli.quiet import import_tensorflow

if TYPE_CHECKING:
    from kzoo.crf import BilateralKernel

HELP = "Search the dense CRF's parameters for a network."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    search = actions.add_parser("search", help="from a coarse grid to finer steps, on a part of a split; resumes")
    search.add_argument("model", metavar="NAME_OR_RUN", help="a name from `kzoo list`, a run folder, or a .keras file")
    search.add_argument("--data", type=Path, required=True, metavar="DIR", help="the dataset's folder")
    search.add_argument("--split", required=True, help="e.g. val")
    search.add_argument("--dataset", help="folder, or a name of docs/data.md; by default what fits the network")
    search.add_argument("--subset", type=int, default=100, metavar="N", help="pictures to search on; default: 100")
    search.add_argument("--seed", type=int, default=0, help="of the draw of these pictures; default: 0")
    search.add_argument("--grid", choices=("default", "paper"), default="default", help="where to look")
    search.add_argument("--iterations", type=int, default=10, metavar="N", help="of mean field; default: 10")
    search.add_argument("--normalization", default="after", help="none, before, after (the default) or symmetric")
    search.add_argument(
        "--out", type=Path, metavar="FILE.yaml", help="by default RUN/crf_SPLIT.yaml if a run, else crf_NAME_SPLIT.yaml"
    )


def run(args: argparse.Namespace) -> int:
    """Prints one line for each point, then the best one, and writes it."""
    model_path = Path(args.model)
    beside = model_path / f"crf_{args.split}.yaml" if model_path.is_dir() else None
    out = args.out or beside or Path(f"crf_{model_path.stem}_{args.split}.yaml")
    if out.suffix not in (".yaml", ".yml") or out.is_dir():
        raise ValueError(f"--out {out} is a folder, or no name of a YAML file: name a file that ends in .yaml.")
    import_tensorflow()
    from kzoo.cli.eval import dataset_name
    from kzoo.crf import GRIDS, DenseCRF
    from kzoo.data import open_dataset
    from kzoo.inference.crf_search import search_crf
    from kzoo.zoo import open_model

    crf = DenseCRF(iterations=args.iterations, normalization=args.normalization)
    model = open_model(args.model)
    dataset = open_dataset(args.dataset or dataset_name(args.data, model), args.data, args.split)
    result = search_crf(
        model,
        dataset,
        out,
        crf=crf,
        grid=GRIDS[args.grid],
        subset=args.subset,
        seed=args.seed,
        command=_command(args, out),
        report=_print_point,
    )
    found = "  ".join(f"{key} {value}" for key, value in result.parameters.items())
    print(
        f"Best on {result.pictures} pictures: mIoU {100 * result.miou:.2f}, without CRF {100 * result.miou_without:.2f}"
    )
    print(found)
    if result.miou <= result.miou_without:
        print("No point is better than no CRF.")
    print(f"wrote {out}")
    return 0


def _print_point(point: BilateralKernel | None, miou: float, known: bool) -> None:
    if point is None:
        print(f"{'sigma_xy':>8} {'sigma_rgb':>9} {'weight':>6} {'mIoU':>6}")
        columns = f"{'without CRF':25}"
    else:
        columns = f"{point.bilateral_sigma_xy:8g} {point.bilateral_sigma_rgb:9g} {point.bilateral_weight:6g}"
    print(f"{columns} {100 * miou:6.2f}{'  (from the log)' if known else ''}", flush=True)


def _command(args: argparse.Namespace, out: Path) -> str:
    """The command line with every setting."""
    words: list[Any] = ["kzoo", "crf", "search", args.model, "--data", args.data, "--split", args.split]
    words += ["--dataset", args.dataset] if args.dataset else []
    for option in ("subset", "seed", "grid", "iterations", "normalization"):
        words += [f"--{option}", getattr(args, option)]
    return shlex.join(map(str, [*words, "--out", out]))
