"""EncNet's size as published, and the forms that its options give. Its values: `tests/parity/test_encnet.py`."""

import numpy as np
import pytest

from kzoo.losses import cross_entropy, semantic_encoding_loss
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
    parts = [cross_entropy(masks, heads["logits"])]
    parts += [0.2 * semantic_encoding_loss(masks, heads[name]) for name in ("se_logits", "se_logits_c3")]
    np.testing.assert_allclose(model.compute_loss(None, masks, heads), sum(parts), rtol=1e-6)
    assert set(model.fit(np.zeros((2, 33, 33, 3)), masks, verbose=0).history) == {"loss", "ce_loss", "se_loss"}


def test_the_second_module_stands_before_the_lateral_fusion_and_the_auxiliary_head():
    """With its gate shut (the product form: all zeros), the heads no longer see what `c3` holds."""
    small = {"backbone": "mobilenet_v2", "backbone_args": {"width": 0.35}, "output_stride": 16, "filters": 16}
    model = EncNet(5, **small, num_codewords=4, lateral=["c3"], gate="product", stage3_context=True, dropout=0.0)
    features = model.backbone(np.random.default_rng(0).uniform(-1, 1, (2, 33, 33, 3)).astype("float32"))
    other = {**features, "c3": 1.0 - features["c3"]}

    def seen():
        heads = [model.heads(inputs, training=True) for inputs in (features, other)]
        return {name: np.abs(np.asarray(heads[0][name]) - np.asarray(heads[1][name])).max() for name in heads[0]}

    before = seen()
    assert min(before["logits"], before["aux"]) > 1e-3
    model.context_c3.channel_gate.kernel.assign(np.zeros(model.context_c3.channel_gate.kernel.shape))
    model.context_c3.channel_gate.bias.assign(np.full(model.context_c3.channel_gate.bias.shape, -1e4))
    assert {name for name, difference in seen().items() if difference > 0} == {"se_logits_c3"}


def test_zero_codewords_pool():
    model = EncNet(5, backbone="mobilenet_v2", backbone_args={"width": 0.35}, output_stride=32, num_codewords=0)
    assert model.context.encoding is None
    assert model(np.zeros((1, 40, 40, 3), "float32")).shape == (1, 40, 40, 5)
