from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kzoo.convert import CheckpointError, KeyMap, kept_layers, set_weights

KEY_MAP = KeyMap(
    "a test",
    (("body.*.conv", "block{}_conv"), ("body.*.norm", "block{}_norm"), ("last", "dense")),
    dropped=("old.*", "*.num_batches_tracked"),
)


def network() -> keras.Model:
    inputs = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, (3, 2), use_bias=False, name="block1_conv")(inputs)
    x = keras.layers.BatchNormalization(name="block1_norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="dense")(x), name="net")


def checkpoint() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {
        "body.1.conv.weight": (4, 3, 3, 2),
        **{f"body.1.norm.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")},
        "body.1.norm.num_batches_tracked": (),
        "last.weight": (2, 4),
        "last.bias": (2,),
        "old.classifier": (7, 7),
    }
    return {key: rng.uniform(1, 2, shape).astype("float32") for key, shape in shapes.items()}


def test_every_weight_is_where_it_belongs() -> None:
    model, tensors = network(), checkpoint()
    set_weights(model, tensors, KEY_MAP, "a.pth")
    kernel, gamma, beta, mean, variance, dense, bias = model.get_weights()
    for i in range(4):
        np.testing.assert_array_equal(kernel[:, :, :, i].transpose(2, 0, 1), tensors["body.1.conv.weight"][i])
    for value, name in ((gamma, "weight"), (beta, "bias"), (mean, "running_mean"), (variance, "running_var")):
        np.testing.assert_array_equal(value, tensors[f"body.1.norm.{name}"])
    np.testing.assert_array_equal(dense, tensors["last.weight"].T)
    np.testing.assert_array_equal(bias, tensors["last.bias"])


def test_what_may_be_dropped_may_be_absent() -> None:
    tensors = {key: value for key, value in checkpoint().items() if not KEY_MAP.is_dropped(key)}
    assert len(tensors) == 7
    set_weights(network(), tensors, KEY_MAP, "a.pth")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body.1.conv.weight": None}, "nothing sets block1_conv/kernel"),
        ({"body.2.conv.weight": np.ones((4, 3, 3, 2))}, "body.2.conv.weight is unknown"),
        ({"body.1.conv.bias": np.ones(4)}, "body.1.conv.bias is unknown"),
        ({"body.x.conv.weight": np.ones(4)}, "body.x.conv.weight is unknown"),
        (
            {"last.weight": np.ones((4, 2))},
            r"last.weight \(dense/kernel\) has shape \(2, 4\) in Keras' order, expected \(4, 2\)",
        ),
        ({"body.1.norm.bias": np.ones(5)}, r"block1_norm/beta\) has shape \(5,\) in Keras' order, expected \(4,\)"),
        (
            {"last.bias": np.array([1j, 2], "complex64")},
            r"last.bias \(dense/bias\) holds complex64, expected float",
        ),
        ({"last.bias": np.array([True, False])}, "holds bool, expected floating-point numbers"),
        ({"last.bias": np.array([1, 2])}, "holds int64, expected floating-point numbers"),
        ({"body.01.conv.weight": np.ones((4, 3, 3, 2))}, "unknown"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(change: dict[str, Any], words: str) -> None:
    model, tensors = network(), checkpoint()
    before = model.get_weights()
    tensors = {key: value for key, value in {**tensors, **change}.items() if value is not None}
    with pytest.raises(CheckpointError, match=f"'a.pth' does not fit the network 'net' as a file of a test.*{words}"):
        set_weights(model, tensors, KEY_MAP, "a.pth")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("value", [np.float16("nan"), np.float32("-inf"), np.float64(1e39)])
def test_weights_that_are_not_finite_are_named_and_change_nothing(value: np.floating) -> None:
    model, tensors = network(), checkpoint()
    before = model.get_weights()
    tensors["last.bias"] = np.array([1, value])
    tensors["old.classifier"] = np.full(3, np.nan)  # is dropped
    with pytest.raises(CheckpointError, match=r"'a.pth' is damaged.*: last.bias \(dense/bias\) holds NaN or infinity"):
        set_weights(model, tensors, KEY_MAP, "a.pth")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_auxiliary_head_is_needed_where_the_network_has_one() -> None:
    key_map = KeyMap("a test", (*KEY_MAP.modules, ("aux", "aux_head")), KEY_MAP.dropped)
    head, body = {"aux.weight": np.ones((2, 3)), "aux.other": np.ones(4)}, checkpoint()
    model = network()
    set_weights(model, {**body, **head}, key_map, "a.pth")
    np.testing.assert_array_equal(model.get_weights()[-1], body["last.bias"])
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="aux_head")(inputs), name="net")
    with pytest.raises(CheckpointError, match=r"aux\.other is unknown"):
        set_weights(model, head, key_map, "a.pth")


def test_what_is_kept_stays_and_everything_else_is_needed() -> None:
    key_map = KeyMap("a test", KEY_MAP.modules, KEY_MAP.dropped, kept=("dense/*",))
    model, tensors = network(), checkpoint()
    before = model.get_weights()
    assert kept_layers(model, key_map) == ("dense",) and kept_layers(model, KEY_MAP) == ()
    del tensors["last.weight"], tensors["last.bias"]
    set_weights(model, tensors, key_map, "a.pth")
    np.testing.assert_array_equal(model.get_weights()[-2], before[-2])
    np.testing.assert_array_equal(model.get_weights()[1], tensors["body.1.norm.weight"])
    del tensors["body.1.norm.weight"]
    with pytest.raises(CheckpointError, match="nothing sets block1_norm/gamma"):
        set_weights(model, tensors, key_map, "a.pth")


def test_two_keys_for_one_weight() -> None:
    twice = KeyMap("a test", (*KEY_MAP.modules, ("head", "dense")), KEY_MAP.dropped)
    with pytest.raises(CheckpointError, match=r"head\.weight and last\.weight are both dense/kernel"):
        set_weights(network(), {**checkpoint(), "head.weight": np.ones((2, 4))}, twice, "a.pth")
