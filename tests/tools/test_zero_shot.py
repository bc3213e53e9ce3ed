from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kzoo.metrics import confusion_matrix, zero_shot_scores
from kzoo.models.zero_shot import ClassSplit

NAMES = ("background", "cat", "cow", "sheep")
MASK = np.array([[0] * 6, [1] * 6, [2, 2, 2, 2, 255, 255], [3] * 6])


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with a dataset of one mask."""
    path = Path(__file__).parents[2] / "tools" / "zero_shot.py"
    spec = importlib.util.spec_from_file_location("zero_shot", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class OnePicture:
        labels = SimpleNamespace(class_names=NAMES, ignore_label=255)

        def __len__(self) -> int:
            return 1

        def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros((*MASK.shape, 3), np.uint8), MASK

        def read_mask(self, index: int) -> np.ndarray:
            return MASK

    monkeypatch.setattr(module, "val", OnePicture)
    return module


def test_chance_is_what_random_labels_get(tool: ModuleType) -> None:
    many = np.repeat(MASK[None], 5000, axis=0)
    counts = confusion_matrix(many, np.random.default_rng(0).integers(0, 4, many.shape), 4)
    iou = np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))
    assert list(tool.chance().values()) == pytest.approx(iou, abs=0.003)


def test_scores_are_those_of_the_library(tool: ModuleType) -> None:
    counts = np.random.default_rng(0).integers(1, 50, (4, 4))
    iou = np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))
    expected = zero_shot_scores(counts, ClassSplit(NAMES, ("cat", "sheep")))
    ours = tool.scores(dict(zip(NAMES, iou.tolist(), strict=True)), ("cat", "sheep"))
    assert ours == pytest.approx((expected.seen_miou, expected.unseen_miou, expected.hiou))


def test_a_calibration_lowers_the_seen_classes(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logits(model: Any, image: Any) -> np.ndarray:
        given = 4.0 * np.eye(4)[np.where(MASK == 255, 0, MASK)]
        given[3, :, 0] = 4.7  # sheep are taken for background by 0.7
        return given

    monkeypatch.setattr("kzoo.zoo.open_model", lambda folder: None)
    monkeypatch.setattr("kzoo.inference.predict_logits", logits)
    found = tool.with_calibrations(tmp_path, ("sheep",))
    assert found[0.5][1:] == (0.0, 0.0)
    assert found[1.0] == (1.0, 1.0, 1.0)
    assert found[12.0] == (0.0, pytest.approx(6 / 22), 0.0)  # 22 pixels are labelled: all are sheep now
    monkeypatch.setattr("kzoo.inference.predict_logits", None)
    assert tool.with_calibrations(tmp_path, ("sheep",)) == found, "it is measured once"


def test_the_calibration_of_the_first_seed_is_that_of_all(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {("sheep", 1): 2.0, ("sheep", 2): 4.0, ("cow_cat", 1): 4.0, ("cow_cat", 2): 4.0}

    def run_of(runs: Path, recipe: str, unseen: tuple[str, ...], seed: int, settings: Any) -> Path:
        folder = runs / f"{'_'.join(unseen)}-{seed}"
        folder.mkdir(exist_ok=True)
        iou = {name: 0.1 * seed if name in unseen else 0.3 for name in NAMES}
        (folder / "results.json").write_text(json.dumps({"val_iou": iou}))
        return folder

    def with_calibrations(folder: Path, unseen: tuple[str, ...]) -> dict[float, tuple[float, float, float]]:
        split, _, seed = folder.name.partition("-")
        right = best[split, int(seed)]
        return {number: (0.6, 0.4, 0.5 if number == right else 0.2) for number in (0.0, 2.0, 4.0)}

    monkeypatch.setattr(tool, "run_of", run_of)
    monkeypatch.setattr(tool, "with_calibrations", with_calibrations)
    tool.compare({"SPNet": tool.Row("spnet"), "so": tool.Row("spnet", calibrated=True)}, (1, 2), tmp_path)
    plain, calibrated = capsys.readouterr().out.splitlines()[2:]
    assert plain == "| SPNet | 30.0 / 15.0 / 19.5 | 15.0, 24.0 | 30.0 / 15.0 / 19.5 | 15.0, 24.0 | 19.5 |"
    assert calibrated == "| so by 2, 4 | 60.0 / 40.0 / 35.0 | 50.0, 20.0 | 60.0 / 40.0 / 50.0 | 50.0, 50.0 | 42.5 |"
