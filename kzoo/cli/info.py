"""`kzoo info NAME`: a model's card."""

from __future__ import annotations

import argparse

from kzoo.zoo.cache import cached
from kzoo.zoo.card import Card, Source
from kzoo.zoo.registry import get_card

HELP = "Show a model's card: classes, results, training, licence."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("name", help="a name from `kzoo list`")


def run(args: argparse.Namespace) -> int:
    """Prints the card."""
    print("\n".join(_lines(get_card(args.name))))
    return 0


def _lines(card: Card) -> list[str]:
    arguments = ", ".join(f"{key}={value!r}" for key, value in card.architecture.args.items())
    lines = [
        card.name,
        f"  {card.description}",
        f"  architecture  {card.architecture.name}({arguments})",
        f"  parameters    {card.parameters:,}",
        f"  input         RGB 0..255, any size; trained at {card.input_size[0]}x{card.input_size[1]}",
        f"  dataset       {card.dataset}, ignore label {card.ignore_label}",
        f"  classes       {', '.join(card.class_names)}",
    ]
    if card.weights:
        weights = card.weights
        lines.append(f"  weights       {weights.file}, {weights.bytes / 1e6:.1f} MB, {weights.dtype}")
        lines.append(f"                sha256 {weights.sha256}")
    elif card.source:
        lines += _source(card.source)
    else:
        lines.append("  weights       none")
    if card.trained:
        trained = card.trained
        lines.append(f"  trained       {trained.epochs} epochs, seed {trained.seed}, commit {trained.commit}")
        lines.append(f"                {trained.command}")
        lines.append(f"                config {trained.config}, log {trained.log}")
    for result in card.results:
        lines.append(f"  measured      {_metrics(result.metrics)} ({result.split}; {result.protocol})")
        lines.append(f"                {result.command}")
        if result.iou:
            lines.append(f"                IoU: {_metrics(result.iou)}")
    for published in card.published:
        how = f"{published.split}; {published.protocol}" if published.protocol else published.split
        lines.append(f"  published     {published.model}: {_metrics(published.metrics)} ({how})")
        lines.append(f"                {published.source}; not measured by kzoo")
    if card.evaluation:
        lines.append(
            f"  to check      kzoo eval {card.name} --protocol {card.evaluation.protocol} --data DIR --split val"
        )
    licence = card.licence
    lines.append(f"  licence       weights: {licence.weights}; data: {licence.data}")
    lines.append(f"                {licence.notice}")
    return lines


def _source(source: Source) -> list[str]:
    """The published file and what the cache holds of it."""
    state = cached(source.file)
    size = f"{state.bytes / 1e6:.1f} MB, " if state.bytes else ""
    return [
        f"  weights       {source.file.filename}, published, {source.file.checksum or 'no checksum'}",
        *(f"                {url}" for url in source.file.urls),
        f"                address checked: {source.checked}; converter: {source.converter}",
        f"  cache         {state.status}: {size}{state.detail}",
        f"                {state.path}",
    ]


def _metrics(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1%}" for name, value in values.items())
