"""`kzoo eval NAME_OR_RUN`: accuracy of a network on a split of a dataset."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.cli.quiet import import_tensorflow
from kzoo.files import atomic_write

if TYPE_CHECKING:
    from kzoo.inference import Results
    from kzoo.inference.protocols import Protocol

HELP = "Measure a network on a dataset: mIoU, IoU per class, pixel accuracy, boundary IoU."

PROTOCOLS = ("pytorch-encoding", "mmseg")

_ZERO_SHOT_TITLES = {"seen_miou": "seen mIoU", "unseen_miou": "unseen mIoU", "hiou": "hIoU"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("model", metavar="NAME_OR_RUN", help="a name from `kzoo list`, a run folder, or a .keras file")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the dataset's folder")
    parser.add_argument("--split", required=True, help="e.g. val")
    parser.add_argument("--dataset", help="folder, or a name of docs/data.md; by default what fits the network")
    add_prediction_arguments(parser)
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="evaluate as a published code does, with the sizes in the network's card; mmseg takes --scales and --flip",
    )
    parser.add_argument(
        "--setting",
        choices=("generalised", "pure"),
        help="of zero-shot networks: all classes compete everywhere (the default), or, on the pixels of unseen classes "
        "alone, the unseen ones",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as JSON, fractions of 1")
    parser.add_argument(
        "--trimap",
        type=Path,
        metavar="FILE.csv",
        help="write pixel accuracy and mIoU in bands along the boundaries there, and draw them into FILE.png",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write results.json and confusion.png there; by default RUN/eval_SPLIT if a run",
    )


def add_prediction_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of how a picture is predicted, which `kzoo predict` shares."""
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], metavar="FACTOR", help="average over these scales"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored picture")
    parser.add_argument(
        "--window", type=int, nargs=2, metavar=("H", "W"), help="slide a window instead of the whole picture"
    )
    parser.add_argument("--stride", type=int, nargs=2, metavar=("H", "W"), help="window's step, by default 2/3 of it")
    parser.add_argument(
        "--refine", choices=("none", "dense", "conv"), help="the CRF behind the network, by default the network's own"
    )
    parser.add_argument(
        "--refine-preset", metavar="NAME_OR_YAML", help="its arguments: a name of kzoo.crf.PRESETS, or a YAML file"
    )


