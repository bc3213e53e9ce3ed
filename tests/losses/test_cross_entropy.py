"""Cross-entropy with ignore label and class weights against hand-computed values."""

import keras
import numpy as np
import pytest

from kzoo.losses import SegmentationCrossEntropy, cross_entropy

LABELS = np.array([[[0, 1], [255, 2]], [[255, 255], [255, 1]]])
LOGITS = np.random.default_rng(0).normal(size=(2, 2, 2, 3)).astype("float32")


def by_hand(labels, logits, weights=(1, 1, 1)):
    total = mass = 0.0
    for label, scores in zip(labels.ravel(), logits.reshape(-1, logits.shape[-1]).astype("float64"), strict=True):
        if label != 255:
            total += weights[label] * (np.log(np.exp(scores).sum()) - scores[label])
            mass += weights[label]
    return total / mass


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 3.0)])
def test_mean_over_the_pixels_that_count(weights):
    got = cross_entropy(LABELS, LOGITS, class_weights=weights)
    np.testing.assert_allclose(got, by_hand(LABELS, LOGITS, weights or (1, 1, 1)), rtol=1e-6)


def test_masks_with_a_last_axis_of_one_and_of_other_shapes():
    one, labels = LOGITS[:1], LABELS[:1]  # a batch of one would broadcast
    np.testing.assert_allclose(cross_entropy(labels[..., None], one), by_hand(labels, one), rtol=1e-6)
    for wrong in (labels[0], labels[:, :1], np.eye(3)[np.zeros((1, 2, 2), int)]):
        with pytest.raises(ValueError, match=r"Expected masks \(1, 2, 2\), one class a pixel"):
            cross_entropy(wrong, one)


def test_all_ignored_is_zero_with_finite_gradients():
    import tensorflow as tf

    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(np.full((2, 2, 2), 255), logits)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros_like(LOGITS))


def test_ignored_pixels_get_no_gradient():
    import tensorflow as tf

    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(LABELS, logits)
    gradient = np.abs(tape.gradient(loss, logits)).sum(-1)
    np.testing.assert_array_equal(gradient > 0, LABELS != 255)


def test_uint8_masks_and_another_ignore_label():
    labels = np.where(LABELS == 255, 2, LABELS).astype("uint8")
    counted = labels != 2
    got = cross_entropy(labels, LOGITS, ignore_label=2)
    np.testing.assert_allclose(got, by_hand(np.where(counted, labels, 255), LOGITS), rtol=1e-6)


def test_as_keras_loss():
    loss = SegmentationCrossEntropy(class_weights=[0.5, 2, 3])
    np.testing.assert_allclose(loss(LABELS, LOGITS), by_hand(LABELS, LOGITS, (0.5, 2, 3)), rtol=1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
