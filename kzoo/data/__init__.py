"""Datasets: readers, label sets, augmentation, the training stream, and the data checker.

Only the training stream needs TensorFlow; it is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kzoo.data.augment import AugmentConfig
from kzoo.data.check import Problem, check_dataset
from kzoo.data.dataset import Dataset, Sample
from kzoo.data.labels import CAMVID, IGNORE_LABEL, VOC, VOC_ANIMALS, Labels
from kzoo.data.pictures import read_image, read_mask
from kzoo.data.readers import dataset_names, open_dataset

if TYPE_CHECKING:
    from kzoo.data.pipeline import steps_per_epoch, training_pipeline

__all__ = [
    "CAMVID",
    "IGNORE_LABEL",
    "VOC",
    "VOC_ANIMALS",
    "AugmentConfig",
    "Dataset",
    "Labels",
    "Problem",
    "Sample",
    "check_dataset",
    "dataset_names",
    "open_dataset",
    "read_image",
    "read_mask",
    "steps_per_epoch",
    "training_pipeline",
]


def __getattr__(name: str) -> object:
    if name in ("steps_per_epoch", "training_pipeline"):
        from kzoo.data import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
