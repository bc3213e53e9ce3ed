"""EfficientNets against Keras Applications' networks, and against themselves at other output strides."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.backbones import create, efficientnet_b0, efficientnet_b7, load_backbone_weights
from kzoo.errors import FetchError
from kzoo.models import FCN
from tests.backbones.same_padding import assert_close, assert_same_at_more_places

LAST_BLOCKS = {"c1": "block2b_add", "c2": "block3b_add", "c3": "block5c_add", "c4": "block7a_project_bn"}
# As the published files hold it: the standard deviation in the place of the variance (tensorflow issue 49930).
FILE_MEAN, FILE_VARIANCE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-2, 2, (1, height, width, 3)).astype("float32")


def randomise(model: keras.Model) -> None:
    """BatchNorm weights and statistics far from (1, 0, 0, 1), and gates that differ, which would hide faults."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            ranges = ((1.0, 3.0), (-0.5, 1.0), (-0.1, 0.1), (0.05, 0.3))
            layer.set_weights([rng.uniform(low, high, layer.gamma.shape) for low, high in ranges])
        elif "_se_" in layer.name and layer.weights:
            layer.bias.assign(rng.uniform(-1, 1, layer.bias.shape))


@pytest.fixture
def imagenet_file(tmp_path, monkeypatch) -> Path:
    """Stands for the file that Keras would fetch for B0: random weights, and the published normalisation."""
    path = tmp_path / "efficientnetb0.weights.h5"
    model = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 32, 3))
    randomise(model)
    (normalization,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([np.array(FILE_MEAN), np.array(FILE_VARIANCE), np.array(0)])
    model.save_weights(path)
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: path)
    return path


@pytest.mark.usefixtures("imagenet_file")
def test_equals_keras_applications_from_bytes_to_features():
    """In float64: rounding grows a hundredfold through these weights, and a wrong epsilon must not pass for it."""
    keras.config.set_dtype_policy("float64")
    backbone = efficientnet_b0(weights="imagenet")
    # Sides that stay even and odd at every halving: Keras Applications pads by hand, for the size it is built for.
    published = keras.applications.EfficientNetB0(include_top=False, input_shape=(64, 97, 3))
    taps = keras.Model(
        published.input, {level: published.get_layer(name).output for level, name in LAST_BLOCKS.items()}
    )
    rgb = np.random.default_rng(0).integers(0, 256, (1, 64, 97, 3)).astype("float64")
    prepared = rgb * backbone.preprocessing.scale + backbone.preprocessing.offset
    features = backbone(prepared, training=False)
    for level, expected in taps(rgb, training=False).items():
        assert_close(features[level], expected, 1e-6)  # Keras' mean and deviation are float32
        assert backbone.channels[level] == expected.shape[-1]


def test_weights_shapes_and_drop_rates_of_b7():
    """B7 has the largest width and depth, so that a wrong rounding of channels or repeats shows."""
    backbone = efficientnet_b7(output_stride=8)
    published = keras.applications.EfficientNetB7(include_top=False, weights=None)
    left_out = [layer for layer in published.layers if layer.name.startswith(("top_", "normalization"))]
    assert backbone.count_params() == published.count_params() - sum(layer.count_params() for layer in left_out)
    expected = {layer.name: layer for layer in published.layers if layer.weights and layer not in left_out}
    layers = {layer.name: layer for layer in backbone.layers if layer.weights}
    assert layers.keys() == expected.keys()
    for name, layer in layers.items():
        assert [w.shape for w in layer.weights] == [w.shape for w in expected[name].weights]
    drops = {layer.name: layer for layer in backbone.layers if isinstance(layer, keras.layers.Dropout)}
    assert drops.keys() == {layer.name for layer in published.layers if isinstance(layer, keras.layers.Dropout)}
    for name, drop in drops.items():
        assert (drop.rate, drop.noise_shape) == (published.get_layer(name).rate, published.get_layer(name).noise_shape)
    assert backbone.channels == {"c1": 48, "c2": 80, "c3": 224, "c4": 640}


