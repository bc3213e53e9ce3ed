"""DeepLab v1 beside the parity tests: parameters, training on shrunk labels, scale branches on any backbone, files."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kzoo.losses import cross_entropy
from kzoo.models import DeepLabV1, create_model
from kzoo.training.config import load_config

RECIPES = Path(__file__).parents[2] / "zoo_configs" / "voc"
# Where the label of place i of 9 lies in 65.
EVERY_8TH = slice(None, None, 8)


def small(**kwargs):
    options = {"backbone": "mobilenet_v2", "backbone_args": {"width": 0.35}, "filters": 16, "multi_scale": True}
    return DeepLabV1(3, **{**options, **kwargs})


@pytest.fixture
def pictures():
    return np.random.default_rng(1).uniform(0, 255, (2, 65, 65, 3)).astype("float32")


@pytest.fixture
def masks():
    masks = np.random.default_rng(2).integers(0, 3, (2, 65, 65)).astype("uint8")
    masks[0, :30] = 255
    return masks


def parameters(kernel_size: int, filters: int, classes: int = 21) -> int:
    """VGG-16's thirteen convolutions, fc6, fc7 and fc8 with their biases."""
    return 14_714_688 + (kernel_size**2 * 512 + 1) * filters + (filters + 1) * filters + (filters + 1) * classes


def test_published_parameters():
    """Table 2 of the paper; the largest networks are not built here."""
    assert DeepLabV1(21).count_params() == parameters(3, 1024) == 20_505_429
    model = DeepLabV1(21, multi_scale=True)
    assert model.count_params() == 20_505_429 + 1_206_121
    for recipe, millions in (("7x7", 134.3), ("4x4_s4", 65.1), ("4x4_s8", 65.1), ("largefov", 20.5)):
        args = load_config(RECIPES / f"deeplab_{recipe}_vgg16.yaml").model.args
        assert round(parameters(args["kernel_size"], args["filters"]) / 1e6, 1) == millions
    args = load_config(RECIPES / "deeplab_7x7_vgg16.yaml").model.args
    assert create_model("deeplab_v1", 21, {**args, "filters": 8}).count_params() == parameters(7, 8)
    fields = [load_config(path).model.args for path in sorted(RECIPES.glob("deeplab_*.yaml"))]
    assert sorted((args["kernel_size"], args["rate"]) for args in fields) == [(3, 12), (3, 12), (4, 4), (4, 8), (7, 4)]


def test_published_initial_weights():
    branch = DeepLabV1(21, multi_scale=True).branches["c3"]
    for layer, deviation in ((branch.conv, 0.001), (branch.fc, 0.001), (branch.score, 0.01)):
        np.testing.assert_allclose(np.std(layer.kernel), deviation, rtol=0.1)
        assert not np.any(layer.bias)


def test_labels_are_shrunk_by_default_with_vgg_alone():
    assert DeepLabV1(3, filters=8).shrink_labels and not small().shrink_labels
    assert not DeepLabV1(3, filters=8, shrink_labels=False).shrink_labels and small(shrink_labels=True).shrink_labels


@pytest.mark.parametrize("last_axis", [False, True])
def test_training_compares_shrunk_labels(pictures, masks, last_axis):
    model = small(shrink_labels=True, dropout=0.0, class_weights=[1, 2, 3])
    model.compile(optimizer="sgd", metrics=["accuracy"])
    logits = model(pictures, training=True)["logits"]
    assert logits.shape == (2, 9, 9, 3)
    shrunk = masks[:, EVERY_8TH, EVERY_8TH]
    given = masks[..., None] if last_axis else masks
    want = cross_entropy(shrunk, logits, class_weights=[1, 2, 3])
    np.testing.assert_allclose(model.compute_loss(pictures, given, {"logits": logits}), want, rtol=1e-6)
    # Dense elsewhere: validation sees every label.
    dense = model(pictures)
    want = cross_entropy(masks, dense, class_weights=[1, 2, 3])
    np.testing.assert_allclose(model.compute_loss(pictures, given, dense), want, rtol=1e-6)
    with pytest.raises(ValueError, match=r"Received masks \(2, 33, 33\)"):
        model.compute_loss(pictures, masks[:, :33, :33], {"logits": logits})


def test_fit_on_shrunk_labels_learns(pictures):
    """Classes that a picture's brightness tells, from a stream that knows no sizes."""
    model = small(shrink_labels=True, batchnorm=True)
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    pictures[0] *= 0.2
    masks = np.zeros((2, 65, 65), "uint8")
    masks[1] = 1
    losses = model.fit(pictures, masks, epochs=8, validation_data=(pictures, masks), verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_dense_branches_at_other_places_are_the_strided_ones(pictures):
    """Their convolution alone: the backbone's padding is not symmetric."""
    branch = small().branches["image"]
    x = pictures / 255
    np.testing.assert_allclose(branch(x)[:, EVERY_8TH, EVERY_8TH], branch(x, coarse=True), rtol=1e-4, atol=1e-9)


def test_call_equals_predict_and_a_file_gives_the_same_network(pictures, tmp_path):
    model = small(shrink_labels=True)
    for branch in model.branches.values():
        for weight in branch.trainable_weights:
            weight.assign(np.random.default_rng(0).normal(0, 0.1, weight.shape))
    logits = model(pictures[:, :50])
    assert logits.shape == (2, 50, 65, 3)
    np.testing.assert_allclose(logits, model.predict(pictures[:, :50], verbose=0), rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    assert again.get_config() == model.get_config() and list(again.branches) == list(model.branches)
    np.testing.assert_array_equal(again(pictures[:, :50]), logits)


def test_half_precision_keeps_full_logits(pictures):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = small(shrink_labels=True)
    for training in (False, True):
        outputs = model(pictures, training=training)
        logits = outputs["logits"] if training else outputs
        assert keras.backend.standardize_dtype(logits.dtype) == "float32" and np.isfinite(logits).all()
