"""A training run: from a recipe to a folder with weights, log and results."""

from __future__ import annotations

import inspect
import json
import logging
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kzoo
from kzoo.backbones import unfold_batch_normalization
from kzoo.data import AugmentConfig, Dataset, open_dataset, steps_per_epoch, training_pipeline
from kzoo.errors import unknown_name
from kzoo.files import atomic_write
from kzoo.models import ARCHITECTURES, Segmenter
from kzoo.training.config import TrainConfig, load_config, resolve_data_path, to_yaml
from kzoo.training.curves import draw_curves
from kzoo.training.epoch_end import EpochEnd
from kzoo.training.optimizers import build_optimizer
from kzoo.training.state import load_state
from kzoo.training.strategy import make_strategy, set_synchronized
from kzoo.training.validation import Validator

logger = logging.getLogger("kzoo")
CALIBRATION_PICTURES = 64


def train(config: TrainConfig, folder: Path, *, verbose: int | str = "auto") -> dict[str, Any]:
    """Trains as `config` says, in `folder`; goes on from the last epoch if the folder holds a run of this config.

    The folder gets `config.yaml` (merged), `run.json` (code version), `log.csv`, `state.npz`, `best.weights.h5` (by
    mIoU on the validation split), `last.weights.h5`, `results.json` and `curves.png`.

    Args:
        config: the recipe.
        folder: the run folder.
        verbose: as for `keras.Model.fit`.

    Returns: the content of `results.json`.
    Raises: `ValueError` if the folder holds a run of another config, or the recipe does not fit the data.
    """
    _claim_folder(folder, config)
    strategy = make_strategy(config.train.devices)
    keras.utils.set_random_seed(config.train.seed)
    keras.config.set_dtype_policy(config.train.precision)
    root = resolve_data_path(config.data.root)
    train_set = open_dataset(config.data.dataset, root, config.data.train_split)
    val_set = open_dataset(config.data.dataset, root, config.data.val_split)
    steps = steps_per_epoch(train_set, config.data.batch_size)

    with strategy.scope():
        model = build_model(config, train_set)
        model.compile(optimizer=build_optimizer(config.optimizer, model, config.train.epochs, steps))
        model.optimizer.build(model.trainable_variables)
    state = folder / "state.npz"
    epochs_done, history = load_state(state, model) if state.exists() else (0, [])
    if epochs_done:
        logger.info("going on after epoch %d of %d in %s", epochs_done, config.train.epochs, folder)
    if epochs_done < config.train.epochs:
        model.fit(
            _pipeline(config, train_set, epochs_done),
            initial_epoch=epochs_done,
            epochs=config.train.epochs,
            steps_per_epoch=steps,
            callbacks=[EpochEnd(folder, Validator(model, val_set), config.train.validate_every, config.train.epochs, history)],
            verbose=verbose,
        )
    return _finish(folder, history, train_set)


def build_model(config: TrainConfig, train_set: Dataset) -> Segmenter:
    """The network of a recipe, with the backbone's weights loaded and BatchNorm prepared for training."""
    section = config.model
    if section.name not in ARCHITECTURES:
        raise unknown_name("architecture (model.name)", section.name, ARCHITECTURES)
    architecture = ARCHITECTURES[section.name]
    _check_arguments(architecture, section.args)
    weights = section.backbone_weights
    if weights not in (None, "imagenet"):
        weights = str(resolve_data_path(weights))
    model = architecture(
        len(train_set.labels.class_names),
        **section.args,
        backbone_weights=weights,
        ignore_label=train_set.labels.ignore_label,
        class_weights=_class_weights(config, train_set),
        aux_weight=config.loss.aux_weight,
        se_weight=config.loss.se_weight,
    )
    model.class_names, model.palette = train_set.labels.class_names, train_set.labels.palette
    if weights is not None and weights.endswith(".npz") and not config.train.freeze_batchnorm:
        unfold_batch_normalization(model.backbone, _calibration_batches(config, train_set, model))
    freeze(model, config.train.freeze_until, config.train.freeze_batchnorm)
    set_synchronized(model, config.train.sync_batchnorm)
    return model


def freeze(model: Segmenter, until: str | None, batchnorm: bool) -> None:
    """Freezes the backbone's layers up to and including the one that gives feature `until`, or all its BatchNorms.

    A frozen BatchNorm uses its stored statistics in training too.
    """
    layers = model.backbone.layers
    if until is not None:
        last = model.backbone.output[until]._keras_history.operation
        for layer in layers[: layers.index(last) + 1]:
            layer.trainable = False
    if batchnorm:
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False


def _check_arguments(architecture: type[Segmenter], arguments: dict[str, Any]) -> None:
    known = {
        name
        for cls in (architecture, Segmenter)
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name in arguments:
        if name not in known:
            raise unknown_name(f"argument of {architecture.__name__} (model.args)", name, known)


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


def _calibration_batches(config: TrainConfig, dataset: Dataset, model: Segmenter) -> Any:
    """Training crops without augmentation, in the backbone's input range."""
    batch = min(8, len(dataset))
    stream = training_pipeline(
        dataset, crop=config.data.crop, batch_size=batch, augment=AugmentConfig.none(), seed=0, epochs=1, cache=False
    )
    for images, _ in stream.take(CALIBRATION_PICTURES // batch):
        yield model.preprocessing(images)


def _class_weights(config: TrainConfig, dataset: Dataset) -> list[float] | None:
    choice = config.loss.class_weights
    if choice != "median_frequency":
        return None if choice is None else list(choice)
    return median_frequency_weights(dataset)


def median_frequency_weights(dataset: Dataset) -> list[float]:
    """`median(f) / f_c`, with f_c the share of class c in the pixels of the pictures that hold it.

    Classes that no picture holds get weight 0. Reference: Eigen and Fergus, ICCV 2015, section 6.3.2.
    """
    count = len(dataset.labels.class_names)
    pixels, seen = np.zeros(count), np.zeros(count)
    for index in range(len(dataset)):
        mask = dataset.read(index)[1]
        histogram = np.bincount(mask[mask != dataset.labels.ignore_label], minlength=count)[:count]
        pixels += histogram
        seen += (histogram > 0) * histogram.sum()
    frequency = pixels[pixels > 0] / seen[pixels > 0]
    weights = np.zeros(count)
    weights[pixels > 0] = np.median(frequency) / frequency
    return [round(float(weight), 4) for weight in weights]


def _claim_folder(folder: Path, config: TrainConfig) -> None:
    """Writes the config into a new folder; refuses a folder that holds a run of another config."""
    path = folder / "config.yaml"
    if path.exists():
        if load_config(path) != config:
            raise ValueError(
                f"{str(folder)!r} holds a run of another config ({path.name} there differs). "
                "Give this run another folder with --run, or delete that one."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "run.json") as temporary:
        temporary.write_text(json.dumps({"kzoo": kzoo.__version__, "commit": _commit()}, indent=2) + "\n")
    with atomic_write(path) as temporary:
        temporary.write_text(to_yaml(config))


def _commit() -> str | None:
    """The checkout's commit, `-dirty` appended where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None


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
    with atomic_write(folder / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    draw_curves(history, folder / "curves.png")
    return results
