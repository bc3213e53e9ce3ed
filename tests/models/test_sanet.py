"""SANet's losses, maps and forms. Its values: `tests/parity/test_sanet.py`."""

import numpy as np
import pytest
import tensorflow as tf

from kzoo.models import SANet

SMALL = {
    "backbone": "mobilenet_v2",
    "backbone_args": {"width": 0.35},
    "output_stride": 16,
    "filters": 8,
    "separable": True,
}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (2, 33, 41, 3)).astype("float32")


@pytest.fixture(scope="module")
def masks():
    return np.random.default_rng(1).integers(0, 4, (2, 33, 41))


def moved(model, images, masks, loss):
    """The layers outside the backbone that one of the losses reaches."""
    with tf.GradientTape() as tape:
        value = model.head_losses(masks, model(images, training=True))[loss][1]
    gradients = tape.gradient(value, model.head_variables)
    return {
        variable.path.split("/")[1]
        for variable, gradient in zip(model.head_variables, gradients, strict=True)
        if gradient is not None and np.abs(np.asarray(gradient)).max() > 0
    }


def test_each_loss_moves_its_own_heads(images, masks):
    model = SANet(4, **SMALL, dropout=0.0)
    heads = {f"{part}_c{stage}" for part in ("attention", "mask") for stage in (1, 2, 3, 4)}
    assert moved(model, images, masks, "mask_loss") == heads
    assert moved(model, images, masks, "categorical_loss") == {"attention_c4", "categories"}
    assert moved(model, images, masks, "ce_loss") == heads | {"dense_head", "dense_classifier", "guide"}


def test_losses_are_weighed_and_logged(images, masks):
    model = SANet(4, **SMALL, categorical_weight=0.5, dense_weight=2.0)
    model.compile("sgd")
    log = model.fit(images, masks, verbose=0).history
    assert set(log) == {"loss", "ce_loss", "mask_loss", "categorical_loss"}
    total = log["mask_loss"][0] + 0.5 * log["categorical_loss"][0] + 2.0 * log["ce_loss"][0]
    assert log["loss"][0] == pytest.approx(total, rel=1e-5)


def test_attention_maps(images):
    """What the API shows is what the network computes with."""
    model = SANet(4, **SMALL)
    maps = model.attention_maps(images)
    assert list(maps) == ["c1", "c2", "c3", "c4"]
    features = model.backbone(model.preprocessing(images))
    for name, branches in maps.items():
        assert branches["attention"].shape == branches["main"].shape == (*features[name].shape[:3], 8)
        head = branches["attention"] * branches["main"] + branches["attention"]
        np.testing.assert_allclose(model.attention_heads[name](features[name]), head, rtol=1e-5, atol=1e-5)


def test_forms_for_ablations(images):
    sizes = {}
    for attention in ("sa", "se", "none"):
        model = SANet(4, **SMALL, attention=attention)
        assert SANet.from_config(model.get_config()).count_params() == model.count_params()
        sizes[attention] = model.count_params()
    assert len(set(sizes.values())) == 3
    with pytest.raises(ValueError, match="made with attention='none'"):
        model.attention_maps(images)
    with pytest.raises(ValueError, match=r"attention must be sa, se or none.*'both'"):
        SANet(4, **SMALL, attention="both")
