"""Every network of the zoo."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import kzoo
from kzoo.zoo.registry import CARDS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", kzoo.list_models())
def test_the_architecture_has_the_cards_parameters(name: str) -> None:
    model = kzoo.load(name, weights=None)
    assert model.count_params() == kzoo.get_card(name).parameters


@pytest.mark.parametrize("name", kzoo.list_models(pretrained=True))
def test_shipped_weights_load_and_see_more_than_one_class(name: str) -> None:
    model, card = kzoo.load(name), kzoo.get_card(name)
    assert model.fresh_layers == ()
    noise = np.random.default_rng(0).uniform(0, 255, (1, 97, 129, 3)).astype("float32")
    logits = np.asarray(model(noise))
    assert logits.shape == (1, 97, 129, card.num_classes)
    assert np.isfinite(logits).all()
    assert card.weights.bytes < 12_000_000


@pytest.mark.parametrize("name", kzoo.list_models(pretrained=True))
def test_provenance_is_at_hand(name: str) -> None:
    card = kzoo.get_card(name)
    assert (REPOSITORY / card.trained.config).is_file()
    with (CARDS.parent / "logs" / card.trained.log).open() as file:
        assert len(list(csv.DictReader(file))) == card.trained.epochs
    assert card.results, "a shipped network has measured results"
    assert all(0 <= value <= 1 for result in card.results for value in (*result.metrics.values(), *result.iou.values()))


def test_no_file_without_a_card() -> None:
    cards = [kzoo.get_card(name) for name in kzoo.list_models(pretrained=True)]
    for folder, listed in (("weights", {c.weights.file for c in cards}), ("logs", {c.trained.log for c in cards})):
        assert {path.name for path in (CARDS.parent / folder).glob("*") if path.suffix in (".h5", ".csv")} == listed
