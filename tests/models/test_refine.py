"""A CRF behind a network: in the logits, in training where it learns, in files; and none by default."""

import sys

import keras
import numpy as np
import pytest

from kzoo.crf import PRESETS, DenseCRF
from kzoo.models import FCN, EncNet, create_model

SMALL = {"backbone": "tiny", "filters": 8, "aux": False}
# No weight is the layers' default, and the kernels are narrow enough for pictures of 24x32.
CRF = {"spatial_weight": 1.5, "bilateral_weight": 2.5, "bilateral_sigma_xy": 8.0, "bilateral_sigma_rgb": 30.0}

pytestmark = pytest.mark.usefixtures("tiny_backbone")


@pytest.fixture
def pictures():
    return np.random.default_rng(1).uniform(0, 255, (2, 24, 32, 3)).astype("float32")


@pytest.fixture(scope="module")
def plain(tiny_backbone):
    """A network without a refinement, whose logits are not nearly equal."""
    model = FCN(3, **SMALL, dropout=0.0)
    model.classifier.kernel.assign(5 * model.classifier.kernel)
    return model


def refined(plain, **arguments):
    """The network with a refinement and the same weights."""
    model = FCN(3, **SMALL, dropout=0.0, **arguments)
    weights = [weight for weight in model.weights if "/refinement/" not in weight.path]
    for weight, value in zip(weights, plain.weights, strict=True):
        weight.assign(value)
    return model


def test_dense_is_behind_the_logits_and_not_in_training(plain, pictures):
    model = refined(plain, refine="dense", refine_args={**CRF, "iterations": 2})
    logits = np.asarray(plain(pictures))
    expected = np.asarray(DenseCRF(**CRF, iterations=2)(logits, pictures))
    assert np.abs(expected - logits).max() > 0.1
    np.testing.assert_allclose(model(pictures), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model(pictures, refine=False), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(pictures, batch_size=1, verbose=0), expected, rtol=1e-4, atol=1e-4)
    heads = model(pictures, training=True)
    np.testing.assert_allclose(heads["logits"], plain(pictures, training=True)["logits"], rtol=1e-4, atol=1e-4)
    assert len(model.weights) == len(plain.weights)


def test_rnn_is_behind_the_logits_and_in_training(plain, pictures):
    model = refined(plain, refine="rnn", refine_args={**CRF, "iterations": 2, "training_iterations": 1})
    expected = DenseCRF(**CRF, iterations=2)(plain(pictures), pictures)
    np.testing.assert_allclose(model(pictures), expected, rtol=1e-4, atol=1e-4)
    trained = plain(pictures, training=True)["logits"]
    expected = np.asarray(DenseCRF(**CRF, iterations=1)(trained, pictures))
    assert np.abs(expected - trained).max() > 0.1
    np.testing.assert_allclose(model(pictures, training=True)["logits"], expected, rtol=1e-4, atol=1e-4)
    # They train at the heads' learning rate.
    names = {weight.path.rpartition("/")[2] for weight in model.head_variables if "/refinement/" in weight.path}
    assert names == {"spatial_weights", "bilateral_weights", "compatibility"}


def test_conv_has_weights_and_is_in_training(plain, pictures):
    model = refined(plain, refine="conv", refine_args={"filter_size": 3, "iterations": 1, "training_iterations": 1})
    assert len(model.weights) == len(plain.weights) + 3
    assert np.abs(np.asarray(model(pictures)) - np.asarray(model(pictures, refine=False))).max() > 0.1
    heads = model(pictures, training=True)
    assert np.abs(np.asarray(heads["logits"]) - np.asarray(plain(pictures, training=True)["logits"])).max() > 0.1


def test_config_and_keras_file(pictures, tmp_path):
    arguments = {"refine": "rnn", "refine_args": {"preset": "deeplab_v1_msc", "iterations": 1}}
    model = create_model("fcn", 3, {**SMALL, **arguments})
    assert model.refinement.bilateral_sigma_xy == PRESETS["deeplab_v1_msc"]["bilateral_sigma_xy"]
    config = model.get_config()
    assert {key: config[key] for key in arguments} == arguments
    model.refinement.compatibility.assign([[-1, 0.5, 0], [0, -2, 0], [0, 0.25, -1]])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == config
    np.testing.assert_array_equal(again.refinement.compatibility, model.refinement.compatibility)
    np.testing.assert_allclose(again(pictures), model(pictures), rtol=1e-5, atol=1e-5)


def test_rnn_trains_in_half_precision(pictures):
    keras.config.set_dtype_policy("mixed_bfloat16")
    masks = (pictures[..., 0] > 128).astype("uint8")
    arguments = {**CRF, "spatial_weight": 0.5, "bilateral_weight": 0.5, "iterations": 1, "training_iterations": 1}
    model = FCN(2, **SMALL, dropout=0.0, refine="rnn", refine_args=arguments)
    before = [np.array(weight) for weight in model.refinement.weights]
    assert [weight.dtype for weight in model.refinement.weights] == ["float32"] * 3
    assert keras.backend.standardize_dtype(model(pictures).dtype) == "float32"
    model.compile(keras.optimizers.Adam(0.01))
    losses = model.fit(pictures, masks, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    for weight, start in zip(model.refinement.weights, before, strict=True):
        assert np.abs(np.array(weight) - start).max() > 0.01


def test_without_a_refinement_its_room_stays_closed(monkeypatch):
    monkeypatch.setitem(sys.modules, "kzoo.crf", None)
    config = FCN(3, **SMALL).get_config()
    assert (config["refine"], config["refine_args"]) == (None, {})
    with pytest.raises(ImportError):
        FCN(3, **SMALL, refine="dense")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"refine": "dens"}, "Unknown refinement 'dens'. Did you mean 'dense'"),
        ({"refine": "rnn", "refine_args": {"iteration": 3}}, "RecurrentCRF has no argument 'iteration'. Did you mean"),
        ({"refine_args": {"iterations": 3}}, "give refine too. Received: {'iterations': 3}"),
        ({"refine": "dense", "refine_args": "deeplab_v1"}, "EncNet's argument 'refine_args': expected a mapping"),
        ({"refin": "dense"}, "EncNet has no argument 'refin'. Did you mean 'refine'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError) as error:
        create_model("encnet", 3, {**SMALL, **arguments})
    assert message in str(error.value)
    if "refin" not in arguments and not isinstance(arguments.get("refine_args"), str):
        with pytest.raises(ValueError):
            EncNet(3, **SMALL, **arguments)