@pytest.mark.parametrize(("output_stride", "exact"), [(8, ("c1", "c2")), (16, ("c1", "c2", "c3"))])
def test_dilated_network_computes_the_undilated_one_at_more_places(output_stride, exact):
    """All but the gates' averages over all places, of which the dilated network has more: those are taken out."""
    undilated, dilated = efficientnet_b0(), efficientnet_b0(output_stride=output_stride)
    randomise(undilated)
    dilated.set_weights(undilated.get_weights())
    assert_same_at_more_places(dilated, undilated, picture(65, 72), exact)
    with pytest.raises(AssertionError):
        assert_same_at_more_places(dilated, undilated, picture(65, 72), ("c4",))
    for backbone in (dilated, undilated):
        for layer in backbone.layers:
            if layer.name.endswith("_se_reduce"):
                layer.kernel.assign(np.zeros(layer.kernel.shape))
    # Sides that are even and odd in all four combinations at strides 8 and 16, and odd themselves.
    for height, width in ((64, 72), (88, 97)):
        assert_same_at_more_places(dilated, undilated, picture(height, width), LAST_BLOCKS)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_strides(output_stride):
    backbone = efficientnet_b0(output_stride=output_stride)
    expected = {"c1": 4, "c2": 8, "c3": min(16, output_stride), "c4": min(32, output_stride)}
    assert backbone.strides == expected
    shapes = backbone.compute_output_shape((1, 97, 130, 3))
    for level, stride in expected.items():
        assert tuple(shapes[level])[1:3] == (math.ceil(97 / stride), math.ceil(130 / stride))


def test_every_weight_gets_a_gradient():
    backbone = efficientnet_b0(output_stride=8, drop_connect_rate=0.0)
    with tf.GradientTape() as tape:
        features = backbone(picture(49, 48), training=True)
        loss = sum(tf.reduce_mean(tf.square(feature)) for feature in features.values())
    gradients = tape.gradient(loss, backbone.trainable_variables)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in map(np.asarray, gradients))


def test_stochastic_depth_drops_a_branch_for_a_whole_picture():
    drop = efficientnet_b0(drop_connect_rate=0.8).get_layer("block6d_drop")
    assert drop.rate == pytest.approx(0.8 * 14 / 16)
    branch = np.asarray(drop(np.ones((64, 2, 3, 4), "float32"), training=True))
    for values in branch:
        assert values.min() == values.max()
    np.testing.assert_allclose(np.unique(branch), [0, 1 / 0.3], rtol=1e-5)


def test_a_training_step_of_fcn():
    model = FCN(num_classes=3, backbone="efficientnet_b0", output_stride=16, aux=False)
    before = [np.array(weight) for weight in model.trainable_variables]
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    images = np.random.default_rng(0).uniform(0, 255, (2, 48, 48, 3)).astype("float32")
    history = model.fit(images, np.random.default_rng(0).integers(0, 3, (2, 48, 48)), verbose=0)
    assert history.history["loss"][0] == pytest.approx(math.log(3), rel=0.5)
    moved = [np.any(old != np.asarray(new)) for old, new in zip(before, model.trainable_variables, strict=True)]
    assert np.mean(moved) > 0.5  # not the branches that were dropped for both pictures


def test_folded_files_hold_the_gates_too(tmp_path):
    """Convolutions without a BatchNorm behind them; the others are in test_weights.py, and have no bias here."""
    source = efficientnet_b0()
    randomise(source)
    arrays = {}
    for layer in source.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            arrays[f"{layer.name}/kernel"] = layer.get_weights()[0]
            arrays[f"{layer.name}/bias"] = layer.bias if layer.use_bias else np.zeros(layer.output.shape[-1])
    np.savez(tmp_path / "all.npz", **arrays)
    backbone = efficientnet_b0(weights=tmp_path / "all.npz")
    gates = [layer.name for layer in source.layers if "_se_" in layer.name and layer.weights]
    assert len(gates) == 32
    for name in gates:
        for actual, expected in zip(backbone.get_layer(name).weights, source.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(actual, expected)
    np.savez(tmp_path / "cut.npz", **{key: array for key, array in arrays.items() if "_se_" not in key})
    with pytest.raises(ValueError, match=r"cut\.npz' has no entry 'block1a_se_reduce/kernel'"):
        load_backbone_weights(backbone, tmp_path / "cut.npz")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"output_stride": 4}, "output_stride=4"), ({"drop_connect_rate": 1.0}, "drop_connect_rate=1.0")],
)
def test_errors_name_the_mistake(arguments, words):
    with pytest.raises(ValueError, match=words):
        create("efficientnet_b0", **arguments)


def test_weights_that_keras_cannot_fetch(monkeypatch):
    def fail(*_, **__):
        raise Exception("URL fetch failure on https://...: None")  # as keras.utils.get_file raises it

    monkeypatch.setattr(keras.applications, "EfficientNetB0", fail)
    with pytest.raises(FetchError, match=r"EfficientNetB0\(\): URL fetch failure .* weights=PATH"):
        efficientnet_b0(weights="imagenet")
