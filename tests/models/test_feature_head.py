"""The part of the heads that FCN and EncNet share: its parts in order, at the finest feature's size."""

import keras
import numpy as np
import pytest

from kzoo.layers import Resize
from kzoo.models.feature_head import FeatureHead

SIZES = {"c1": (13, 18, 4), "c2": (7, 9, 6), "c3": (4, 5, 8), "c4": (2, 3, 10)}


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(2, *size)).astype("float32") for name, size in SIZES.items()}


@pytest.mark.parametrize("align_corners", [True, False])
def test_fuses_at_the_finest_features_size(features, align_corners):
    head = FeatureHead(5, ("c1", "c3"), lateral_filters=3, align_corners=align_corners)
    fused = head(features)
    resize = Resize((13, 18), align_corners=align_corners)
    branches = [head.conv5(features["c4"]), head.connect[0](features["c1"]), head.connect[1](features["c3"])]
    assert [branch.shape[-1] for branch in branches] == [5, 3, 3]
    want = head.fusion(keras.ops.concatenate([resize(branch) for branch in branches], axis=-1))
    np.testing.assert_allclose(fused, want, rtol=1e-5, atol=1e-6)
    assert fused.shape == (2, 13, 18, 5)


def test_without_lateral_features_it_is_one_convolution(features):
    head = FeatureHead(5)
    np.testing.assert_array_equal(head(features), head.conv5(features["c4"]))
