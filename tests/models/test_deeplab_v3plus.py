"""DeepLab v3+'s forms, dropout, files and errors. Its values: `tests/parity/test_deeplab_v3plus.py`."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kzoo.models import DeepLabV3Plus, create_model
from kzoo.models.deeplab_v3plus import DeepLabV3PlusHead

SMALL = {"filters": 6, "rates": [1, 2], "low_level_filters": 4}


@pytest.fixture
def pictures():
    return np.random.default_rng(1).uniform(0, 255, (2, 33, 49, 3)).astype("float32")


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {"c2": rng.normal(size=(2, 9, 11, 3)).astype("f4"), "c4": rng.normal(size=(2, 5, 6, 8)).astype("f4")}


def unit(kernel: int, inputs: int, outputs: int = 6, separable: bool = False) -> int:
    """Parameters of a convolution and its BatchNorm, which has four a channel."""
    if separable and kernel > 1:
        return kernel**2 * inputs + 4 * inputs + unit(1, inputs, outputs)
    return (kernel**2 * inputs + 4) * outputs


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("low_level", ["c2", None])
def test_parts_and_their_parameters(features, low_level, separable):
    head = DeepLabV3PlusHead(6, (1, 2), low_level, 4, separable)
    fine = low_level is not None
    output = head(features)
    assert output.shape == head.compute_output_shape({name: array.shape for name, array in features.items()})
    assert output.shape == ((2, 9, 11, 6) if fine else (2, 5, 6, 6))
    count = sum(int(np.prod(weight.shape)) for weight in head.weights if "seed_generator" not in weight.path)
    pyramid = 2 * unit(1, 8) + 2 * unit(3, 8, separable=separable) + unit(1, 4 * 6)
    decoder = unit(1, 3, 4) + unit(3, 6 + 4, separable=separable) + unit(3, 6, separable=separable)
    assert count == pyramid + (decoder if fine else 0)
    config = head.get_config()
    assert DeepLabV3PlusHead.from_config(config).get_config() == config


@pytest.mark.parametrize("index", [0, 1, 2])
def test_each_dropout_has_its_place(features, index):
    """The last is seen in the output; those before it reach every channel of it."""
    rates = [0.0, 0.0, 0.0]
    rates[index] = 0.9
    head = DeepLabV3PlusHead(6, (1, 2), "c2", 4, dropout=rates)
    np.testing.assert_array_equal(head(features), head(features))
    for layer in (head.project, head.decoder[0], head.decoder[2]):
        layer.bn.beta.assign_add(np.full(6, 3.0))  # far from ReLU's zeros
    seen = []
    for layer in (head.decoder[0], head.decoder[2]):
        monitored = layer.call
        layer.call = lambda x, training=None, call=monitored: seen.append(np.asarray(x)) or call(x, training=training)
    output = np.asarray(head(features, training=True))
    # Zeros in what leaves the pyramid (still mostly, after it was resized), the first convolution, and the second.
    shares = [np.mean(array == 0) for array in (seen[0][..., :6], seen[1], output)]
    assert shares[index] > (0.1 if index == 0 else 0.8)
    assert all(share < 0.05 for place, share in enumerate(shares) if place != index)


def test_a_file_gives_the_same_network(tiny_backbone, pictures, tmp_path):
    model = create_model("deeplab_v3plus", 3, {"backbone": tiny_backbone, **SMALL, "align_corners": False})
    assert not model.head.align_corners
    model.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again(pictures), model(pictures))


def test_half_precision_keeps_full_logits(tiny_backbone, pictures):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = DeepLabV3Plus(3, backbone=tiny_backbone, **SMALL)
    for training in (False, True):
        outputs = model(pictures, training=training)
        logits = outputs["logits"] if training else outputs
        assert keras.backend.standardize_dtype(logits.dtype) == "float32" and np.isfinite(logits).all()
    assert model.head.compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"low_level": "c9"}, "low-level feature 'c9'"),
        ({"rates": []}, r"one rate or more, each of at least 1\. Received: rates=\[\]"),
        ({"rates": [6, 0]}, r"rates=\[6, 0\]"),
        ({"dropout": [0.5]}, r"three dropouts, .* Received: dropout=\[0\.5\]"),
        ({"dropout": [0.5, 1.0, 0]}, r"dropout=\[0\.5, 1\.0, 0\]"),
    ],
)
def test_bad_arguments(tiny_backbone, arguments, words):
    with pytest.raises(ValueError, match=words):
        DeepLabV3Plus(3, backbone=tiny_backbone, **{**SMALL, **arguments})
