"""DeepLab v2's forms and files. Its values: `tests/parity/test_deeplab_v2.py`."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kzoo.backbones import BACKBONES, Backbone
from kzoo.models import DeepLabV2, create_model
from kzoo.models.deeplab_v2 import DeepLabV2Head


@pytest.fixture
def pictures():
    return np.random.default_rng(1).uniform(0, 255, (2, 33, 49, 3)).astype("float32")


def test_with_filters_a_classifier_follows(tiny_backbone, pictures):
    """Without them the pyramid itself scores the classes."""
    model = create_model("deeplab_v2", 3, {"backbone": tiny_backbone})
    assert model.count_params() == model.backbone.count_params() + 4 * (9 * 8 + 1) * 3
    model = create_model("deeplab_v2", 3, {"backbone": tiny_backbone, "filters": 6, "rates": [1, 2]})
    assert model.count_params() == model.backbone.count_params() + 2 * (9 * 8 + 1) * 6 + (6 + 1) * 3
    features = model.head(model.backbone(model.preprocessing(pictures)))
    assert features.shape == (2, 5, 7, 6)
    want = model.to_input_size(model.classifier(features), pictures)
    np.testing.assert_allclose(model(pictures), want, rtol=1e-6)


@pytest.mark.parametrize("filters", [None, 6])
def test_half_precision_keeps_full_logits(tiny_backbone, pictures, filters):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = DeepLabV2(3, backbone=tiny_backbone, filters=filters)
    assert keras.backend.standardize_dtype(model(pictures).dtype) == "float32"
    assert model.head.compute_dtype == ("float32" if filters is None else "bfloat16")


def test_a_file_gives_the_same_network(tiny_backbone, pictures, tmp_path):
    model = DeepLabV2(3, backbone=tiny_backbone, filters=6, rates=(2, 3))
    model.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again(pictures), model(pictures))
    head = DeepLabV2Head(6, (2, 3))
    assert DeepLabV2Head.from_config(head.get_config()).get_config() == head.get_config()
    assert head.compute_output_shape({"c4": (2, 5, 7, 8)}) == (2, 5, 7, 6)


@pytest.mark.parametrize(("args", "caffe"), [(None, True), ({"caffe": False}, False)])
def test_resnets_are_of_caffes_form_by_default(tiny_backbone, monkeypatch, args, caffe):
    asked = {}

    def resnet(*, caffe: bool = False, weights: None = None, output_stride: int = 8) -> Backbone:
        asked["caffe"] = caffe
        return BACKBONES[tiny_backbone](output_stride=output_stride)

    monkeypatch.setitem(BACKBONES, "resnet50", resnet)
    model = DeepLabV2(3, backbone="resnet50", backbone_args=args)
    assert asked == {"caffe": caffe} == model.get_config()["backbone_args"]
