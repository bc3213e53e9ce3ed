"""ImageNet weights of the ResNets: one card for each stem and depth that somebody published."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kzoo.strict_yaml import from_mapping, read_yaml
from kzoo.zoo.card import Licence, Normalization, Published, Source

if TYPE_CHECKING:
    from kzoo.backbones import Backbone

CARDS = Path(__file__).parent / "backbone_cards"


@dataclass(frozen=True)
class BackboneCard:
    """One set of ImageNet weights.

    Attributes:
        name: the card's file name.
        description: one sentence.
        backbone, stem: the network that they fit.
        normalization: of the pictures they learned from; a network that starts from them does the same.
        source: the published file.
        licence: terms.
        published: ImageNet accuracy (top 1) that others measured.
    """

    name: str
    description: str
    backbone: str
    stem: str
    normalization: Normalization
    source: Source
    licence: Licence
    published: tuple[Published, ...] = ()


@functools.cache
def backbone_cards() -> tuple[BackboneCard, ...]:
    """All cards.

    Raises:
        ValueError: a card is not valid.
    """
    cards = []
    for path in sorted(CARDS.glob("*.yaml")):
        try:
            card = from_mapping(BackboneCard, read_yaml(path, "backbone card"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        cards.append(card)
    return tuple(cards)


def load_imagenet(model: Backbone, backbone: str, stem: str, path: str | os.PathLike[str] | None = None) -> None:
    """Sets a ResNet's weights to the published ones, fetched and converted where necessary.

    Args:
        model: the network, at any output stride.
        backbone, stem: what it is, e.g. `"resnet50"`, `"s"`.
        path: a checkpoint of the publisher's layout, taken in place of the published one.

    Raises:
        FileNotFoundError: there is no file at `path`.
        ValueError: nobody published weights of this depth and stem, or the checkpoint does not fit.
        FetchError: they are not in the cache and no address gives them.
    """
    from kzoo.backbones import create
    from kzoo.zoo.published import load_checkpoint, load_published

    cards = {(card.backbone, card.stem): card for card in backbone_cards()}
    if (backbone, stem) not in cards:
        known = ", ".join(f"{name} with stem {of!r}" for name, of in cards)
        raise ValueError(
            f"There are no published ImageNet weights of {backbone} with stem {stem!r}. There are: {known}."
        )
    card = cards[backbone, stem]
    if path is None:
        load_published(
            model, card.name, card.source, lambda: create(backbone, output_stride=32, stem=stem), lambda: None
        )
    else:
        load_checkpoint(model, Path(path), card.source)
