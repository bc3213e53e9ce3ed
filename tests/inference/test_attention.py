"""Attention maps from a point: the similarity by hand, the panels, errors."""

import numpy as np
import pytest

from kzoo.inference import attention_picture, similarity_to_point
from kzoo.models import FCN, SANet

SMALL = {"backbone": "mobilenet_v2", "backbone_args": {"width": 0.35}, "output_stride": 16, "filters": 8}


def test_similarity_by_hand():
    """The mean is (3, 3): what is left is (-2, 0), (2, 0), (-1, -1), (1, 1)."""
    features = np.array([[[1, 3], [5, 3]], [[2, 2], [4, 4]]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(similarity_to_point(features, 0, 1), [[-1, 1], [-half, half]])


def test_a_dead_channel_is_alike_to_nothing():
    assert np.array_equal(similarity_to_point(np.ones((2, 3, 4)), 0, 0), np.zeros((2, 3)))


def test_panels_of_a_picture():
    """Left half red, right half green: from a point on the right, the last head's main branch is alike on the right."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :48, 0] = image[:, 48:, 1] = 255
    drawn = np.asarray(attention_picture(SANet(3, **SMALL), image, (90, 32)))
    width = (drawn.shape[1] + 6) // 5
    assert drawn.shape[0] > 64
    assert width - 6 == 96
    panel = drawn[-64:, 3 * width : 3 * width + 96].astype(int)
    red_over_blue = panel[..., 0] - panel[..., 2]
    assert red_over_blue[:, 80:].mean() > red_over_blue[:, :16].mean() + 50
    assert tuple(drawn[-64 + 20, 20]) == (255, 0, 0)  # the picture itself


def test_wrong_network_and_point():
    image = np.zeros((40, 50, 3), np.uint8)
    with pytest.raises(ValueError, match=r"FCN: attention maps are SANet's alone"):
        attention_picture(FCN(3, **SMALL, aux=False), image)
    with pytest.raises(ValueError, match=r"point \(50, 3\) is outside.*column of 0\.\.49 and a row of 0\.\.39"):
        attention_picture(SANet(3, **SMALL), image, (50, 3))
