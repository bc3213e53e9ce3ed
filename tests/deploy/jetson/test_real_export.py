"""What `kzoo export` writes runs on the board as it runs in Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import kzoo
from tests.deploy.jetson.conftest import Board

CHELSEA = np.ascontiguousarray(data.chelsea()[40:200, 100:340])


@pytest.mark.parametrize("argmax", [False, True], ids=["logits", "classes"])
def test_a_shipped_network_answers_on_the_board_as_in_keras(argmax: bool, board: Board, tmp_path: Path) -> None:
    model = kzoo.load("encnet_mnv2_animals")
    onnx, picture = board.folder / "encnet.onnx", tmp_path / "chelsea.png"
    model.export(onnx, size=CHELSEA.shape[:2], argmax=argmax, check_tensorrt=["10.3"])
    Image.fromarray(CHELSEA).save(picture)
    done = board.run("segment.py", board.build(onnx), picture, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "out" / "chelsea_mask.png"))
    expected = model.predict_image(CHELSEA)
    cat = model.class_names.index("cat")
    assert (mask == expected).mean() >= 0.999
    assert (mask == cat).mean() > 0.2  # Chelsea's face is most of it
    assert "cat" in done.stdout
