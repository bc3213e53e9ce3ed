"""`kzoo info NAME`: the card of a model, or of a backbone's ImageNet weights."""

from __future__ import annotations

import argparse
from typing import Any

from kzoo.zoo.cache import cached, conversion_path
from kzoo.zoo.card import Card, Licence, Normalization, Published, Source
from kzoo.zoo.imagenet import BackboneCard, backbone_cards
from kzoo.zoo.registry import get_card

HELP = "Show a model's card: classes, results, training, licence."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("name", help="a name from `kzoo list`, or of ImageNet weights, e.g. resnet50s")


def run(args: argparse.Namespace) -> int:
    """Prints the card of a network, or of a backbone's ImageNet weights."""
    backbones = {card.name: card for card in backbone_cards()}
    lines = _backbone_lines(backbones[args.name]) if args.name in backbones else _lines(get_card(args.name))
    print("\n".join(lines))
    return 0


def _lines(card: Card) -> list[str]:
    args = dict(card.architecture.args)
    refine, refine_args = args.pop("refine", None), args.pop("refine_args", None) or {}
    lines = [
        card.name,
        f"  {card.description}",
        f"  architecture  {card.architecture.name}({_arguments(args)})",
        *([f"  refined by    a CRF: {refine}({_arguments(refine_args)})"] if refine else []),
        f"  parameters    {card.parameters:,}",
        f"  input         RGB 0..255, any size; trained at {card.input_size[0]}x{card.input_size[1]}",
        f"  normalised    {_normalization(card.normalization)}, by the network itself",
        f"  dataset       {card.dataset}, ignore label {card.ignore_label}",
        f"  classes       {', '.join(card.class_names)}",
    ]
    if card.weights:
        weights = card.weights
        lines.append(f"  weights       {weights.file}, {weights.bytes / 1e6:.1f} MB, {weights.dtype}")
        lines.append(f"                sha256 {weights.sha256}")
    elif card.source:
        lines += _source(card.name, card.source)
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
    return [*lines, *_published(card.published), *_licence(card.licence)]


def _arguments(args: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in args.items())


def _backbone_lines(card: BackboneCard) -> list[str]:
    return [
        card.name,
        f"  {card.description}",
        f'  use           kzoo.backbones.create("{card.backbone}", stem="{card.stem}", weights="imagenet")',
        f"  normalised    {_normalization(card.normalization)}, by the networks built on it",
        *_source(card.name, card.source),
        *_published(card.published),
        *_licence(card.licence),
    ]


def _published(results: tuple[Published, ...]) -> list[str]:
    lines = []
    for result in results:
        how = f"{result.split}; {result.protocol}" if result.protocol else result.split
        lines.append(f"  published     {result.model}: {_metrics(result.metrics)} ({how})")
        lines.append(f"                {result.source}; not measured by kzoo")
        if result.command:
            lines.append(f"                to check: {result.command}")
    return lines


def _licence(licence: Licence) -> list[str]:
    lines = [f"  licence       weights: {licence.weights}; data: {licence.data}", f"                {licence.notice}"]
    if licence.accept is not None:
        lines.append(f"                fetched only for those who accept it: KZOO_ACCEPT_LICENSE={licence.accept}")
    return lines


def _normalization(normalization: Normalization) -> str:
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (normalization.mean, normalization.std))
    return f"mean {mean}; standard deviation {std}"


def _source(name: str, source: Source) -> list[str]:
    """The published file and what the cache holds of it."""
    state, conversion = cached(source.file), conversion_path(name, source.file)
    size = f"{state.bytes / 1e6:.1f} MB, " if state.bytes else ""
    return [
        f"  weights       {source.file.filename}, published, {source.file.checksum or 'no checksum'}",
        *(f"                {url}" for url in source.file.urls),
        f"                address checked: {source.checked}; converter: {source.converter}",
        f"  cache         {state.status}: {size}{state.detail}",
        f"                {state.path}",
        *([f"                converted: {conversion}"] if conversion.is_file() else []),
    ]


def _metrics(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1%}" for name, value in values.items())
