"""CaGNet's contextual module. Its values: `tests/parity/test_zero_shot.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.models.zero_shot import ContextualModule
from tests.models.zero_shot.layers import assert_survives_saving, count

X = np.random.default_rng(0).normal(size=(2, 9, 11, 4)).astype("float32")


@pytest.mark.parametrize("form", ["paper", "code"])
def test_serialisation(form, tmp_path):
    assert_survives_saving(ContextualModule(3, (1, 2), form, seed=1), [(5, 6, 4)], tmp_path)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_weights_of_the_published_size(form):
    module = ContextualModule(form=form)
    module.build((None, None, None, 600))
    contexts = 9 * (600 * 256 + 256 * 256 + 256 * 256)
    assert count(module) == contexts + 9 * 768 * 3 + 768 * 600 + 2 * 9 * 600 * 600 == 9_523_584


def test_ablations_leave_out_weights_and_outputs():
    module = ContextualModule(3, selector=False)
    assert set(module(X)) == {"features", "latent", "mean", "log_variance"}
    whole = ContextualModule(3)
    whole(X)
    assert count(whole) - count(module) == 9 * 9 * 3
    fixed = ContextualModule(3, latent=False)
    out = fixed(X, training=True)
    assert set(out) == {"features", "latent", "mean"}
    assert count(whole) - count(fixed) == 9 * 4 * 4
    np.testing.assert_array_equal(out["latent"], out["mean"])


@pytest.mark.parametrize("form", ["paper", "code"])
def test_latent_code(form):
    """Drawn in training from the Gaussian that the module names, each time anew; the mean otherwise."""
    module = ContextualModule(3, form=form, seed=0)
    x = np.random.default_rng(0).normal(size=(4, 24, 24, 4))
    module(x)
    for weight in module.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(0, 0.5, weight.shape))
    out = module(x)
    np.testing.assert_array_equal(out["latent"], out["mean"])
    first, second = ({k: np.array(v) for k, v in module(x, training=True).items()} for _ in range(2))
    np.testing.assert_allclose(first["mean"], out["mean"], rtol=1e-6)
    assert np.ptp(first["log_variance"]) > 0.5
    noise = (first["latent"] - first["mean"]) / np.exp(first["log_variance"] / 2)
    again = (second["latent"] - second["mean"]) / np.exp(second["log_variance"] / 2)
    assert abs(noise.mean()) < 0.04 and abs(noise.std() - 1) < 0.03  # 9216 draws: four and four standard errors
    assert abs(np.corrcoef(noise.ravel(), again.ravel())[0, 1]) < 0.04
    assert abs(np.corrcoef(noise.ravel(), first["log_variance"].ravel())[0, 1]) < 0.04
    attention = x * (1 + 1 / (1 + np.exp(-first["latent"].astype("float64"))))
    want = 1 / (1 + np.exp(-attention)) if form == "code" else attention
    np.testing.assert_allclose(first["features"], want, rtol=1e-4, atol=1e-6)
    assert first["log_variance"].min() >= 0 if form == "code" else first["log_variance"].min() < 0


def test_pixels_keep_their_places():
    """A pixel reaches 1 + 2 + 5 pixels through the maps, and one more each through the selector and the mean."""
    module = ContextualModule(3)
    x = np.random.default_rng(0).normal(size=(1, 41, 43, 4))
    out = np.array(module(x)["mean"])
    assert out.shape == x.shape
    x[0, 18, 19] += 1
    rows, columns = np.nonzero(np.abs(np.array(module(x)["mean"]) - out).max(-1)[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 28, 9, 29)


def test_every_weight_has_a_gradient():
    module = ContextualModule(3)
    with tf.GradientTape() as tape:
        out = module(X, training=True)
        loss = tf.reduce_sum(out["features"] ** 2) + tf.reduce_sum(tf.exp(out["log_variance"]))
    for weight, gradient in zip(
        module.trainable_variables, tape.gradient(loss, module.trainable_variables), strict=True
    ):
        assert np.abs(gradient).max() > 0, weight.path


def test_half_precision():
    module = ContextualModule(3, dtype=keras.DTypePolicy("mixed_float16"))
    inputs = keras.Input((None, None, 4))
    symbolic = module(inputs, training=True)
    outputs = module(X, training=True)
    for name, value in outputs.items():
        assert value.dtype == ("float16" if name == "features" else "float32") == symbolic[name].dtype
        assert symbolic[name].shape == (None, None, None, 4)
        assert np.isfinite(value).all()


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"Unknown form of the contextual module 'cod'. Did you mean 'code'"):
        ContextualModule(form="cod")
    with pytest.raises(ValueError, match=r"rates=\(\), filters=3"):
        ContextualModule(3, ())
    with pytest.raises(ValueError, match="known number of channels"):
        ContextualModule(3).build((None, None, None, None))
