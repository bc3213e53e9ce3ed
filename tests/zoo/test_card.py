from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from kzoo.zoo.card import Architecture, Weights, read_card

CARD: dict[str, Any] = {
    "name": "tiny",
    "description": "A test.",
    "architecture": {"name": "fcn", "args": {"backbone": "mobilenet_v2"}},
    "dataset": "camvid",
    "class_names": ["road", "sky"],
    "palette": [[0, 0, 0], [1, 2, 3]],
    "ignore_label": 255,
    "input_size": [32, 48],
    "normalization": {"mean": [0, 0, 0], "std": [255, 255, 255]},
    "parameters": 100,
    "licence": {"weights": "w", "data": "d", "notice": "n"},
    "weights": {"file": "tiny.weights.h5", "sha256": "ab", "bytes": 5, "dtype": "float16"},
    "trained": {"config": "c", "command": "k", "seed": 0, "commit": "abc", "epochs": 3, "log": "l"},
    "results": [{"split": "val", "protocol": "whole", "command": "k", "metrics": {"miou": 0.5}, "iou": {"road": 1}}],
    "published": [{"model": "other", "split": "test", "metrics": {"miou": 0.6}, "source": "a paper"}],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**CARD, **changes}))
    return path


def test_values(tmp_path: Path) -> None:
    card = read_card(write(tmp_path))
    assert card.architecture == Architecture("fcn", {"backbone": "mobilenet_v2"})
    assert card.palette == ((0, 0, 0), (1, 2, 3))
    assert card.weights == Weights("tiny.weights.h5", "ab", 5, "float16")
    assert card.results[0].iou == {"road": 1.0}
    assert card.num_classes == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"descripton": "x"}, "descripton: unknown key. Did you mean 'description'?"),
        ({"parameters": 1.5}, "parameters: expected a whole number, got 1.5 (number)."),
        ({"weights": {"file": "x"}}, "weights: missing 'sha256', 'bytes', 'dtype'."),
        ({"weights": None}, "weights and trained: expected both or neither"),
        ({"palette": [[0, 0, 0]]}, "palette: expected one colour a class (2), got 1 colours."),
        ({"palette": [[0, 0, 0], [0, 0, 256]]}, "palette: a colour is [red, green, blue], each 0 to 255"),
        ({"class_names": ["a", "a"]}, "class_names: expected at least 2 different names, got ['a', 'a']."),
        ({"ignore_label": 1}, "ignore_label: 1 is the class 'sky'."),
        ({"name": "other"}, "name: expected the file's name 'tiny', got 'other'."),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(ValueError) as error:
        read_card(path)
    assert str(error.value).startswith(f"{path}: {message}")