def prediction_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `predict_mask` and `evaluate` that the command line names."""
    return {
        "scales": tuple(args.scales),
        "flip": args.flip,
        "window": tuple(args.window) if args.window else None,
        "stride": tuple(args.stride) if args.stride else None,
    }


def refinement_option(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    """The `refinement` of `predict_mask` and `evaluate` that the command line names; nothing if it names none.

    Raises:
        FileNotFoundError, ValueError: the preset is not there or wrong, or names the arguments of no refinement.
    """
    if args.refine not in ("dense", "conv"):
        if args.refine_preset is not None:
            raise ValueError("--refine-preset has the arguments of a refinement: give --refine dense or --refine conv.")
        return {} if args.refine is None else {"refinement": None}
    from kzoo.crf import KINDS, create, load_preset

    own = getattr(model, "refinement", None)
    if args.refine_preset is None:
        return {"refinement": own if isinstance(own, KINDS[args.refine]) else create(args.refine, {})}
    return {"refinement": create(args.refine, load_preset(args.refine_preset))}


def run(args: argparse.Namespace) -> int:
    """Prints the results, and writes what `--json` and `--out` ask for."""
    if args.json and args.json.is_dir():
        raise ValueError(f"--json {args.json} is a folder: name a file.")
    if args.out and args.out.is_file():
        raise ValueError(f"--out {args.out} is a file: name a folder.")
    if args.trimap and (args.trimap.suffix != ".csv" or args.trimap.is_dir()):
        raise ValueError(f"--trimap {args.trimap} is a folder, or no name of a table: name a file that ends in .csv.")
    out = args.out or (Path(args.model) / f"eval_{args.split}" if Path(args.model).is_dir() else None)
    import_tensorflow()
    from kzoo.data import open_dataset
    from kzoo.inference import draw_confusion, evaluate, plot_trimap, write_trimap
    from kzoo.metrics import TrimapMetrics
    from kzoo.zoo import open_model

    model = open_model(args.model)
    name = args.dataset or dataset_name(args.data, model)
    dataset = open_dataset(name, args.data, args.split)
    options: dict[str, Any] = prediction_options(args)
    if args.protocol:
        options = {"protocol": protocol_of(args, model)}
    trimap = TrimapMetrics(model.num_classes, dataset.labels.ignore_label)
    options |= {**refinement_option(args, model), "metrics": [trimap] if args.trimap else []}
    if args.setting is not None:
        options["classes"] = _candidates(args, model)
    results = evaluate(model, dataset, **options, progress=_show_progress)
    refinement = results.protocol.get("refinement")
    refined = f", refined by {refinement['class']}" if refinement else ""
    print(f"{args.model} on {name} {args.split}, {results.pictures} pictures{refined}")
    print("\n".join(_table(results)))
    zero_shot = _zero_shot(results, model) if args.setting != "pure" else {}
    for key, value in zero_shot.items():
        print(f"  {_ZERO_SHOT_TITLES[key]:16}  {100 * value:6.2f}")
    written = [args.json] if args.json else []
    if out:
        written.append(out / "results.json")
        draw_confusion(results, out / "confusion.png")
    for file in written:
        with atomic_write(file) as temporary:
            temporary.write_text(
                json.dumps({"model": str(args.model), **results.to_json(), **zero_shot}, indent=1) + "\n"
            )
    if out:
        written.append(out / "confusion.png")
    if args.trimap:
        write_trimap(trimap.result(), args.trimap)
        plot_trimap({str(args.model): trimap.result()}, args.trimap.with_suffix(".png"))
        written += [args.trimap, args.trimap.with_suffix(".png")]
    for file in written:
        print(f"wrote {file}")
    return 0


def protocol_of(args: argparse.Namespace, model: Any) -> Protocol:
    """The protocol that the command line names, with the sizes in the network's card.

    Raises:
        ValueError: the card has none, or another; or options that the protocol does not take.
    """
    from kzoo.inference.protocols import MMSegmentation, PyTorchEncoding

    card = getattr(model, "card", None)
    evaluation = card.evaluation if card else None
    if evaluation is None or evaluation.protocol != args.protocol:
        has = f"its card's protocol is {evaluation.protocol}" if evaluation else "it has no card that names a protocol"
        raise ValueError(
            f"--protocol {args.protocol} takes its sizes from the card of the network, but {has}. "
            "Leave --protocol out, or use --scales, --flip, --window and --stride."
        )
    if args.window or args.stride or (args.protocol == "pytorch-encoding" and (args.flip or args.scales != [1.0])):
        raise ValueError(
            f"--protocol {args.protocol} decides the windows"
            f"{', the scales and the flip' if args.protocol == 'pytorch-encoding' else ''} itself; leave them out."
        )
    sizes: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in evaluation.args.items()
    }
    if args.protocol == "pytorch-encoding":
        return PyTorchEncoding(**sizes)
    return MMSegmentation(**sizes, scales=tuple(args.scales), flip=args.flip)


def dataset_name(folder: Path, model: Any) -> str:
    """The kind of dataset that `folder` holds, as far as its description or the network's classes tell."""
    from kzoo.data import dataset_names
    from kzoo.inference import matching_dataset

    if (folder / "dataset.yaml").is_file():
        return "folder"
    name = matching_dataset(model.class_names)
    if name is None:
        raise ValueError(
            f"Say which kind of dataset {str(folder)!r} is: --dataset with one of {', '.join(dataset_names())}. "
            f"The network's classes are no built-in dataset's: {', '.join(model.class_names)}."
        )
    return name


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="" if done < total else "\r", file=sys.stderr, flush=True)


def _table(results: Results) -> list[str]:
    width = max(len(name) for name in (*results.iou, "pixel accuracy"))
    rows = [f"  {name:{width}}  {100 * value:6.2f}" for name, value in results.iou.items()]
    means = {
        "mIoU": results.miou,
        "pixel accuracy": results.pixel_accuracy,
        "boundary IoU": results.boundary_iou,
    }
    return [*rows, *(f"{name:{width + 2}}  {100 * value:6.2f}" for name, value in means.items())]


def _candidates(args: argparse.Namespace, model: Any) -> tuple[int, ...] | None:
    """The classes that compete in the setting that the command line names; None is all."""
    unseen: tuple[int, ...] | None = getattr(model, "unseen", None)
    if unseen is None:
        raise ValueError(f"--setting is of zero-shot networks, which {args.model} is not: it has seen all its classes.")
    return unseen if args.setting == "pure" else None


def _zero_shot(results: Results, model: Any) -> dict[str, float]:
    """Seen, unseen and harmonic mIoU of a zero-shot network; nothing of any other."""
    if not hasattr(model, "unseen"):
        return {}
    from kzoo.metrics import zero_shot_scores
    from kzoo.models.zero_shot import ClassSplit

    names = tuple(results.iou)
    split = ClassSplit(names, *(tuple(names[label] for label in group) for group in (model.unseen, model.ignored)))
    scores = zero_shot_scores(results.confusion, split)
    return {key: getattr(scores, key) for key in _ZERO_SHOT_TITLES}
