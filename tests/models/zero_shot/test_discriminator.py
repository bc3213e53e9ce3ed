"""The classifier and the discriminator that share a layer. Their values: `tests/parity/test_zero_shot.py`."""

import keras
import numpy as np
import pytest

from kzoo.models.zero_shot import Discriminator, SharedClassifier
from tests.models.zero_shot.layers import assert_survives_saving, count

X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")


def test_serialisation(tmp_path):
    assert_survives_saving(SharedClassifier(3, 7, 0.25), [(3, 4, 5)], tmp_path)
    assert_survives_saving(Discriminator(), [(3, 4, 7)], tmp_path)


def test_weights_of_the_published_size():
    classifier, discriminator = SharedClassifier(21), Discriminator()
    classifier.build((None, None, None, 600))
    discriminator.build((None, None, None, 1024))
    assert count(classifier) == 600 * 1024 + 1024 + 1024 * 21 + 21 == 636_949
    assert count(discriminator) == 1025


def test_taken_apart_it_is_the_same():
    classifier, discriminator = SharedClassifier(3, 7), Discriminator()
    logits = classifier(X)
    hidden = classifier.hidden(X)
    assert logits.shape == (2, 3, 4, 3) and hidden.shape == (2, 3, 4, 7)
    np.testing.assert_array_equal(classifier.classes(hidden), logits)
    scores = np.array(discriminator(hidden))
    assert scores.shape == (2, 3, 4, 1) and 0 < scores.min() < scores.max() < 1
    dropped = np.array(classifier.hidden(X, training=True))
    np.testing.assert_allclose(dropped[dropped > 0], 2 * np.array(hidden)[dropped > 0], rtol=1e-6)
    assert 0 < (dropped > 0).sum() < (np.array(hidden) > 0).sum()


def test_half_precision():
    """The shared layer is computed in half precision, logits and scores in float32."""
    policy = keras.DTypePolicy("mixed_bfloat16")
    classifier, discriminator = SharedClassifier(3, 7, dtype=policy), Discriminator(dtype=policy)
    assert classifier(X).dtype == discriminator(classifier.hidden(X)).dtype == "float32"
    assert classifier.hidden(X).dtype == "bfloat16"
    assert classifier(keras.Input((None, None, 5))).dtype == "float32"


def test_wrong_arguments():
    for wrong in ({"num_classes": 0}, {"num_classes": 3, "filters": 0}, {"num_classes": 3, "dropout": 1.0}):
        with pytest.raises(ValueError, match="SharedClassifier needs"):
            SharedClassifier(**wrong)
