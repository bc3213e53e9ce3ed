"""EncNet's size as published, and the forms that its options give. Its values: `tests/parity/test_encnet.py`."""

import numpy as np
import pytest

from kzoo.models import EncNet


@pytest.mark.parametrize(
    ("backbone", "num_classes", "lateral", "parameters"),
    [
        ("resnet50", 59, True, 43_915_217),
        ("resnet101", 59, True, 62_907_345),
        ("resnet50", 150, False, 36_164_578),
        ("resnet101", 150, False, 55_156_706),
    ],
)
def test_trainable_parameters_of_the_published_networks(backbone, num_classes, lateral, parameters):
    model = EncNet(num_classes, backbone=backbone, lateral=lateral)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters


def test_the_papers_own_form():
    model = EncNet(
        5,
        backbone="mobilenet_v2",
        output_stride=16,
        backbone_args={"width": 0.35},
        filters=16,
        lateral=["c3"],
        projection=False,
        reduction="sum",
        gate="product",
        stage3_context=True,
        aux=False,
    )
    heads = model(np.zeros((2, 33, 33, 3), "float32"), training=True)
    assert set(heads) == {"logits", "se_logits", "se_logits_c3"}
    assert model.context.project is None and model.context.encoding.num_codewords == 32
    masks = np.random.default_rng(0).integers(0, 5, (2, 33, 33))
    model.compile(optimizer="sgd")
    assert set(model.fit(np.zeros((2, 33, 33, 3)), masks, verbose=0).history) == {"loss", "ce_loss", "se_loss"}


def test_zero_codewords_pool():
    model = EncNet(5, backbone="mobilenet_v2", backbone_args={"width": 0.35}, output_stride=32, num_codewords=0)
    assert model.context.encoding is None
    assert model(np.zeros((1, 40, 40, 3), "float32")).shape == (1, 40, 40, 5)
