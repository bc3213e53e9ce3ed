"""Datasets: readers, label sets, augmentation, the training stream, and the data checker.

Only the training stream needs TensorFlow; it is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kzoo.data.ade20k import ADE20K
from kzoo.data.augment import AugmentConfig
from kzoo.data.camvid import CAMVID
from kzoo.data.check import Problem, check_dataset
from kzoo.data.cityscapes import CITYSCAPES
from kzoo.data.coco import COCO_STUFF, COCO_STUFF_VALUES, COCO_TO_VOC
from kzoo.data.dataset import Dataset, Sample
from kzoo.data.labels import IGNORE_LABEL, Labels
from kzoo.data.pascal_context import (
    PASCAL_CONTEXT,
    PASCAL_CONTEXT_33,
    PASCAL_CONTEXT_60_VOC_FIRST,
    PASCAL_CONTEXT_VOC_FIRST,
)
from kzoo.data.pictures import read_image, read_mask
from kzoo.data.readers import DATASET_LABELS, dataset_names, open_dataset
from kzoo.data.unseen import without_classes
from kzoo.data.voc import VOC, VOC_ANIMALS

if TYPE_CHECKING:
    from kzoo.data.pipeline import reading_errors, steps_per_epoch, training_pipeline

__all__ = [
    "ADE20K",
    "CAMVID",
    "CITYSCAPES",
    "COCO_STUFF",
    "COCO_STUFF_VALUES",
    "COCO_TO_VOC",
    "DATASET_LABELS",
    "IGNORE_LABEL",
    "PASCAL_CONTEXT",
    "PASCAL_CONTEXT_33",
    "PASCAL_CONTEXT_60_VOC_FIRST",
    "PASCAL_CONTEXT_VOC_FIRST",
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
    "reading_errors",
    "steps_per_epoch",
    "training_pipeline",
    "without_classes",
]


def __getattr__(name: str) -> object:
    if name in ("reading_errors", "steps_per_epoch", "training_pipeline"):
        from kzoo.data import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
