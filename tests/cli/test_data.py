from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.cli import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        for kind, array in {"images": np.zeros((20, 24, 3), np.uint8), "masks": np.ones((20, 24), np.uint8)}.items():
            (tmp_path / "train" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "train" / kind / f"{name}.png")
    (tmp_path / "dataset.yaml").write_text("classes: [soil, leaf]\n")
    return tmp_path


def test_check_of_good_and_bad_data(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "check", "--data", str(root), "--split", "train"]
    assert main(words) == 0
    assert "2 samples, all good" in capsys.readouterr().out
    (root / "train" / "masks" / "b.png").unlink()
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "missing mask" in out and "b.png" in out and "1 problem" in out


def test_check_of_an_unknown_split(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--data", str(root), "--split", "tarin"]) == 2
    assert "'train'" in capsys.readouterr().err


def test_preview_writes_a_picture(root: Path) -> None:
    output = root / "out" / "preview.png"
    words = ["data", "preview", "--data", str(root), "--crop", "32", "40", "--count", "2", "--output", str(output)]
    assert main(words) == 0
    with Image.open(output) as picture:
        assert picture.size == (80, 64)


def test_preview_names_a_bad_mask(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((20, 24), 9, np.uint8)).save(root / "train" / "masks" / "b.png")
    assert main(["data", "preview", "--data", str(root), "--count", "2", "--output", str(root / "p.png")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("kzoo: error: ") and "b.png" in err and "Traceback" not in err
