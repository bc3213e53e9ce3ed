from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

import kzoo
from kzoo.crf import load_preset
from kzoo.models import create_model
from kzoo.training.config import load_config
from kzoo.training.run_folder import RunInfo, write_info
from kzoo.zoo import loading, read_card, registry

REPOSITORY = Path(__file__).parents[2]
ARGS = {
    "backbone": "mobilenet_v2",
    "backbone_args": {"width": 0.35},
    "output_stride": 32,
    "num_codewords": 4,
    "filters": 8,
}
RECIPE = {
    "model": {"name": "encnet", "args": ARGS, "backbone_weights": "imagenet"},
    "data": {"dataset": "camvid", "root": "camvid", "crop": [32, 48], "batch_size": 2},
    "optimizer": {"name": "sgd", "learning_rate": 0.01},
    "train": {"epochs": 2, "seed": 5},
}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, writing into an empty zoo."""
    spec = importlib.util.spec_from_file_location("ship_run", REPOSITORY / "tools" / "ship_run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folders = {"CARDS": tmp_path / "cards", "WEIGHTS": tmp_path / "weights", "LOGS": tmp_path / "logs"}
    for name, folder in folders.items():
        monkeypatch.setattr(module, name, folder)
    monkeypatch.setattr(registry, "CARDS", folders["CARDS"])
    monkeypatch.setattr(loading, "WEIGHTS", folders["WEIGHTS"])
    return module


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "log.csv").write_text("epoch,loss\n1,3\n2,2\n")
    write_info(folder, RunInfo("kzoo train recipe.yaml", "c0ffee", ("road", "sky"), ((0, 0, 0), (1, 2, 3)), 255))
    create_model("encnet", 2, ARGS).save_weights(folder / "best.weights.h5")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def test_a_run_becomes_a_network_of_the_zoo(tool: ModuleType, run: Path, tmp_path: Path) -> None:
    result = tmp_path / "val.json"
    result.write_text(
        json.dumps(
            {
                "miou": 0.123456,
                "pixel_accuracy": 0.5,
                "boundary_iou": 0.25,
                "hiou": 0.3,
                "iou": {"road": 0.1, "sky": None},
            }
        )
    )
    first = [str(run), "tiny", "--recipe", str(run / "recipe.yaml"), "--description", "A test."]
    measured = ["--result", str(result), "--split", "val", "--protocol", "single", "--command", "kzoo eval tiny"]
    assert tool.main(first) == 0
    card = read_card(tmp_path / "cards" / "tiny.yaml")
    assert (card.trained.seed, card.trained.epochs, card.trained.commit) == (5, 2, "c0ffee")
    assert card.trained.command == "kzoo train recipe.yaml"
    assert (card.input_size, card.dataset, card.class_names) == ((32, 48), "camvid", ("road", "sky"))
    assert card.architecture.args == ARGS  # without the backbone's starting weights
    assert "CamVid" in card.licence.notice
    assert "Apache-2.0" in card.licence.notice
    assert card.results == ()
    assert (tmp_path / "logs" / "tiny.csv").read_text() == (run / "log.csv").read_text()

    # Results are added once the shipped file has been measured, and stay with the next call.
    tool.main([str(run), "tiny", *measured])
    tool.main([str(run), "tiny"])
    card = read_card(tmp_path / "cards" / "tiny.yaml")
    assert [(r.split, r.protocol, r.metrics, r.iou) for r in card.results] == [
        ("val", "single", {"miou": 0.12346, "pixel_accuracy": 0.5, "boundary_iou": 0.25, "hiou": 0.3}, {"road": 0.1})
    ]
    model = kzoo.load("tiny")
    assert model.count_params() == card.parameters

    # Another CRF: what was measured does not hold for it.
    preset = tmp_path / "crf.yaml"
    preset.write_text(yaml.safe_dump(load_preset("deeplab_v1")))
    tool.main([str(run), "tiny", "--crf", str(preset)])
    assert read_card(tmp_path / "cards" / "tiny.yaml").results == ()
    tool.main([str(run), "tiny", *measured])
    tool.main([str(run), "tiny"])
    assert len(read_card(tmp_path / "cards" / "tiny.yaml").results) == 1

    # Nor for other weights.
    other = create_model("encnet", 2, ARGS)
    other.set_weights([np.ones_like(value) for value in other.get_weights()])
    other.save_weights(run / "best.weights.h5")
    tool.main([str(run), "tiny"])
    assert read_card(tmp_path / "cards" / "tiny.yaml").results == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "A new card needs --recipe and --description."),
        (["--recipe", "absent.yaml", "--description", "d"], "There is no recipe 'absent.yaml'"),
        (["--result", "x.json"], "--result, --split, --protocol and --command go together"),
    ],
)
def test_errors(tool: ModuleType, run: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        tool.main([str(run), "tiny", *arguments])


def test_a_network_that_started_from_another_has_the_terms_of_both(tool: ModuleType, tmp_path: Path) -> None:
    card = REPOSITORY / "kzoo" / "zoo" / "cards" / "encnet_mnv2_camvid.yaml"
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / card.name).write_text(card.read_text())
    licence = tool.licence(load_config(REPOSITORY / "zoo_configs" / "voc_animals" / "finetune.yaml"))
    assert "CamVid" in licence.data and "PASCAL VOC 2012" in licence.data
    assert "started from encnet_mnv2_camvid (Trained by the kzoo authors on CamVid" in licence.notice


def test_a_zero_shot_network_has_the_terms_of_its_features_and_words(tool: ModuleType, tmp_path: Path) -> None:
    recipes = REPOSITORY / "zoo_configs" / "voc_animals" / "zero_shot"
    (tmp_path / "config.yaml").write_text((recipes / "features.yaml").read_text())
    config = load_config(recipes / "cagnet.yaml")
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, init=str(tmp_path)))
    notice = tool.licence(config).notice
    assert "started from a run (Trained by the kzoo authors on PASCAL VOC 2012" in notice
    assert "MobileNetV2's ImageNet weights, The TensorFlow Authors, Apache-2.0); with word vectors as SPNet's" in notice
    assert notice.count("word vectors") == 1
    section = dataclasses.replace(config.zero_shot, embeddings=("mine.npy",))
    with pytest.raises(SystemExit, match=r"No terms are known for the word vectors \['mine.npy'\]"):
        tool.licence(dataclasses.replace(config, zero_shot=section))


def test_too_large_networks_are_refused(tool: ModuleType, run: Path, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(tool, "MAX_PARAMETERS", 1000)
    with pytest.raises(SystemExit, match=r"networks in the package have at most 1,000"):
        tool.main([str(run), "tiny", "--recipe", str(run / "recipe.yaml"), "--description", "d"])
    assert not (tmp_path / "cards" / "tiny.yaml").exists()
    assert list((tmp_path / "weights").iterdir()) == []
