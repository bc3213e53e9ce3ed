"""`kzoo data`: looking after datasets."""

from __future__ import annotations

import argparse
from pathlib import Path

from kzoo.cli.quiet import import_tensorflow

HELP = "Check a dataset's files, or look at what training sees of them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="read every file and name each bad one")
    preview = actions.add_parser("preview", help="write a picture of augmented training samples")
    convert = actions.add_parser("convert-pcontext", help="make PASCAL Context's masks of trainval_merged.json")
    for action in (check, preview):
        action.add_argument(
            "--dataset", default="folder", help="folder (the default), or a name of docs/data.md, e.g. camvid, voc2012"
        )
    for action in (check, preview, convert):
        action.add_argument("--data", required=True, type=Path, help="the dataset's folder")
    check.add_argument("--split", nargs="+", required=True, metavar="S", help="e.g. train val")
    preview.add_argument("--split", default="train", metavar="S", help="default: train")
    preview.add_argument("--crop", nargs=2, type=int, default=(320, 320), metavar=("H", "W"), help="default: 320 320")
    preview.add_argument("--count", type=int, default=8, metavar="N", help="how many samples; default: 8")
    preview.add_argument("--seed", type=int, default=0)
    preview.add_argument("--output", type=Path, default=Path("preview.png"), help="default: preview.png")
    convert.add_argument("--annotations", type=Path, metavar="JSON", help="default: trainval_merged.json in --data")


def run(args: argparse.Namespace) -> int:
    """Runs the action; `check` returns 1 if it found anything."""
    return {"check": _check, "preview": _preview, "convert-pcontext": _convert}[args.action](args)


def _check(args: argparse.Namespace) -> int:
    from kzoo.data import check_dataset, open_dataset

    bad = 0
    for split in args.split:
        dataset = open_dataset(args.dataset, args.data, split)
        problems = check_dataset(dataset)
        for problem in problems:
            print(f"{problem.kind}: {problem.message}")
        verdict = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "all good"
        print(f"{dataset.name} {split}: {len(dataset)} samples, {verdict}")
        bad += len(problems)
    return 1 if bad else 0


def _preview(args: argparse.Namespace) -> int:
    import_tensorflow()
    from kzoo.data import AugmentConfig, open_dataset
    from kzoo.data.preview import preview
    from kzoo.files import atomic_write

    dataset = open_dataset(args.dataset, args.data, args.split)
    picture = preview(dataset, crop=tuple(args.crop), augment=AugmentConfig(), count=args.count, seed=args.seed)
    with atomic_write(args.output) as path:
        picture.save(path, format="PNG")
    print(f"Wrote {args.output}")
    return 0


def _convert(args: argparse.Namespace) -> int:
    from kzoo.data.merged_annotations import convert_merged_annotations
    from kzoo.data.pascal_context import MERGED_ANNOTATIONS

    def show(done: int, count: int) -> None:
        if done % 500 == 0 or done == count:
            print(f"{done} of {count} masks", flush=True)

    counts = convert_merged_annotations(args.annotations or args.data / MERGED_ANNOTATIONS, args.data, show)
    print(f"Wrote the masks of {counts['train']} train and {counts['val']} val pictures into {args.data}")
    return 0
