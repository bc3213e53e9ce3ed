"""A training run: from a recipe to a folder with weights, log and results."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import keras

from kzoo.data import Dataset, open_dataset, reading_errors, steps_per_epoch, training_pipeline
from kzoo.files import atomic_write, remove_partials
from kzoo.precision import dtype_policy
from kzoo.training.config import TrainConfig, load_config, resolve_data_path, to_yaml
from kzoo.training.curves import draw_curves
from kzoo.training.epoch_end import EpochEnd
from kzoo.training.network import build_model
from kzoo.training.optimizers import build_optimizer
from kzoo.training.run_folder import CONFIG, CURVES, FILES, RESULTS, STATE, RunInfo, code_commit, write_info
from kzoo.training.state import load_state
from kzoo.training.strategy import make_strategy
from kzoo.training.validation import Validator
from kzoo.training.zero_shot import evaluated_classes, further_optimizers, resolved, seen_pictures

logger = logging.getLogger("kzoo")


def train(
    config: TrainConfig,
    folder: Path,
    *,
    command: str = "kzoo.training.train",
    tensorboard: bool = False,
    verbose: int | str = "auto",
) -> dict[str, Any]:
    """Trains as `config` says, in `folder`; goes on from the last epoch if the folder holds a run of this config.

    The folder gets `config.yaml` (merged), `run.json` (code version, labels), `log.csv`, `state.npz`,
    `best.weights.h5` (by mIoU on the validation split), `last.weights.h5`, `results.json` and `curves.png`.

    Args:
        config: the recipe.
        folder: the run folder.
        command: the command line, for `run.json`.
        tensorboard: also write TensorBoard's event files, to `tensorboard/` in the folder (extra `[tensorboard]`).
        verbose: as for `keras.Model.fit`.

    Returns: the content of `results.json`.
    Raises: `ValueError` if the folder holds a run of another config, the recipe does not fit the data, a picture or
        mask is damaged, or the loss is no longer finite.
    """
    root = resolve_data_path(config.data.root)
    train_set = open_dataset(config.data.dataset, root, config.data.train_split)
    config = resolved(config, train_set.labels.class_names)
    path = folder / CONFIG
    if path.exists() and load_config(path) != config:
        raise ValueError(
            f"{str(folder)!r} holds a run of another config ({CONFIG} there differs). "
            "Give this run another folder with --run, or delete that one."
        )
    train_set = seen_pictures(config, train_set)
    val_set = evaluated_classes(config, open_dataset(config.data.dataset, root, config.data.val_split))
    for dataset in (train_set, val_set):
        if not len(dataset):
            raise ValueError(f"The split {dataset.split!r} of {str(root)!r} has no pictures; training needs some.")
    for name in FILES:
        remove_partials(folder / name)
    with reading_errors(), dtype_policy(config.train.precision):
        history = _train(config, folder, train_set, val_set, command, tensorboard, verbose)
    return _finish(folder, history, train_set)


def _train(
    config: TrainConfig,
    folder: Path,
    train_set: Dataset,
    val_set: Dataset,
    command: str,
    tensorboard: bool,
    verbose: int | str,
) -> list[dict[str, Any]]:
    """Builds the network and trains it to the last epoch; the log's rows."""
    steps = steps_per_epoch(train_set, config.data.batch_size)
    strategy = make_strategy(config.train.devices)
    keras.utils.set_random_seed(config.train.seed)
    with strategy.scope():
        model = build_model(config, train_set)
        moving = model.expect_steps(steps * config.train.epochs)
        optimizer = build_optimizer(config.optimizer, model, config.train.epochs, moving / config.train.epochs)
        model.compile(optimizer=optimizer, **further_optimizers(config, model))
        model.build_optimizers()

    path = folder / CONFIG
    if not path.exists():  # only now: a recipe that does not fit leaves no folder behind
        folder.mkdir(parents=True, exist_ok=True)
        labels = train_set.labels
        write_info(folder, RunInfo(command, code_commit(), labels.class_names, labels.palette, labels.ignore_label))
        with atomic_write(path) as temporary:
            temporary.write_text(to_yaml(config))
    state = folder / STATE
    epochs_done, history = load_state(state, model) if state.exists() else (0, [])
    if epochs_done:
        logger.info("going on after epoch %d of %d in %s", epochs_done, config.train.epochs, folder)
    if epochs_done < config.train.epochs:
        validator = Validator(model, val_set)
        callbacks: list[Any] = [EpochEnd(folder, validator, config.train.validate_every, config.train.epochs, history)]
        if tensorboard:  # after EpochEnd, which adds the validation's figures to the epoch's logs
            callbacks.append(keras.callbacks.TensorBoard(str(folder / "tensorboard")))
        model.fit(
            _pipeline(config, train_set, epochs_done),
            initial_epoch=epochs_done,
            epochs=config.train.epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the stream is shuffled already
            callbacks=callbacks,
            verbose=verbose,
        )
    return history


def _pipeline(config: TrainConfig, dataset: Dataset, first_epoch: int) -> Any:
    return training_pipeline(
        dataset,
        crop=config.data.crop,
        batch_size=config.data.batch_size,
        augment=config.data.augment,
        seed=config.train.seed,
        epochs=config.train.epochs,
        first_epoch=first_epoch,
        cache=config.data.cache,
    )


def _finish(folder: Path, history: list[dict[str, Any]], dataset: Dataset) -> dict[str, Any]:
    best = max((row for row in history if "val_miou" in row), key=lambda row: row["val_miou"])
    results = {
        "epochs": history[-1]["epoch"],
        "best_epoch": best["epoch"],
        "val_miou": best["val_miou"],
        "val_pixel_accuracy": best["val_pixel_accuracy"],
        "val_iou": dict(zip(dataset.labels.class_names, best["val_iou"], strict=True)),
        "seconds": round(sum(row["seconds"] for row in history), 1),
    }
    with atomic_write(folder / RESULTS) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    draw_curves(history, folder / CURVES)
    return results
