"""CRF-RNN converted from both published layouts, against PyTorch, at a sixteenth of the width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the reference is PyTorch")

import kzoo  # noqa: E402
from kzoo.convert import SOURCES, CheckpointError, read_checkpoint, set_weights  # noqa: E402
from kzoo.crf import RecurrentCRF  # noqa: E402
from kzoo.models import FCN8s  # noqa: E402
from tests.parity.crfrnn_files import FILES, SAVE  # noqa: E402
from tests.parity.torch_fcn8s import CRFRNN, MEAN_BGR, randomised  # noqa: E402

WIDTH, CLASSES = 1 / 16, 4
SIZES = ((37, 70), (64, 41))


@pytest.fixture(scope="module")
def network() -> CRFRNN:
    return randomised(CRFRNN(CLASSES, WIDTH))


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).uniform(0, 255, (1, height, width, 3))


def scores(network: CRFRNN, images: np.ndarray) -> np.ndarray:
    """The reference's scores before the CRF, in float64."""
    bgr = images[..., ::-1] - MEAN_BGR
    with torch.no_grad():
        found = network.double()(torch.from_numpy(bgr.transpose(0, 3, 1, 2).copy()))
    network.float()
    return found.numpy().transpose(0, 2, 3, 1)


def converted(network: CRFRNN, layout: str, folder: Path, **args: Any) -> FCN8s:
    path = folder / FILES[layout]
    SAVE[layout](network, path)
    model = FCN8s(CLASSES, backbone_args={"width": WIDTH}, refine="rnn", **args)
    set_weights(model, read_checkpoint(path), SOURCES["crfasrnn"], str(path))
    return model


@pytest.mark.parametrize("layout", FILES)
def test_the_network_is_the_one_that_was_saved(layout, network, tmp_path):
    keras.config.set_dtype_policy("float64")
    model = converted(network, layout, tmp_path)
    for height, width in SIZES:
        images = picture(height, width)
        expected = scores(network, images)
        found = np.asarray(model(images, refine=False))
        assert found.shape == (1, height, width, CLASSES)
        assert np.abs(found - expected).max() < 1e-9 * np.ptp(expected)
        # Nothing is dead or alike all over the picture, or a fault would not show.
        assert expected.std((0, 1, 2)).min() > 0.01 * np.ptp(expected)
    crop = (slice(None), slice(0, 16), slice(0, 20))
    images = images[crop]
    expected = scores(network, images)
    crf = RecurrentCRF(iterations=2)
    model.refinement.iterations = 2
    crf.build(expected.shape, images.shape)
    crf.set_published(*(matrix.detach().double().numpy() for matrix in network.crfrnn.parameters()), sign="add")
    refined = np.asarray(crf(expected, images))
    assert np.abs(np.asarray(model(images)) - refined).max() < 1e-7 * np.ptp(refined)
    assert np.abs(refined - expected).max() > 0.01 * np.ptp(expected)


@pytest.mark.parametrize("layout", FILES)
def test_every_tensor_is_used_and_needed(layout, network, tmp_path):
    model = converted(network, layout, tmp_path)
    tensors = dict(read_checkpoint(tmp_path / FILES[layout]))
    first, key_map = next(iter(tensors)), SOURCES["crfasrnn"]
    for key in tensors:
        less = {name: tensor for name, tensor in tensors.items() if name != key}
        with pytest.raises(CheckpointError, match="nothing sets"):
            set_weights(model, less, key_map, "less")
    with pytest.raises(CheckpointError, match="unknown to the network"):
        set_weights(model, {**tensors, first.replace("conv1_1", "conv6_1"): tensors[first]}, key_map, "more")


def test_the_published_network_has_the_cards_parameters():
    with torch.device("meta"):
        network = CRFRNN(21)
    assert sum(tensor.numel() for tensor in network.parameters()) == kzoo.get_card("crfrnn_vgg16_voc").parameters


def test_sides_at_the_published_size():
    """As the layers of crfrnn_model.py have them at 500x500: crops of 5, 9, and 31 before and 37 behind."""
    model = FCN8s(2, backbone_args={"width": 1 / 64})
    features = model.backbone.compute_output_spec(keras.KerasTensor((1, 500, 500, 3)))
    assert {name: feature.shape[1:3] for name, feature in features.items()} == {
        "pool3": (88, 88),
        "pool4": (44, 44),
        "fc7": (16, 16),
    }
    x = model.score2.compute_output_shape((1, 16, 16, 2))
    assert x[1] == 44 - 2 * model.crop_pool4.offset
    x = model.score4.compute_output_shape(x)
    assert x[1] == 88 - 2 * model.crop_pool3.offset
    assert model.upsample.compute_output_shape(x)[1] == model.to_input_size.offset + 500 + 37


def test_planted_faults_break_the_bound(network, tmp_path):
    keras.config.set_dtype_policy("float64")
    model = converted(network, "crfasrnn_keras", tmp_path)
    images = picture(*SIZES[0])
    expected = scores(network, images)

    def difference() -> float:
        return float(np.abs(model(images, refine=False) - expected).max() / np.ptp(expected))

    for crop in (model.crop_pool4, model.crop_pool3, model.to_input_size):
        crop.offset += 1
        assert difference() > 1e-3, crop.name
        crop.offset -= 1
    margin = model.backbone.get_layer("margin")
    margin.padding = ((99, 101), (99, 101))
    assert difference() > 1e-3
    margin.padding = ((100, 100), (100, 100))
    assert difference() < 1e-9
