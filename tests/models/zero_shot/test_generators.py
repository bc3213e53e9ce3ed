"""The feature generators and the graph of classes that touch. Their values: `tests/parity/test_zero_shot.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.models.zero_shot import FeatureGenerator, GraphFeatureGenerator, class_adjacency
from tests.models.zero_shot.layers import assert_survives_saving, count


def test_serialisation(tmp_path):
    generator = FeatureGenerator(5, (7, 6), (0.5, 0.1), 0.3, "sigmoid", 0.2)
    assert_survives_saving(generator, [(3, 2, 4), (3, 2, 3)], tmp_path)
    assert_survives_saving(GraphFeatureGenerator(5, (7,), (0.5,)), [(6, 4), (6, 3), (6, 6)], tmp_path)


@pytest.mark.parametrize(
    ("generator", "sizes", "weights"),
    [
        (FeatureGenerator.zs3(), (300, 300), 600 * 256 + 256 + 256 * 256 + 256),
        (FeatureGenerator.cagnet(form="paper"), (600, 600), 1200 * 512 + 512 + 512 * 600 + 600),
        (FeatureGenerator.cagnet(), (600, 600), 4_720_088),
        (GraphFeatureGenerator.zs3(64), (300, 300), 600 * 256 + 256 + 256 * 64 + 64),
    ],
)
def test_published_forms(generator, sizes, weights):
    embeddings, noise = (np.ones((2, 3, size), "float32") for size in sizes)
    graph = [np.eye(3)[None]] * isinstance(generator, GraphFeatureGenerator)
    assert generator(embeddings, noise, *graph).shape == (2, 3, generator.features)
    assert count(generator) == weights


def test_cagnets_layers():
    generator = FeatureGenerator.cagnet()
    assert [layer.units for layer in generator.linear] == [1024, 960, 864, 784, 720, 600]
    assert [layer.rate for layer in generator.drop] == [0.1, 0.1, 0.3, 0.5, 0.5]


def test_zs3s_start():
    generator = FeatureGenerator.zs3(8)
    generator.build((None, 300), (None, 300))
    for layer in generator.linear:
        np.testing.assert_array_equal(layer.bias, np.float32(0.01))
        limit = np.sqrt(6 / sum(layer.kernel.shape))  # Glorot's uniform
        assert 0.98 * limit < np.abs(layer.kernel).max() <= limit


def test_elements_do_not_see_each_other_and_dropout_is_for_training():
    generator = FeatureGenerator(5, (16,), (0.5,))
    rng = np.random.default_rng(0)
    embeddings, noise = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 2))
    out = np.array(generator(embeddings, noise))
    noise[1, 2] += 1
    changed = np.abs(np.array(generator(embeddings, noise)) - out).max(-1) > 0
    np.testing.assert_array_equal(changed, [[False, False, False], [False, False, True]])
    np.testing.assert_array_equal(generator(embeddings, noise), generator(embeddings, noise))
    assert np.abs(generator(embeddings, noise, training=True) - generator(embeddings, noise, training=True)).max() > 0


def test_a_node_sees_its_neighbours_alone():
    """Along a chain 0 - 1 - 2 - 3 two layers reach two nodes far; draws of noise share the graph."""
    generator = GraphFeatureGenerator(5, (16,), (0.0,))
    adjacency = class_adjacency(np.array([[[0, 1, 2, 3]]]), 4)
    rng = np.random.default_rng(0)
    embeddings, noise = rng.normal(size=(1, 6, 4, 3)), rng.normal(size=(1, 6, 4, 2))
    out = np.array(generator(embeddings, noise, adjacency[:, None]))
    assert out.shape == (1, 6, 4, 5)
    embeddings[0, :, 3] += 1
    changed = np.abs(np.array(generator(embeddings, noise, adjacency[:, None])) - out).max((0, 1, 3)) > 0
    np.testing.assert_array_equal(changed, [False, True, True, True])


def test_adjacency_by_hand():
    """0 lies over 1, 1 beside 2, 3 and 0 meet at a corner only; 9 and 255 part what they lie between; 4 is absent."""
    labels = np.array([[[0, 0, 3], [1, 9, 3], [1, 2, 255]], [[2, 255, 3], [255, 3, 255], [0, 255, 0]]])
    first = [[2, 2, 0, 2, 0], [2, 2, 2, 0, 0], [0, 2, 2, 0, 0], [2, 0, 0, 2, 0], [0, 0, 0, 0, 1]]
    want = np.array(first, float)
    want[want == 2] = 1
    want = np.stack([want / want.sum(1, keepdims=True), np.eye(5)])
    np.testing.assert_allclose(class_adjacency(labels, 5), want, rtol=1e-6)
    in_graph = tf.function(lambda x: class_adjacency(x, 5))
    got = in_graph.get_concrete_function(tf.TensorSpec((None, None, None), tf.uint8))(labels.astype("uint8"))
    assert got.shape[1:] == (5, 5)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_an_ignore_label_among_the_classes():
    np.testing.assert_array_equal(class_adjacency(np.array([[[0, 1, 2]]]), 3, ignore_label=1), np.eye(3)[None])


def test_half_precision():
    generator = FeatureGenerator(5, (7,), (0.5,), dtype=keras.DTypePolicy("mixed_bfloat16"))
    out = generator(np.ones((2, 4)), np.ones((2, 3)))
    assert out.dtype == "bfloat16"
    assert {weight.dtype for weight in generator.trainable_weights} == {"float32"}


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"rate for each of the 2 hidden layers.*\[0.5\]"):
        FeatureGenerator(5, (7, 6), [0.5])
    with pytest.raises(ValueError, match=r"at least 0 and below 1.*1\.0"):
        GraphFeatureGenerator(5, (7,), (1.0,))
    with pytest.raises(ValueError, match="hidden=\\(0,\\)"):
        FeatureGenerator(5, (0,), (0.5,))
    with pytest.raises(ValueError, match="Unknown output_activation 'relu'"):
        FeatureGenerator(5, (7,), (0.5,), output_activation="relu")
    with pytest.raises(ValueError, match=r"Unknown form of CaGNet's generator 'papre'. Did you mean 'paper'"):
        FeatureGenerator.cagnet(form="papre")
