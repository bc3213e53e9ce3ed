"""The presence vector and the semantic-encoding loss against hand-computed values."""

import keras
import numpy as np

from kzoo.losses import SemanticEncodingLoss, class_presence, semantic_encoding_loss

LABELS = np.array([[[0, 2], [2, 255]], [[255, 255], [255, 255]]])


def test_presence_leaves_out_the_ignore_label():
    np.testing.assert_array_equal(class_presence(LABELS, 4), [[1, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(class_presence(LABELS.astype("uint8"), 3), [[1, 0, 1], [0, 0, 0]])


def test_labels_beyond_the_classes_count_for_none():
    np.testing.assert_array_equal(class_presence(np.array([[[0, 7]], [[-1, 1]]]), 2), [[1, 0], [0, 1]])


def test_an_ignore_label_among_the_classes():
    labels = np.array([[[0, 2], [2, 1]]])
    np.testing.assert_array_equal(class_presence(labels, 3, ignore_label=2), [[1, 1, 0]])
    logits = np.array([[1.0, -2.0, 0.5]], "float32")
    want = semantic_encoding_loss(np.where(labels == 2, 255, labels), logits)
    loss = SemanticEncodingLoss(ignore_label=2)
    np.testing.assert_allclose(loss(labels, logits), want)
    assert keras.losses.deserialize(keras.losses.serialize(loss)).get_config() == loss.get_config()


def test_loss_by_hand_and_finite_for_an_ignored_picture():
    logits = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], "float32")
    target = np.array([[1, 0, 1], [0, 0, 0]])
    probability = 1 / (1 + np.exp(-logits.astype("float64")))
    want = -(target * np.log(probability) + (1 - target) * np.log(1 - probability)).mean()
    np.testing.assert_allclose(semantic_encoding_loss(LABELS, logits), want, rtol=1e-6)
    np.testing.assert_allclose(SemanticEncodingLoss()(LABELS, logits), want, rtol=1e-6)
    assert np.isfinite(float(semantic_encoding_loss(LABELS[1:], np.array([[90.0, -90.0, 0.0]], "float32"))))
