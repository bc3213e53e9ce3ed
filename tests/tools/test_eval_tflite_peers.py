"""The peers' pre- and post-processing, on which a fair comparison rests."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.data import VOC, VOC_ANIMALS


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).resolve().parents[2] / "tools" / "eval_tflite_peers.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_labels_are_mapped_by_name(tool):
    for label, name in enumerate(VOC.class_names):
        expected = VOC_ANIMALS.class_names.index(name) if name in VOC_ANIMALS.class_names else tool.OTHER
        assert tool.TASK_LABEL[label] == expected
    assert np.sum(tool.TASK_LABEL == tool.OTHER) == 14


def test_letterbox_keeps_the_aspect(tool):
    square, size = tool.letterbox(np.full((50, 100, 3), 10, np.uint8), 65)
    assert square.shape == (65, 65, 3)
    assert size == (32, 65)
    assert np.all(square[:32] == 10)
    assert np.all(square[32:] == 127.5)


def test_answers_at_the_pictures_size(tool):
    np.testing.assert_array_equal(tool.to_size(np.array([[1, 15]]), (2, 4)), [[1, 1, 15, 15]] * 2)
    logits = np.zeros((1, 2, 3), np.float32)
    logits[0, :, 0], logits[0, :, 2] = (1, 0), (0, 3)
    np.testing.assert_array_equal(tool.to_size(logits, (1, 8)), [[0, 0, 0, 2, 2, 2, 2, 2]])


def test_a_peer_finds_a_cat(tool, kzoo_data):
    file = kzoo_data / "weights" / "deeplabv3_mnv2_dm05_voc_257_float32.tflite"
    if not file.is_file():
        pytest.skip(f"needs the peer networks: there is no {file}")
    picture = Image.open(kzoo_data / "pictures" / "cat.bmp").convert("RGB")
    answer = tool.peer(file, 1)(np.asarray(picture))
    assert answer.shape == picture.size[::-1]
    assert np.bincount(answer.ravel(), minlength=8).argsort()[-2:].tolist().count(VOC_ANIMALS.class_names.index("cat"))
