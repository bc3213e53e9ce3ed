"""CRF-as-RNN against mean field by matrices, with both published signs; and it learns."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.crf import ConvolutionalCRF, DenseCRF, RecurrentCRF
from tests.crf.gaussians import mean_field, picture
from tests.crf.test_dense import WIDTHS, matrices, scene


def published(classes: int = 4) -> list[np.ndarray]:
    """Three matrices as training leaves them: not diagonal, not symmetric."""
    rng = np.random.default_rng(1)
    return [(start * np.eye(classes) + rng.normal(0, 0.3, (classes, classes))) for start in (2.0, 3.0, -1.0)]


@pytest.mark.parametrize(("sign", "factor"), [("subtract", -1), ("add", 1)])
def test_equals_mean_field_by_matrices_in_both_signs(sign, factor):
    logits, images = scene()
    spatial_weights, bilateral_weights, compatibility = published()
    compatibility *= -factor
    crf = RecurrentCRF(**WIDTHS, iterations=4)
    crf.build(logits.shape, images.shape)
    crf.set_published(spatial_weights, bilateral_weights, compatibility, sign)
    refined = crf(logits, images)
    for i in range(2):
        spatial, bilateral = matrices(images[i], "after")

        def message(q):
            weighted = spatial_weights @ (spatial @ q).T + bilateral_weights @ (bilateral @ q).T  # noqa: B023
            return factor * (compatibility @ weighted).T

        expected = mean_field(logits[i].reshape(-1, 4).astype("float64"), message, 4)
        np.testing.assert_allclose(np.reshape(refined[i], (-1, 4)), expected, atol=1e-4)


def test_fresh_layer_is_the_dense_crf_with_fewer_iterations_in_training():
    logits, images = scene()
    weights = {"spatial_weight": 1.0, "bilateral_weight": 2.0}
    crf = RecurrentCRF(**WIDTHS, **weights, iterations=3, training_iterations=1)
    for training, iterations in ((None, 3), (True, 1)):
        expected = DenseCRF(**WIDTHS, **weights, iterations=iterations)(logits, images)
        np.testing.assert_allclose(crf(logits, images, training=training), expected, atol=1e-4)
    assert (RecurrentCRF().iterations, RecurrentCRF().training_iterations) == (10, 5)


@pytest.mark.parametrize("layer", [RecurrentCRF, ConvolutionalCRF])
def test_a_batch_without_pictures(layer):
    """As the second of two replicas gets it of an odd number of pictures: nothing comes out, nothing is learned."""
    logits, images = (values.astype("float32") for values in scene())
    crf = layer(**WIDTHS, training_iterations=1)
    crf.build(logits.shape, images.shape)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 4)), tf.TensorSpec((None, None, None, 3))])
    def step(logits, images):
        with tf.GradientTape() as tape:
            refined = crf(logits, images, training=True)
        return refined, tape.gradient(refined, crf.trainable_weights)

    for count in (0, 2):
        refined, gradients = step(logits[:count], images[:count])
        np.testing.assert_allclose(refined, crf(logits[:count], images[:count], training=True), atol=1e-4)
        assert [np.any(gradient) for gradient in gradients] == [count > 0] * 3


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("layer", [RecurrentCRF, ConvolutionalCRF])
def test_trains_inside_a_network(layer, policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    images = np.stack([picture(name, 16, 24) for name in ("chelsea", "astronaut", "coffee")]).astype("float32")
    masks = (images[..., 0] > images[..., 0].mean((1, 2), keepdims=True)).astype("int32")
    door = keras.Input((16, 24, 3))
    features = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(keras.layers.Rescaling(1 / 255)(door))
    logits = keras.layers.Conv2D(2, 1)(features)
    crf = layer(**WIDTHS, spatial_weight=0.5, bilateral_weight=0.5, iterations=2, training_iterations=2)
    model = keras.Model(door, crf(logits, door))
    before = [np.array(weight) for weight in crf.trainable_variables]
    assert [weight.dtype for weight in crf.weights] == ["float32"] * 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    losses = model.fit(images, masks, epochs=20, batch_size=3, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    for weight, start in zip(crf.trainable_variables, before, strict=True):
        assert np.abs(np.array(weight) - start).max() > 0.01
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


def test_errors():
    logits, images = scene()
    crf = RecurrentCRF(**WIDTHS, iterations=1)
    crf(logits, images)
    with pytest.raises(ValueError, match=r"built for 4 classes.*\(2, 12, 16, 3\)"):
        crf(logits[..., :3], images)
    with pytest.raises(ValueError, match="training_iterations=0"):
        RecurrentCRF(training_iterations=0)
    with pytest.raises(ValueError, match="sign"):
        crf.set_published(*published(), sign="minus")
