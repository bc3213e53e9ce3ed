"""A refinement in place of the card's, and networks that start from those with and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import kzoo
from kzoo.files import digest
from kzoo.models import create_model
from kzoo.zoo import loading, registry, start_from
from kzoo.zoo.weights_io import load_weights, save_weights

ARGS = {"backbone": "tiny", "filters": 8, "aux": False}
RNN = {"refine": "rnn", "refine_args": {"spatial_weight": 1.5, "iterations": 1}}
CARD: dict[str, Any] = {
    "name": "tiny",
    "description": "A test.",
    "dataset": "camvid",
    "class_names": ["road", "sky", "car"],
    "palette": [[0, 0, 0], [1, 2, 3], [4, 5, 6]],
    "ignore_label": 255,
    "input_size": [32, 32],
    "normalization": {"mean": [0, 0, 0], "std": [255, 255, 255]},
    "parameters": 1,
    "licence": {"weights": "w", "data": "d", "notice": "n"},
    "trained": {"config": "c", "command": "k", "seed": 0, "commit": "abc", "epochs": 3, "log": "l"},
}


@pytest.fixture(scope="module")
def source(tiny_backbone: str) -> Any:
    """A network whose weights are nowhere the initial ones."""
    model = create_model("fcn", 3, ARGS)
    rng = np.random.default_rng(0)
    model.set_weights([value + rng.uniform(0.1, 0.2, value.shape).astype("float32") for value in model.get_weights()])
    return model


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry, "CARDS", tmp_path)
    monkeypatch.setattr(loading, "WEIGHTS", tmp_path)
    return tmp_path


def ship(folder: Path, model: Any, args: dict[str, Any]) -> None:
    """Writes the network's weights and its card."""
    file = folder / "tiny.weights.h5"
    save_weights(model, file)
    weights = {"file": file.name, "sha256": digest(file), "bytes": file.stat().st_size, "dtype": "float16"}
    card = {**CARD, "architecture": {"name": "fcn", "args": args}, "weights": weights}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(card))


def assert_kept(model: Any, source: Any) -> None:
    """All weights but the refinement's are the source's, as well as float16 holds them."""
    ours, theirs = ([w for w in m.weights if "/refinement/" not in w.path] for m in (model, source))
    for weight, old in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(weight, old, rtol=1e-3, atol=1e-5 * np.abs(old).max(), err_msg=weight.path)


def test_refinement_in_place_of_the_cards(zoo: Path, source: Any, caplog: pytest.LogCaptureFixture) -> None:
    ship(zoo, source, ARGS)
    model = kzoo.load("tiny", **RNN)
    assert model.fresh_layers == ("refinement",)
    assert "tiny: fresh, to be trained: refinement. All other weights are kept." in caplog.text
    assert_kept(model, source)
    np.testing.assert_array_equal(model.refinement.spatial_weights, 1.5 * np.eye(3))
    dense = kzoo.load("tiny", refine="dense", refine_args={"preset": "pydensecrf", "iterations": 2})
    assert (dense.fresh_layers, dense.refinement.iterations, dense.refinement.bilateral_weight) == ((), 2, 10.0)
    # A card with a refinement, whose file has its weights.
    model.refinement.compatibility.assign(np.full((3, 3), 0.25))
    ship(zoo, model, {**ARGS, **RNN})
    same = kzoo.load("tiny")
    assert same.fresh_layers == ()
    np.testing.assert_array_equal(same.refinement.compatibility, model.refinement.compatibility)
    without = kzoo.load("tiny", refine=None)
    assert (without.refinement, without.fresh_layers) == (None, ())
    assert_kept(without, source)
    five = kzoo.load("tiny", num_classes=5)
    assert five.fresh_layers == ("classifier", "refinement")
    np.testing.assert_array_equal(five.refinement.compatibility, -np.eye(5))


def test_starting_with_and_without_a_refinement(tmp_path: Path, source: Any) -> None:
    models = (create_model("fcn", classes, {**ARGS, **args}) for classes, args in ((3, RNN), (5, RNN), (3, {})))
    with_crf, five, plain = models
    for file in ("plain.keras", "plain.weights.h5"):
        source.save(tmp_path / file) if file.endswith(".keras") else save_weights(source, tmp_path / file)
        with_crf.refinement.compatibility.assign(np.full((3, 3), 0.25))
        assert start_from(with_crf, str(tmp_path / file)) == ("refinement",)
        assert_kept(with_crf, source)
        np.testing.assert_array_equal(with_crf.refinement.compatibility, np.full((3, 3), 0.25))
    with_crf.save(tmp_path / "crf.keras")
    save_weights(with_crf, tmp_path / "crf.weights.h5")
    for file in ("crf.keras", "crf.weights.h5"):
        for model in (with_crf, plain):
            model.set_weights([np.zeros(weight.shape) for weight in model.weights])
            assert start_from(model, str(tmp_path / file)) == ()
            assert_kept(model, source)
        np.testing.assert_array_equal(with_crf.refinement.compatibility, np.full((3, 3), 0.25))
        assert "refinement" in start_from(five, str(tmp_path / file))
        np.testing.assert_array_equal(five.refinement.compatibility, -np.eye(5))
    # A network's own file has to have all of its weights.
    with pytest.raises(ValueError, match=r"missing in the file: 'refinement'"):
        load_weights(with_crf, tmp_path / "plain.weights.h5")
