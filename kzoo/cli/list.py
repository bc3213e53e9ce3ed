"""`kzoo list`: the zoo's models."""

from __future__ import annotations

import argparse

from kzoo.zoo.registry import get_card, list_models

HELP = "List the models of the zoo."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("filter", nargs="?", default="", help="a pattern ('encnet_*') or a part of the name")
    parser.add_argument("--dataset", help="only models trained on this dataset")
    parser.add_argument("--pretrained", action="store_true", default=None, help="only models with weights")


def run(args: argparse.Namespace) -> int:
    """Prints the table; 1 if no model fits."""
    names = list_models(args.filter, pretrained=args.pretrained, dataset=args.dataset)
    if not names:
        print("No model fits.")
        return 1
    rows = [("model", "dataset", "classes", "parameters", "weights", "mIoU")]
    for name in names:
        card = get_card(name)
        size = f"{card.weights.bytes / 1e6:.1f} MB" if card.weights else "published" if card.source else "-"
        # The first result is the card's headline; what others measured says so.
        results, mark = (card.results, "") if card.results else (card.published if card.source else (), " published")
        miou = results[0].metrics.get("miou") if results else None
        score = f"{miou:.1%} {results[0].split}{mark}" if miou is not None else "-"
        parameters = f"{card.parameters / 1e6:.1f} M"
        rows.append((name, card.dataset, str(card.num_classes), parameters, size, score))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0
