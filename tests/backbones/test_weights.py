"""Backbone weights from files: folded BatchNorm is the file's function, and statistics measured on pictures."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kzoo.backbones import Backbone, create, load_backbone_weights, mobilenet_v2, unfold_batch_normalization
from kzoo.backbones.weights import convolution_norm_pairs

LEVELS = ("c1", "c2", "c3", "c4")


def pictures(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 40, 48, 3)).astype("float32")


@pytest.fixture(scope="module")
def source() -> Backbone:
    """A small network whose BatchNorms are nowhere the identity."""
    backbone = mobilenet_v2(width=0.35)
    rng = np.random.default_rng(1)
    for _, norm in convolution_norm_pairs(backbone):
        ranges = ((0.8, 1.6), (-0.3, 0.6), (-0.1, 0.1), (0.1, 0.4))
        norm.set_weights([rng.uniform(low, high, norm.gamma.shape) for low, high in ranges])
    return backbone


@pytest.fixture
def folded(source: Backbone, tmp_path: Path) -> Path:
    """The network's weights with each BatchNorm folded into the convolution before it."""
    arrays = {}
    for layer, norm in convolution_norm_pairs(source):
        gamma, beta, mean, variance = (weight.astype("float64") for weight in norm.get_weights())
        scale = gamma / np.sqrt(variance + 1e-3)
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)  # its kernel is (3, 3, channels, 1)
        arrays[f"{layer.name}/kernel"] = layer.get_weights()[0] * (scale[:, None] if depthwise else scale)
        arrays[f"{layer.name}/bias"] = beta - mean * scale
    np.savez(tmp_path / "folded.npz", **arrays)
    return tmp_path / "folded.npz"


def assert_same_features(backbone: Backbone, other: Backbone, tolerance: float) -> None:
    features, expected = backbone(pictures(2, seed=9)), other(pictures(2, seed=9))
    for level in LEVELS:
        largest = np.abs(expected[level]).max()
        np.testing.assert_allclose(features[level], expected[level], rtol=0, atol=tolerance * largest)


def test_folded_file_is_the_networks_function(source: Backbone, folded: Path) -> None:
    backbone = mobilenet_v2(width=0.35, weights=folded)
    assert_same_features(backbone, source, 1e-4)


def test_unfolding_measures_all_pictures_and_keeps_the_function(source: Backbone, folded: Path) -> None:
    backbone = mobilenet_v2(width=0.35, weights=folded)
    batches = [pictures(3), 0.5 * pictures(1, seed=1) + 0.3]  # unlike in size and in statistics
    unfold_batch_normalization(backbone, batches)
    assert_same_features(backbone, source, 1e-3)
    layer, norm = convolution_norm_pairs(backbone)[0]
    measured = np.concatenate([np.reshape(layer(images), (-1, norm.gamma.shape[0])) for images in batches])
    np.testing.assert_allclose(norm.moving_mean, measured.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, measured.var(0), rtol=1e-4)


def test_a_backbone_without_batchnorm_is_read_and_stays_as_it_is(tmp_path: Path) -> None:
    source, backbone = (create("vgg16_fcn8s", width=1 / 64) for _ in range(2))
    arrays = {f"{layer.name}/{w.name}": np.array(w) for layer in source.layers for w in layer.weights}
    np.savez(tmp_path / "vgg.npz", **arrays)
    load_backbone_weights(backbone, tmp_path / "vgg.npz")
    unfold_batch_normalization(backbone, [np.ones((1, 8, 8, 3), "float32")])
    for weight, expected in zip(backbone.weights, source.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_files_that_do_not_fit_are_named(folded: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folded\.npz': entry 'Conv1/kernel' should have shape \(3, 3, 3, 24\)"):
        mobilenet_v2(width=0.75, weights=folded)
    np.savez(tmp_path / "empty.npz", other=np.zeros(3))
    with pytest.raises(ValueError, match=r"empty\.npz' has no entry 'Conv1/kernel'"):
        mobilenet_v2(width=0.35, weights=tmp_path / "empty.npz")
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "cut.npz").write_bytes(folded.read_bytes()[:-100])
    damaged = bytearray(folded.read_bytes())
    damaged[200:400] = bytes(200)
    (tmp_path / "damaged.npz").write_bytes(damaged)
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    for name in ("text", "cut", "damaged", "single"):
        with pytest.raises(ValueError, match=rf"{name}\.npz'(: entry 'Conv1/kernel' is damaged| is no `\.npz` file)"):
            mobilenet_v2(width=0.35, weights=tmp_path / f"{name}.npz")
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=r"`\.weights\.h5` or `\.npz` files; .* Received: .*model\.pth"):
        load_backbone_weights(mobilenet_v2(width=0.35), tmp_path / "model.pth")
