"""A run: its folder, its resumption after `kill -9`, its errors."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kzoo.data import AugmentConfig, Labels, open_dataset, training_pipeline
from kzoo.losses import cross_entropy
from kzoo.training import load_config, run, train
from tests.training.one_optimizer import OneOptimizer

DEADLINE = 300  # seconds; far beyond what a run takes, so that a run that hangs fails the test


def start(recipe, folder):
    command = [sys.executable, "-m", "kzoo", "train", str(recipe), "--run", str(folder), "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    return output


def test_goes_on_after_kill_as_if_nothing_had_happened(recipe, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(recipe, whole))
    process = start(recipe, broken)
    deadline = time.monotonic() + DEADLINE
    while not (broken / "state.npz").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with np.load(broken / "state.npz") as state:
        assert json.loads(str(state["notes"]))["epochs_done"] < 3
    assert "going on after epoch" in finish(start(recipe, broken))

    with np.load(whole / "state.npz") as one, np.load(broken / "state.npz") as other:
        assert set(one.files) == set(other.files)
        for key in set(one.files) - {"notes"}:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-5, atol=1e-6, err_msg=key)
        histories = [json.loads(str(state["notes"]))["history"] for state in (one, other)]
    assert [row["epoch"] for row in histories[1]] == [1, 2, 3]
    for row, again in zip(*histories, strict=True):
        assert row["loss"] == pytest.approx(again["loss"], rel=1e-4)
        assert row["val_miou"] == pytest.approx(again["val_miou"], abs=1e-3)


class OneConvolution(OneOptimizer):
    """The smallest network that `train` takes."""

    num_classes, ignore_label = 2, 255

    def __init__(self, *_):
        super().__init__([keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(2, 1)])

    @property
    def head_variables(self):
        return self.trainable_variables

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        return cross_entropy(y, y_pred)


def test_two_devices_with_averaged_weights_go_on(recipe, tmp_path, monkeypatch):
    """The state has the weights that training goes on from, the weights' file their average, on each device."""
    monkeypatch.setattr(run, "build_model", OneConvolution)
    config, folder = load_config(recipe, ["train.epochs=2", "train.devices=2"]), tmp_path / "run"

    class Stops(run.EpochEnd):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "EpochEnd", Stops)
        train(config, folder, verbose=0)
    assert train(config, folder, verbose=0)["epochs"] == 2
    train(config, tmp_path / "whole", verbose=0)
    kernels = []
    for name in ("run", "whole"):
        with np.load(tmp_path / name / "state.npz") as state:
            assert state["optimizer/0"] == 12  # the steps of both epochs
            kernels += [state["model/0"], state["optimizer/1"]]
        averaged = OneConvolution()
        averaged.load_weights(tmp_path / name / "last.weights.h5")
        np.testing.assert_array_equal(averaged.weights[0], kernels[-1])
    assert not np.allclose(kernels[0], kernels[1], atol=1e-5)
    np.testing.assert_allclose(kernels[:2], kernels[2:], rtol=1e-5, atol=1e-6)


def test_folder_of_a_run(recipe, tmp_path):
    folder = tmp_path / "run"
    results = train(load_config(recipe, ["train.epochs=1"]), folder, verbose=0)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.yaml",
        "run.json",
        "log.csv",
        "state.npz",
        "best.weights.h5",
        "last.weights.h5",
        "results.json",
        "curves.png",
    }
    assert json.loads((folder / "results.json").read_text()) == results
    assert set(results["val_iou"]) == {"ground", "box"}
    with (folder / "log.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["val_miou"]) == pytest.approx(results["val_miou"], rel=1e-6)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    # The same call again has nothing left to do, and a run of another config is refused.
    assert train(load_config(recipe, ["train.epochs=1"]), folder, verbose=0) == results
    with pytest.raises(ValueError, match="holds a run of another config"):
        train(load_config(recipe, ["train.epochs=2"]), folder)


def test_seed_and_precision_are_set_before_the_network_is_built(recipe, tmp_path, monkeypatch):
    def build_model(config, dataset):
        raise RuntimeError(keras.config.dtype_policy().name, float(keras.random.uniform(())))

    monkeypatch.setattr(run, "build_model", build_model)

    def built(*overrides):
        with pytest.raises(RuntimeError) as raised:
            train(load_config(recipe, overrides), tmp_path / "run")
        return raised.value.args

    policy, number = built("train.precision=mixed_bfloat16")
    assert policy == "mixed_bfloat16"
    assert built() == ("float32", number)
    assert built("train.seed=8")[1] != number


def test_what_a_run_leaves_as_it_was(recipe, tmp_path, monkeypatch):
    def build_model(config, dataset):
        raise RuntimeError

    monkeypatch.setattr(run, "build_model", build_model)
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".partial-k3x-state.npz", ".partial-k3x-mine.txt"):
        (folder / name).touch()
    with pytest.raises(RuntimeError):
        train(load_config(recipe, ["train.precision=mixed_bfloat16"]), folder)
    assert keras.config.dtype_policy().name == "float32"
    # What a killed run left half-written is swept, and nothing else.
    assert [path.name for path in folder.iterdir()] == [".partial-k3x-mine.txt"]


