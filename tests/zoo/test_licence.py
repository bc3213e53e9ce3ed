"""Weights whose terms have to be accepted: never fetched before, and CRF-RNN's with other classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="the checkpoint is made by the reference in PyTorch")

import kzoo  # noqa: E402
from kzoo.cli import main  # noqa: E402
from kzoo.errors import FetchError  # noqa: E402
from kzoo.zoo import fetching, published, registry  # noqa: E402
from tests.parity.crfrnn_files import save_h5  # noqa: E402
from tests.parity.torch_fcn8s import CRFRNN, randomised  # noqa: E402

WIDTH = 1 / 32


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "crfrnn.h5"
    save_h5(randomised(CRFRNN(3, WIDTH)), path)
    return path


@pytest.fixture
def card(tmp_path: Path, home: Path, server: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A zoo of one card, a small CRF-RNN without a published checksum, whose file the server has."""
    monkeypatch.delenv("KZOO_ACCEPT_LICENSE", raising=False)
    monkeypatch.setattr(registry, "CARDS", tmp_path / "cards")
    registry.CARDS.mkdir()
    url = server.serve("/crfrnn.h5", checkpoint.read_bytes())
    full = yaml.safe_load((Path(kzoo.__file__).parent / "zoo" / "cards" / "crfrnn_vgg16_voc.yaml").read_text())
    full["name"] = "tiny"
    full["architecture"]["args"]["backbone_args"] = {"width": WIDTH}
    full["source"]["file"] = {"filename": "crfrnn.h5", "urls": [url]}
    labels = {"class_names": ["a", "b", "c"], "palette": [[0, 0, 0], [1, 1, 1], [2, 2, 2]], "ignore_label": 255}
    (registry.CARDS / "tiny.yaml").write_text(yaml.safe_dump({**full, **labels}))
    return "tiny"


def test_nothing_is_fetched_before_the_terms_are_accepted(
    card: str, home: Path, server: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for wrong in ({}, {"accept_license": "commercial"}):
        with pytest.raises(FetchError) as caught:
            kzoo.load(card, **wrong)
        for words in (
            "before you accept their terms, 'non-commercial': non-commercial use only",
            "kzoo.load('tiny', accept_license='non-commercial')",
            "KZOO_ACCEPT_LICENSE=non-commercial",
            "weights=PATH",
        ):
            assert words in str(caught.value)
    assert server.requests == []
    assert main(["info", card]) == 0
    assert "only for those who accept it: KZOO_ACCEPT_LICENSE=non-commercial" in capsys.readouterr().out
    given = kzoo.load(card, weights=checkpoint)
    assert server.requests == []
    fetched = kzoo.load(card, accept_license="non-commercial")
    for weight, expected in zip(fetched.weights, given.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    # What lies in the cache was fetched by one who accepted; it is converted once, for its checksum is pinned.
    monkeypatch.setattr(published, "load_checkpoint", lambda *_: pytest.fail("converted again"))
    kzoo.load(card)
    assert server.asked() == ["/crfrnn.h5"]


def test_the_environment_accepts_too(card: str, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_fetch_from_any", lambda *_: (_ for _ in ()).throw(FetchError("would fetch")))
    for accepted in ("non-commercial", "unlicensed, non-commercial"):
        monkeypatch.setenv("KZOO_ACCEPT_LICENSE", accepted)
        with pytest.raises(FetchError, match="would fetch"):
            kzoo.load(card)
    for other in ("yes", "unlicensed"):
        monkeypatch.setenv("KZOO_ACCEPT_LICENSE", other)
        with pytest.raises(FetchError, match="accept their terms"):
            kzoo.load(card)


def test_other_classes_keep_all_that_does_not_depend_on_them(card: str, checkpoint: Path, tmp_path: Path) -> None:
    source = kzoo.load(card, weights=checkpoint)
    source.save_weights(tmp_path / "own.weights.h5")
    scores = ["score2", "score4", "score_fr", "score_pool3", "score_pool4", "upsample"]
    for path in (checkpoint, tmp_path / "own.weights.h5"):
        model = kzoo.load(card, weights=path, num_classes=7)
        assert list(model.fresh_layers) == ["refinement", *scores], path
        for weight, expected in zip(model.backbone.weights, source.backbone.weights, strict=True):
            np.testing.assert_array_equal(weight, expected)
        assert model.upsample.kernel.shape == (16, 16, 7, 7)
    # From nothing: the fresh heads are scores of 0 on the way up, and the CRF is the Potts model.
    assert not np.any(model(np.zeros((1, 16, 16, 3)), refine=False))
    np.testing.assert_array_equal(model.refinement.compatibility, -np.eye(7))
    keras.utils.clear_session()
