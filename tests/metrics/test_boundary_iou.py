"""Boundary IoU against a brute-force statement of its definition, and cases worked out by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.metrics import BoundaryIoU


def band(mask, radius):
    """The pixels of a binary mask with something outside the mask (or the picture) within `radius` steps."""
    height, width = mask.shape
    result = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            window = [
                0 <= v < height and 0 <= u < width and mask[v, u]
                for v in range(y - radius, y + radius + 1)
                for u in range(x - radius, x + radius + 1)
            ]
            result[y, x] = mask[y, x] and not all(window)
    return result


def brute_force(pictures, num_classes, share):
    intersection, union = np.zeros(num_classes), np.zeros(num_classes)
    for labels, predictions in pictures:
        radius = max(1, round(share * math.hypot(*labels.shape)))
        counted = labels < num_classes
        for c in range(num_classes):
            true, predicted = band(counted & (labels == c), radius), band(counted & (predictions == c), radius)
            intersection[c] += np.sum(true & predicted)
            union[c] += np.sum(true | predicted)
    present = union > 0
    return np.mean(intersection[present] / union[present])


def patches(rng, height, width, values):
    """A random map of rectangular patches, so that windows without a boundary exist."""
    coarse = rng.choice(values, (math.ceil(height / 7), math.ceil(width / 9)))
    return np.kron(coarse, np.ones((7, 9), int))[:height, :width]


@pytest.mark.parametrize("share", [0.02, 0.06, 0.2])
def test_equals_the_definition(share):
    rng = np.random.default_rng(0)
    metric, pictures = BoundaryIoU(4, width=share), []
    for height, width in ((41, 53), (64, 30), (5, 3)):
        labels, predictions = patches(rng, height, width, [0, 1, 2, 255]), patches(rng, height, width, [0, 1, 2])
        keep = rng.random((height // 2, width)) < 0.97
        predictions[: height // 2] = np.where(keep, labels[: height // 2], 1) % 4
        pictures.append((labels, predictions))
        metric.update_state(labels[None], np.eye(4, dtype="float32")[predictions][None])
    assert float(metric.result()) == pytest.approx(brute_force(pictures, 4, share), abs=1e-6)


def test_by_hand_at_the_picture_border():
    # 1 pixel band (2 % of a 10x10 picture's diagonal rounds to 0, at least 1 counts). Labels: all class 0, so the band
    # is the picture's border of 36 pixels. The prediction lacks the left column: its band is the border of the 10x9
    # rest, 34 pixels; 9 + 9 + 8 = 26 in common. Class 1's band, the column, is 10 pixels for nothing.
    labels, predictions = np.zeros((1, 10, 10), int), np.zeros((1, 10, 10), int)
    predictions[:, :, 0] = 1
    metric = BoundaryIoU(2)
    metric.update_state(labels, np.eye(2, dtype="float32")[predictions])
    assert float(metric.result()) == pytest.approx((26 / (36 + 34 - 26) + 0) / 2)


def test_perfect_prediction_around_ignored_pixels_is_one():
    labels = np.zeros((1, 20, 20), int)
    labels[:, 5:15, 5:15] = 255
    labels[:, 7:13, 7:13] = 1
    predictions = np.where(labels == 255, 1, labels)
    metric = BoundaryIoU(2)
    metric.update_state(labels, np.eye(2, dtype="float32")[predictions])
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("jit", [False, True])
def test_in_a_graph_of_unknown_size(jit):
    rng = np.random.default_rng(2)
    eager, graph = BoundaryIoU(3), BoundaryIoU(3)
    signature = [tf.TensorSpec((None, None, None), tf.int32), tf.TensorSpec((None, None, None, 3), tf.float32)]
    update = tf.function(lambda y, x: graph.update_state(y, x), input_signature=signature, jit_compile=jit)
    for shape in ((30, 40), (90, 70)):
        labels = patches(rng, *shape, [0, 1, 2, 255])[None].astype("int32")
        logits = np.eye(3, dtype="float32")[patches(rng, *shape, [0, 1, 2])][None]
        eager.update_state(labels, logits)
        update(labels, logits)
    np.testing.assert_array_equal(graph.matrix, eager.matrix)


def test_serialisation_and_bad_width():
    metric = BoundaryIoU(4, width=0.1)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert copy.get_config() == metric.get_config()
    with pytest.raises(ValueError, match=r"share of the picture's diagonal.*2"):
        BoundaryIoU(4, width=2)