def test_a_bad_mask_is_named(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "build_model", OneConvolution)
    config = load_config(recipe, ["train.epochs=1"])
    bad = Path(config.data.root) / "train" / "masks" / "3.png"
    Image.fromarray(np.full((60, 70), 9, np.uint8)).save(bad)
    with pytest.raises(ValueError, match=re.escape(str(bad))):
        train(config, tmp_path / "run", verbose=0)


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused(recipe, tmp_path, split, monkeypatch):
    opened = run.open_dataset

    def open_dataset(name, root, wanted):
        dataset = opened(name, root, wanted)
        return replace(dataset, samples=()) if wanted == split else dataset

    monkeypatch.setattr(run, "open_dataset", open_dataset)
    with pytest.raises(ValueError, match=f"The split '{split}' of .* has no pictures"):
        train(load_config(recipe), tmp_path / "run")


def test_the_stream_is_the_recipes(recipe):
    overrides = ["data.augment.scale=[0.5, 0.6]", "data.crop=[32, 40]", "train.seed=5"]
    config = load_config(recipe, overrides)
    dataset = open_dataset("folder", config.data.root, "train")
    augment = AugmentConfig(scale=(0.5, 0.6))
    options = {"crop": (32, 40), "batch_size": 4, "augment": augment, "seed": 5, "epochs": 3, "first_epoch": 1}
    for got, want in zip(
        run._pipeline(config, dataset, 1).take(2), training_pipeline(dataset, **options).take(2), strict=True
    ):
        for mine, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_results_are_the_best_epochs(tmp_path):
    class Pictures:
        labels = Labels(("ground", "box"), ((0, 0, 0), (1, 2, 3)))

    scores = {1: 0.3, 3: 0.5, 4: 0.4}
    history = [{"epoch": epoch, "loss": 1.0, "seconds": 2.5} for epoch in range(1, 5)]
    for row in history:
        if (score := scores.get(row["epoch"])) is not None:
            row |= {"val_miou": score, "val_pixel_accuracy": score + 0.2, "val_iou": [score, None]}
    results = run._finish(tmp_path, history, Pictures())
    assert results == {
        **{"epochs": 4, "best_epoch": 3, "val_miou": 0.5, "val_pixel_accuracy": 0.7, "seconds": 10.0},
        "val_iou": {"ground": 0.5, "box": None},
    }
    assert json.loads((tmp_path / "results.json").read_text()) == results


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.name=encnett", "Did you mean 'encnet'"),
        ("model.args={outputstride: 8}", "Did you mean 'output_stride'"),
        ("data.root=/nowhere/at/all", "/nowhere/at/all"),
        ("data.dataset=camvd", "Did you mean 'camvid'"),
        ("data.train_split=trian", "trian"),
        ("data.batch_size=64", "24 samples, fewer than one batch of 64"),
    ],
)
def test_a_recipe_that_does_not_fit_leaves_no_folder(recipe, tmp_path, override, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(load_config(recipe, [override]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_damaged_state_is_named(recipe, tmp_path):
    config = load_config(recipe, ["train.epochs=1"])
    train(config, tmp_path / "run", verbose=0)
    (tmp_path / "run" / "state.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(ValueError, match=r"state\.npz"):
        train(config, tmp_path / "run")
