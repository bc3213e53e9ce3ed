"""The registry: the cards in `cards/`, one YAML file a model. Reads no weights and imports no TensorFlow."""

from __future__ import annotations

import fnmatch
import functools
import re
from pathlib import Path

from kzoo.errors import unknown_name
from kzoo.zoo.card import Card, read_card

CARDS = Path(__file__).parent / "cards"


def list_models(filter: str = "", *, pretrained: bool | None = None, dataset: str | None = None) -> list[str]:
    """Names of the zoo's models, in natural order (`r50` before `r101`).

    Args:
        filter: a shell pattern over the whole name (`"encnet_*"`), or, without `*`, `?` and `[`, a part of it;
            case does not matter. All by default.
        pretrained: True for models with weights, shipped or published, False for those without.
        dataset: only models of this dataset.

    Raises:
        ValueError: no model has this dataset.
    """
    pattern = filter.lower() if any(sign in filter for sign in "*?[") else f"*{filter.lower()}*"
    names = [name for name in _names() if fnmatch.fnmatchcase(name.lower(), pattern)]
    if pretrained is not None:
        names = [name for name in names if get_card(name).pretrained == pretrained]
    if dataset is not None:
        datasets = {get_card(name).dataset for name in _names()}
        if dataset not in datasets:
            raise unknown_name("dataset of the zoo", dataset, datasets)
        names = [name for name in names if get_card(name).dataset == dataset]
    return names


def is_model(name: str) -> bool:
    """Whether the zoo has a model of this name."""
    return name in _names()


def get_card(name: str) -> Card:
    """The card of a model.

    Raises:
        ValueError: no such model (the message gives the near matches), or its card is not valid.
    """
    if not is_model(name):
        raise unknown_name("model", name, _names(), "`kzoo list` shows all models.")
    path = CARDS / f"{name}.yaml"
    return _read(path, path.stat().st_mtime_ns)


def _names() -> list[str]:
    return sorted((path.stem for path in CARDS.glob("*.yaml")), key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key: digits compare as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


@functools.cache
def _read(path: Path, modified: int) -> Card:
    return read_card(path)
