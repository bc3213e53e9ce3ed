"""PASCAL VOC 2012, its extension by SBD (Hariharan et al., ICCV 2011), and a task made of its animals."""

from __future__ import annotations

from pathlib import Path

from kzoo.data.dataset import Dataset, Sample
from kzoo.data.labels import IGNORE_LABEL, Labels, voc_palette
from kzoo.data.layout import dataset_root, listed_samples

VOC = Labels(
    class_names=(
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
    palette=voc_palette(21),
)
"""PASCAL VOC's 20 classes and background."""

_ANIMALS = ("background", "cat", "cow", "dog", "horse", "sheep", "person")

VOC_ANIMALS = Labels(
    class_names=_ANIMALS,
    palette=tuple(VOC.palette[VOC.class_names.index(name)] for name in _ANIMALS),
)
"""The animals task: seven of VOC's labels, with VOC's colours."""

_IMAGE_FOLDERS = ("images", "JPEGImages")
_MASK_FOLDERS = ("masks", "SegmentationClass")
_LIST_FOLDERS = (".", "ImageSets/Segmentation")
_LABEL_MAP = {label: label for label in (*range(VOC.num_classes), IGNORE_LABEL)}


def open_voc2012(root: Path, split: str) -> Dataset:
    """VOC 2012 as distributed: `JPEGImages`, `SegmentationClass` and the lists of `ImageSets/Segmentation`."""
    return Dataset("voc2012", split, VOC, _samples(root, split, _MASK_FOLDERS), _LABEL_MAP)


def open_voc2012_aug(root: Path, split: str) -> Dataset:
    """VOC 2012 with the masks of SBD's pictures too, `SegmentationClassAug`, and e.g. the list `train_aug.txt`."""
    return Dataset("voc2012_aug", split, VOC, _samples(root, split, ("SegmentationClassAug",)), _LABEL_MAP)


def open_sbd(root: Path, split: str) -> Dataset:
    """SBD as distributed: `img`, the MATLAB files of `cls`, and lists beside them. Nothing in it is void."""
    folder = dataset_root(root, ("img",), inside=("dataset", "benchmark_RELEASE/dataset"))
    samples = listed_samples(folder, split, images=("img",), masks=("cls",), lists=(".",))
    return Dataset("sbd", split, VOC, samples, _LABEL_MAP)


def open_voc_animals(root: Path, split: str) -> Dataset:
    """The animals task on VOC's masks: its other labels become 255."""
    label_map = dict.fromkeys(_LABEL_MAP, IGNORE_LABEL)
    for label, name in enumerate(VOC_ANIMALS.class_names):
        label_map[VOC.class_names.index(name)] = label
    return Dataset("voc_animals", split, VOC_ANIMALS, _samples(root, split, _MASK_FOLDERS), label_map)


def _samples(root: Path, split: str, masks: tuple[str, ...]) -> tuple[Sample, ...]:
    folder = dataset_root(root, _IMAGE_FOLDERS, inside=("VOC2012", "VOCdevkit/VOC2012"))
    return listed_samples(folder, split, images=_IMAGE_FOLDERS, masks=masks, lists=_LIST_FOLDERS)
