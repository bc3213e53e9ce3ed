"""The fused BatchNormalization computes what Keras' elementwise one computes: outputs, gradients, moving statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.layers import BatchNormalization


def pair_of_layers(channels, **kwargs):
    """Ours and Keras', with the same non-trivial weights."""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 2, channels), rng.normal(size=channels), rng.normal(size=channels)]
    weights.append(rng.uniform(0.5, 3, channels))
    layers = [
        BatchNormalization(**kwargs),
        keras.layers.BatchNormalization(**{"momentum": 0.9, "epsilon": 1e-5, **kwargs}),
    ]
    axis = kwargs.get("axis", -1)
    for layer in layers:
        layer.build((None, None, None, channels) if axis == -1 else (None, channels, None))
        layer.set_weights(weights)
    return layers


def run(layer, x, training):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=training)
        # Squares, because the gradient of the plain sum through a normalisation is zero.
        value = tf.reduce_sum(tf.square(tf.cast(outputs, "float32")) * tf.cast(tf.range(1, 6), "float32"))
    gradients = tape.gradient(value, [x, *layer.trainable_variables])
    return [np.asarray(tf.cast(tensor, "float32")) for tensor in (outputs, *gradients, *layer.weights)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (1, 5, 1, 5)])
def test_equals_keras(training, shape):
    x = np.random.default_rng(1).normal(3, 2, shape).astype("float32")
    ours, theirs = pair_of_layers(5)
    for mine, other in zip(run(ours, x, training), run(theirs, x, training), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-5, atol=2e-5 * max(1, np.abs(other).max()))


def test_fused_kernel_is_used_where_it_can_be():
    ours, _ = pair_of_layers(5)
    trace = tf.function(lambda x: ours(x, training=True)).get_concrete_function(tf.TensorSpec((2, 4, 4, 5)))
    assert "FusedBatchNormV3" in {op.type for op in trace.graph.get_operations()}


def test_moving_variance_is_the_biased_one():
    layer = BatchNormalization()
    x = np.array([[[[1.0], [4.0]]]], "float32")  # mean 2.5, biased variance 2.25, unbiased 4.5
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_mean, [0.25], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, [0.9 + 0.225], rtol=1e-6)


def test_frozen_layer_keeps_its_statistics_when_training():
    ours, _ = pair_of_layers(5)
    ours.trainable = False
    x = np.random.default_rng(1).normal(size=(2, 3, 3, 5)).astype("float32")
    before = [np.array(weight) for weight in ours.weights]
    np.testing.assert_allclose(ours(x, training=True), ours(x, training=False))
    for weight, kept in zip(ours.weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_codeword_axis_takes_the_keras_path():
    ours, theirs = pair_of_layers(5, axis=1)
    x = np.random.default_rng(1).normal(size=(4, 5, 7)).astype("float32")
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=1e-5, atol=1e-6)


def test_bfloat16_statistics_stay_float32():
    layer = BatchNormalization(dtype="mixed_bfloat16")
    x = tf.cast(np.random.default_rng(1).normal(100, 1, (4, 16, 16, 3)), "bfloat16")
    outputs = layer(x, training=True)
    assert outputs.dtype == tf.bfloat16
    exact = np.asarray(tf.cast(x, "float64")).mean((0, 1, 2)) * 0.1
    np.testing.assert_allclose(layer.moving_mean, exact, rtol=1e-5)


def test_round_trip():
    layer = BatchNormalization(momentum=0.7, epsilon=1e-3)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert (type(again), again.momentum, again.epsilon, again.synchronized) == (BatchNormalization, 0.7, 1e-3, True)
