from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kzoo.zoo import get_card, is_model, list_models, registry

BARE = {
    "description": "A test.",
    "architecture": {"name": "fcn"},
    "class_names": ["road", "sky"],
    "palette": [[0, 0, 0], [1, 2, 3]],
    "ignore_label": 255,
    "input_size": [32, 48],
    "normalization": {"mean": [0, 0, 0], "std": [255, 255, 255]},
    "parameters": 100,
    "licence": {"weights": "w", "data": "d", "notice": "n"},
}
SHIPPED = {
    "weights": {"file": "x", "sha256": "ab", "bytes": 5, "dtype": "float16"},
    "trained": {"config": "c", "command": "k", "seed": 0, "commit": "abc", "epochs": 3, "log": "l"},
}


@pytest.fixture(autouse=True)
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CARDS", tmp_path)
    entries = {
        "encnet_r101_camvid": {"dataset": "camvid"},
        "encnet_r50_camvid": {"dataset": "camvid", **SHIPPED},
        "fcn_r50_animals": {"dataset": "voc_animals", **SHIPPED},
    }
    for name, values in entries.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **BARE, **values}))


def test_all_in_natural_order() -> None:
    assert list_models() == ["encnet_r50_camvid", "encnet_r101_camvid", "fcn_r50_animals"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("encnet*", ["encnet_r50_camvid", "encnet_r101_camvid"]),
        ("*r50*", ["encnet_r50_camvid", "fcn_r50_animals"]),
        ("EncNet_R50_*", ["encnet_r50_camvid"]),
        ("r50", ["encnet_r50_camvid", "fcn_r50_animals"]),
        ("r50*", []),
        ("[f]*", ["fcn_r50_animals"]),
    ],
)
def test_filter(pattern: str, names: list[str]) -> None:
    assert list_models(pattern) == names


def test_pretrained_and_dataset() -> None:
    assert list_models(pretrained=True) == ["encnet_r50_camvid", "fcn_r50_animals"]
    assert list_models(pretrained=False) == ["encnet_r101_camvid"]
    assert list_models("encnet*", pretrained=True, dataset="camvid") == ["encnet_r50_camvid"]
    with pytest.raises(ValueError, match=r"Unknown dataset of the zoo 'camvd'. Did you mean 'camvid'\?"):
        list_models(dataset="camvd")


def test_card_by_name_and_near_matches() -> None:
    assert is_model("fcn_r50_animals")
    assert not is_model("fcn_r50")
    assert get_card("fcn_r50_animals").dataset == "voc_animals"
    with pytest.raises(ValueError, match=r"Unknown model 'fcn_r50_animal'. Did you mean 'fcn_r50_animals'") as error:
        get_card("fcn_r50_animal")
    assert "`kzoo list` shows all models." in str(error.value)


def test_a_card_that_changes_is_read_again() -> None:
    assert get_card("fcn_r50_animals").parameters == 100
    path = registry.CARDS / "fcn_r50_animals.yaml"
    path.write_text(path.read_text().replace("parameters: 100", "parameters: 200"))
    assert get_card("fcn_r50_animals").parameters == 200
