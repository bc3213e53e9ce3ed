"""The network of a recipe, ready to train: pretrained backbone, live BatchNorm, frozen parts, class weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kzoo.backbones import unfold_batch_normalization
from kzoo.data import AugmentConfig, Dataset, training_pipeline
from kzoo.models import Segmenter, create_model
from kzoo.models.zero_shot import ZeroShotSegmenter
from kzoo.training.config import TrainConfig, resolve_data_path
from kzoo.training.strategy import set_synchronized

CALIBRATION_PICTURES = 64


def build_model(config: TrainConfig, train_set: Dataset) -> Segmenter:
    """The network of a recipe, with the weights that it starts from and BatchNorm prepared for training."""
    section = config.model
    weights = section.backbone_weights
    if weights not in (None, "imagenet"):
        weights = str(resolve_data_path(weights))
    labels = train_set.labels
    own = {
        "backbone_weights": weights,
        "ignore_label": labels.ignore_label,
        "class_weights": _class_weights(config, train_set),
        "aux_weight": config.loss.aux_weight,
        "se_weight": config.loss.se_weight,
    }
    if section.name == "sanet":
        own |= {"categorical_weight": config.loss.categorical_weight, "dense_weight": config.loss.dense_weight}
    model = create_model(section.name, len(labels.class_names), {**section.args, **own})
    model.class_names, model.palette = labels.class_names, labels.palette
    if weights is not None and weights.endswith(".npz") and not config.train.freeze_batchnorm:
        unfold_batch_normalization(model.backbone, _calibration_batches(config, train_set, model))
    if section.init is not None:
        from kzoo.zoo import start_from

        start_from(model, section.init)
    if isinstance(model, ZeroShotSegmenter) and config.zero_shot is not None:
        model.set_embeddings(config.zero_shot.vectors(labels.class_names))
    model.freeze_backbone(config.train.freeze_until, batchnorm=config.train.freeze_batchnorm)
    set_synchronized(model, config.train.sync_batchnorm)
    return model


def _calibration_batches(config: TrainConfig, dataset: Dataset, model: Segmenter) -> Iterator[Any]:
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
        histogram = np.bincount(mask.ravel(), minlength=count)[:count]  # without the ignored
        pixels += histogram
        seen += (histogram > 0) * histogram.sum()
    frequency = pixels[pixels > 0] / seen[pixels > 0]
    weights = np.zeros(count)
    weights[pixels > 0] = np.median(frequency) / frequency
    return [round(float(weight), 4) for weight in weights]
