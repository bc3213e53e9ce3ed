"""Validation: one confusion matrix over all pictures, by hand; the averaged weights and their return."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.training.strategy import make_strategy
from kzoo.training.validation import Validator, averaged_weights
from tests.training.one_optimizer import OneOptimizer


class RedIsTheClass:
    """A network that answers each pixel's red value."""

    num_classes, ignore_label = 4, 255

    def __call__(self, images, training):
        assert not training
        return tf.one_hot(tf.cast(images[..., 0], tf.int32), 4)


class Pictures:
    """Two masks of different sizes, and the answers to them."""

    pairs = (
        ([[0, 0, 1, 255]], [[0, 1, 1, 2]]),
        ([[1, 1, 0, 3], [255, 1, 0, 255]], [[1, 1, 1, 0], [0, 0, 0, 2]]),
    )

    def __len__(self):
        return len(self.pairs)

    def read(self, index):
        mask, answer = (np.array(values, np.uint8) for values in self.pairs[index])
        return answer[..., None].repeat(3, -1), mask


def test_by_hand():
    # Labelled 0: twice 0, twice 1; 1: thrice 1, once 0; 3: once 0. Class 2 is predicted at ignored pixels alone.
    result = Validator(RedIsTheClass(), Pictures())()
    assert result["val_iou"] == [round(2 / 6, 5), round(3 / 6, 5), None, 0.0]
    np.testing.assert_allclose(result["val_miou"], (2 / 6 + 3 / 6 + 0) / 3)
    np.testing.assert_allclose(result["val_pixel_accuracy"], 5 / 9)


@pytest.mark.parametrize("devices", [1, 2])
def test_averaged_weights_and_back(devices):
    strategy = make_strategy(devices)
    with strategy.scope():
        model = OneOptimizer([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
        model.compile(optimizer=keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75))
        model.optimizer.build(model.trainable_variables)

    def weights():
        return {float(copy.numpy()[0, 0]) for copy in strategy.experimental_local_results(model.weights[0].value)}

    with averaged_weights(model):  # before the first step there is no average yet
        assert weights() == {0}
    for _ in range(2):
        strategy.run(lambda: model.optimizer.apply([tf.constant([[-1 / devices]])], model.trainable_variables))
    with averaged_weights(model):  # of 1 and 2, the steps' weights
        assert weights() == {0.75 * 1 + 0.25 * 2}
    assert weights() == {2}


def test_masks_without_a_label():
    class Unlabelled(Pictures):
        pairs = (([[255, 255]], [[0, 1]]),)

    with pytest.raises(ValueError, match="No pixel of the 1 masks"):
        Validator(RedIsTheClass(), Unlabelled())()
