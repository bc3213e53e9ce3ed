"""The end of an epoch: what is validated and when, which weights are kept, and in which order files are written."""

import csv

import keras
import numpy as np
import pytest

from kzoo.training import epoch_end
from kzoo.training.epoch_end import EpochEnd
from kzoo.training.state import load_state
from tests.training.one_optimizer import OneOptimizer

# A weight that grows by 1 a step from 0, and its average with momentum 0.5 after each step.
WEIGHTS, AVERAGES = (1, 2, 3), (1, 1.5, 2.25)


def network():
    model = OneOptimizer([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(optimizer=keras.optimizers.SGD(1.0, momentum=1e-9, use_ema=True, ema_momentum=0.5))
    model.optimizer.build(model.trainable_variables)
    return model


def weight(model):
    return round(float(model.weights[0][0, 0]), 6)


def finish_epochs(folder, scores, every=1):
    """Runs a step an epoch; returns the model, and the weight that each validation and each epoch's end saw."""
    model, validated, after, scores = network(), [], [], iter(scores)

    def validator():
        validated.append(weight(model))
        return {"val_miou": next(scores), "val_pixel_accuracy": 0.5, "val_iou": [0.5, None]}

    callback = EpochEnd(folder, validator, every, epochs=3, history=[])
    callback.set_model(model)
    for epoch in range(3):
        callback.on_epoch_begin(epoch)
        model.optimizer.apply([np.array([[-1.0]], "float32")], model.trainable_variables)
        callback.on_epoch_end(epoch, {"loss": 1.0})
        after.append(weight(model))
    return model, validated, after


def in_file(path):
    model = network()
    model.load_weights(path)
    return weight(model)


def rows(folder):
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_averages_are_validated_and_the_best_kept(tmp_path):
    _, validated, after = finish_epochs(tmp_path, scores=(0.3, 0.5, 0.4))
    assert (tuple(validated), tuple(after)) == (AVERAGES, WEIGHTS)
    assert in_file(tmp_path / "best.weights.h5") == AVERAGES[1]
    assert in_file(tmp_path / "last.weights.h5") == AVERAGES[2]
    assert [row["val_miou"] for row in rows(tmp_path)] == ["0.3", "0.5", "0.4"]


def test_validates_every_so_many_epochs_and_the_last(tmp_path):
    _, validated, _ = finish_epochs(tmp_path, scores=(0.3, 0.5), every=2)
    assert tuple(validated) == AVERAGES[1:]
    assert [(row["epoch"], row["val_miou"]) for row in rows(tmp_path)] == [("1", ""), ("2", "0.3"), ("3", "0.5")]


def test_state_holds_weights_and_every_slot(tmp_path):
    model, _, _ = finish_epochs(tmp_path, scores=(0.3, 0.5, 0.4))
    again = network()
    epochs, history = load_state(tmp_path / "state.npz", again)
    assert epochs == 3 and [row["val_miou"] for row in history] == [0.3, 0.5, 0.4]
    assert len(again.optimizer.variables) == 4  # steps, learning rate, momentum, average
    for restored, saved in zip((again, again.optimizer), (model, model.optimizer), strict=True):
        for value, expected in zip(restored.variables, saved.variables, strict=True):
            np.testing.assert_array_equal(value, expected)


def test_state_is_written_last(tmp_path, monkeypatch):
    """What a run that is killed afterwards goes on from has its log and weights beside it."""
    seen = []

    def save_state(path, model, epochs_done, history):
        seen.append((epochs_done, len(history), len(rows(tmp_path)), in_file(tmp_path / "best.weights.h5")))

    monkeypatch.setattr(epoch_end, "save_state", save_state)
    finish_epochs(tmp_path, scores=(0.3, 0.5, 0.4))
    assert seen == [(1, 1, 1, AVERAGES[0]), (2, 2, 2, AVERAGES[1]), (3, 3, 3, AVERAGES[1])]


@pytest.mark.parametrize("change", ["shape", "missing"])
def test_a_state_of_another_network_is_refused(tmp_path, change):
    finish_epochs(tmp_path, scores=(0.3, 0.5, 0.4))
    with np.load(tmp_path / "state.npz") as state:
        arrays = dict(state)
    if change == "shape":
        arrays["model/0"] = np.zeros((2, 1))
    else:
        del arrays["optimizer/3"]
    np.savez(tmp_path / "state.npz", **arrays)
    with pytest.raises(ValueError, match=r"state\.npz.* does not fit this network: .*(\(2, 1\)|optimizer/3)"):
        load_state(tmp_path / "state.npz", network())


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    callback = EpochEnd(tmp_path, lambda: {}, every=1, epochs=3, history=[])
    callback.set_model(network())
    with pytest.raises(ValueError, match=r"The loss of epoch 2 is nan: .* optimizer\.learning_rate"):
        callback.on_epoch_end(1, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())
