"""Small trees of made-up pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.cli import main
from kzoo.data import Dataset, Labels, Sample

SavePicture = Callable[..., Path]
RunCheck = Callable[[str, Path, str], tuple[int, str]]


@pytest.fixture
def save() -> SavePicture:
    """`save(path, array, mode=None)`: writes a picture, making its folders."""

    def save_picture(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(array)
        if mode == "P":
            picture = Image.fromarray(array, "L").convert("P")
            picture.putdata(array.ravel().tolist())
        picture.save(path)
        return path

    return save_picture


@pytest.fixture
def tiny(tmp_path: Path, save: SavePicture) -> Dataset:
    """Seven pictures of different sizes with 3 classes; picture i's red channel is i, so that it can be recognised."""
    rng = np.random.default_rng(0)
    samples = []
    for index in range(7):
        size = (20 + index, 24 - index)
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        image[:, :, 0] = index
        mask = rng.integers(0, 3, size, np.uint8)
        name = f"p{index}"
        samples.append(Sample(name, save(tmp_path / f"{name}.png", image), save(tmp_path / f"{name}_mask.png", mask)))
    labels = Labels(("a", "b", "c"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    return Dataset("tiny", "train", labels, tuple(samples), {0: 0, 1: 1, 2: 2, 255: 255})


@pytest.fixture
def run_check(capsys: pytest.CaptureFixture[str]) -> RunCheck:
    """`run_check(name, root, split)`: the exit status and output of `kzoo data check`."""

    def run(name: str, root: Path, split: str) -> tuple[int, str]:
        status = main(["data", "check", "--dataset", name, "--data", str(root), "--split", split])
        return status, capsys.readouterr().out

    return run
