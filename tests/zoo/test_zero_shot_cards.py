"""The cards of zero-shot networks: splits as the authors list them, published results, terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kzoo
from kzoo.convert import SOURCES
from kzoo.data import COCO_STUFF_VALUES
from kzoo.errors import FetchError
from kzoo.models.zero_shot.vector_file import key_of
from kzoo.zoo.fetching import fetch

ZS3 = kzoo.list_models("zs3_*")
ZERO_SHOT = [name for name in kzoo.list_models() if "unseen" in kzoo.get_card(name).architecture.args]
SAME = {"airplane": "aeroplane", "tv": "tvmonitor"}


def unseen(name: str) -> list[str]:
    card = kzoo.get_card(name)
    return [card.class_names[label] for label in card.architecture.args["unseen"]]


def test_names() -> None:
    assert len(ZS3) == 10
    others = [
        *(f"cagnet_r101_{name}" for name in ("cocostuff", "pcontext", "voc")),
        "spnet_r101_voc",
        "cagnet_mnv2_animals",
    ]
    assert sorted(ZERO_SHOT) == sorted([*ZS3, *others])


@pytest.mark.parametrize("name", ZS3)
def test_zs3s_splits_and_files(name: str, kzoo_data: Path) -> None:
    card = kzoo.get_card(name)
    dataset, count = name.split("_")[2], int(name.rpartition("_k")[2])
    text = (kzoo_data / "embeddings" / f"zs3_{dataset.removeprefix('p')}_unseen.txt").read_text()
    listed = dict(line.split(" unseen: ") for line in text.splitlines())[str(count)].split(",")
    assert {key_of(word) for word in unseen(name)} == {key_of(SAME.get(word, word)) for word in listed}
    assert len(listed) == count
    file = card.source.file
    kind = {"voc": "pascal_voc", "pcontext": "pascal_context"}[dataset]
    assert file.filename == f"deeplab_{kind}_{count:02d}_unseen_GMMN_final.pth.tar"
    release = {"voc": "v0.1", "pcontext": "0.2"}[dataset]
    assert file.urls == (f"https://github.com/valeoai/ZS3/releases/download/{release}/{file.filename}",)
    assert file.checksum is None and card.source.checked == "never" and card.source.converter in SOURCES
    assert card.licence.accept is None


@pytest.mark.parametrize("name", ["cagnet_r101_voc", "spnet_r101_voc", "cagnet_r101_cocostuff"])
def test_spnets_splits(name: str, kzoo_data: Path) -> None:
    """The files count COCO-Stuff's 182 values, kzoo's labels the 171 that occur."""
    card = kzoo.get_card(name)
    source = "cocostuff" if "coco" in name else "voc12"
    found = {
        kind: np.load(kzoo_data / f"embeddings/spnet__{source}__{kind}_cls.npy") for kind in ("novel", "seen", "val")
    }
    values = COCO_STUFF_VALUES if "coco" in name else range(card.num_classes)
    args = card.architecture.args
    assert [values[label] for label in args["unseen"]] == found["novel"].tolist()
    trained = {label for label in range(card.num_classes) if label not in (*args["unseen"], *args.get("ignored", ()))}
    assert {values[label] for label in trained} == {*found["seen"], *found["val"]} & {*values}


def test_cagnets_context_split() -> None:
    assert sorted(unseen("cagnet_r101_pcontext")) == ["cat", "cow", "motorbike", "sofa"]
    assert kzoo.get_card("cagnet_r101_pcontext").architecture.args["unseen"] == [8, 10, 14, 18]


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_published_harmonic_means_are_those_of_seen_and_unseen(name: str) -> None:
    for published in kzoo.get_card(name).published:
        metrics = published.metrics
        if "seen_miou" in metrics:
            seen, novel = metrics["seen_miou"], metrics["unseen_miou"]
            assert metrics["hiou"] == pytest.approx(2 * seen * novel / (seen + novel), abs=1.5e-3)


def test_nothing_of_cagnets_authors_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KZOO_HOME", str(tmp_path))
    monkeypatch.delenv("KZOO_MIRROR", raising=False)
    cards = [kzoo.get_card(name) for name in ("cagnet_r101_pcontext", "cagnet_r101_voc")]
    for card in cards:
        assert card.licence.accept == "non-commercial" and card.source.converter == "cagnet"
        with pytest.raises(FetchError, match=r"(?s)No address is known for it.*give its path as weights=PATH"):
            fetch(card.source.file)
    # 183 outputs for 171 classes: which is which is nowhere stated.
    assert kzoo.get_card("cagnet_r101_cocostuff").source is None


@pytest.mark.parametrize("name", ["spnet_r101_voc", "zs3_r101_voc_k2", "cagnet_r101_voc"])
def test_other_classes_need_a_split_of_their_own(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"which of its \d+ classes are unseen .* 5 others\. Pass unseen="):
        kzoo.load(name, num_classes=5, weights=None)
    small = {"backbone": "mobilenet_v2", "backbone_args": {"width": 0.35}, "output_stride": 32}
    if name.startswith("cagnet"):
        small |= {"context_filters": 8, "classifier_filters": 8}
    whole = kzoo.load(name, weights=None, **small)
    whole.set_embeddings(np.ones(whole.embeddings.shape))
    whole.save_weights(tmp_path / "whole.weights.h5")
    model = kzoo.load(name, num_classes=5, unseen=(4,), weights=tmp_path / "whole.weights.h5", **small)
    assert (model.unseen, model.ignored, model.seen) == ((4,), (), (0, 1, 2, 3))
    fresh = set()
    for ours, theirs in zip(model.weights, whole.weights, strict=True):
        if ours.shape == theirs.shape:
            np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)
        else:
            fresh.add(ours.path.partition("/")[2].rpartition("/")[0] or "embeddings")
    assert fresh == {*model.fresh_layers} != set()
    model.set_embeddings(np.ones((5, model.embedding_size)))
    assert model(np.zeros((1, 64, 64, 3), np.float32)).shape == (1, 64, 64, 5)
