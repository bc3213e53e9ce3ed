"""The confusion matrix: hand-counted values, exactness, ignored pixels, strategies."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.metrics import BoundaryIoU, ConfusionMatrix, MeanIoU, confusion_matrix

LABELS = np.array([[[0, 0, 1, 255], [2, 1, 1, 255]]])
PREDICTIONS = np.array([[[0, 1, 1, 2], [2, 1, 0, 0]]])
BY_HAND = np.array([[1, 1, 0], [1, 2, 0], [0, 0, 1]])


def as_logits(predictions, num_classes, seed=0):
    noise = np.random.default_rng(seed).uniform(0, 1, (*predictions.shape, num_classes))
    return (noise + 2 * np.eye(num_classes)[predictions]).astype("float32")


def test_hand_counted_pixels():
    metric = ConfusionMatrix(3)
    metric.update_state(LABELS, as_logits(PREDICTIONS, 3))
    np.testing.assert_array_equal(metric.result(), BY_HAND)
    np.testing.assert_array_equal(confusion_matrix(LABELS, PREDICTIONS, 3), BY_HAND)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_any_label_type_and_ignore_label(dtype):
    metric = ConfusionMatrix(3, ignore_label=2)  # an ignore label inside the range, too
    metric.update_state(LABELS.astype(dtype), as_logits(PREDICTIONS, 3))
    np.testing.assert_array_equal(metric.result(), [[1, 1, 0], [1, 2, 0], [0, 0, 0]])


def test_adds_up_over_batches_and_resets():
    rng = np.random.default_rng(1)
    metric, expected = ConfusionMatrix(5), np.zeros((5, 5), int)
    for size in (7, 4):
        labels, predictions = rng.choice([0, 1, 2, 3, 4, 255], (2, size, 9)), rng.integers(0, 5, (2, size, 9))
        metric.update_state(labels, as_logits(predictions, 5))
        for label, prediction in zip(labels.ravel(), predictions.ravel(), strict=True):
            if label != 255:
                expected[label, prediction] += 1
    np.testing.assert_array_equal(metric.result(), expected)
    metric.reset_state()
    assert np.sum(metric.result()) == 0


def test_counts_stay_exact_beyond_float32():
    metric = ConfusionMatrix(3)
    metric.matrix.assign(np.full((3, 3), 2**24 + 2**33))
    metric.update_state(LABELS, as_logits(PREDICTIONS, 3))
    np.testing.assert_array_equal(metric.result(), BY_HAND + 2**24 + 2**33)


@pytest.mark.parametrize("jit", [False, True])
def test_in_a_graph_of_unknown_size(jit):
    metric = ConfusionMatrix(3)
    signature = [tf.TensorSpec((None, None, None), tf.uint8), tf.TensorSpec((None, None, None, 3), tf.float32)]
    update = tf.function(lambda y, x: metric.update_state(y, x), input_signature=signature, jit_compile=jit)
    update(LABELS.astype("uint8"), as_logits(PREDICTIONS, 3))
    np.testing.assert_array_equal(metric.result(), BY_HAND)


def test_serialisation():
    metric = ConfusionMatrix(4, ignore_label=3, name="m")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is ConfusionMatrix
    assert copy.get_config() == metric.get_config()


def test_labels_with_a_last_axis_of_one():
    metric, same = ConfusionMatrix(3), ConfusionMatrix(3)
    metric.update_state(LABELS[..., None], as_logits(PREDICTIONS, 3))
    same.update_state(LABELS, as_logits(PREDICTIONS, 3))
    np.testing.assert_array_equal(metric.result(), same.result())


def test_bad_input_is_named():
    metric = ConfusionMatrix(3)
    logits = as_logits(PREDICTIONS, 3)
    with pytest.raises(ValueError, match=r"logits \(B, H, W, 3\).*\(1, 2, 4, 5\)"):
        metric.update_state(LABELS, as_logits(PREDICTIONS, 5))
    with pytest.raises(ValueError, match=r"Expected masks \(1, 2, 4\)"):
        metric.update_state(LABELS[:, :1], logits)
    with pytest.raises(ValueError, match="sample weight"):
        metric.update_state(LABELS, logits, sample_weight=np.ones(1))
    with pytest.raises(ValueError, match=r"num_classes.*0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1"):
        confusion_matrix(LABELS, PREDICTIONS, 2)
    with pytest.raises(ValueError, match="one shape"):
        confusion_matrix(LABELS, PREDICTIONS[:, :1], 3)


def measure(strategy, labels, logits):
    """The results of three metrics after two batches of two, split over the strategy's replicas."""
    with strategy.scope():
        metrics = [ConfusionMatrix(3), MeanIoU(3), BoundaryIoU(3)]

    @tf.function
    def update(y, x):
        for metric in metrics:
            metric.update_state(y, x)

    batches = tf.data.Dataset.from_tensor_slices((labels, logits)).batch(2)
    for batch in strategy.experimental_distribute_dataset(batches):
        strategy.run(update, args=batch)
    return [np.asarray(metric.result()).tolist() for metric in metrics]


def test_two_replicas_count_as_one():
    rng = np.random.default_rng(3)
    labels, logits = rng.choice([0, 1, 2, 255], (4, 9, 9)), rng.normal(size=(4, 9, 9, 3)).astype("float32")
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    one = measure(tf.distribute.get_strategy(), labels, logits)
    assert np.sum(one[0]) == np.sum(labels != 255)
    assert measure(strategy, labels, logits) == one
