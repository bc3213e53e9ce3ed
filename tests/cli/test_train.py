"""`kzoo train`: where the run goes by default, and what it says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import kzoo.training
from kzoo.cli import main

CAMVID = Path(__file__).parents[2] / "zoo_configs" / "camvid" / "encnet_mnv2.yaml"


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The folders that runs were asked for; nothing is trained."""
    asked: list[Path] = []

    def train(config: Any, folder: Path, **options: Any) -> dict[str, Any]:
        asked.append(folder)
        return {"val_miou": 0.5, "best_epoch": 1}

    monkeypatch.setattr(kzoo.training, "train", train)
    monkeypatch.chdir(tmp_path)
    return asked


def test_the_default_folder_has_the_datasets_name(folders: list[Path], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(CAMVID.read_bytes())
    assert main(["train", "mine.yaml"]) == 0
    assert main(["train", "mine.yaml", "--set", "data.dataset=folder"]) == 0
    assert main(["train", "mine.yaml", "--run", "there"]) == 0
    assert folders == [Path("runs/camvid_mine"), Path("runs/folder_mine"), Path("there")]


def test_a_recipe_of_the_package_is_found_from_anywhere(folders: list[Path]) -> None:
    assert main(["train", "zoo_configs/camvid/encnet_mnv2.yaml"]) == 0
    assert folders == [Path("runs/camvid_encnet_mnv2")]


def test_only_kzoo_tells_its_progress(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.WARNING)
    monkeypatch.setattr(root, "handlers", [])  # pytest's own, which `logging.basicConfig` would leave alone
    assert main(["train", str(CAMVID)]) == 0
    assert logging.getLogger("kzoo").isEnabledFor(logging.INFO)
    assert not logging.getLogger("tensorflow").isEnabledFor(logging.INFO)
