"""COCO-Stuff 164k: things and stuff (Caesar et al., CVPR 2018), and COCO's things as PASCAL VOC's classes."""

from __future__ import annotations

from pathlib import Path

from kzoo.data.dataset import Dataset, Sample
from kzoo.data.labels import IGNORE_LABEL, Labels, voc_palette
from kzoo.data.layout import dataset_root, first_folder, match_files, split_folder
from kzoo.data.voc import VOC

_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, street sign, "
    "stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, hat, "
    "backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, "
    "baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, plate, wine glass, cup, fork, knife, "
    "spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, "
    "potted plant, bed, mirror, dining table, window, desk, toilet, door, tv, laptop, mouse, remote, keyboard, "
    "cell phone, microwave, oven, toaster, sink, refrigerator, blender, book, clock, vase, scissors, teddy bear, "
    "hair drier, toothbrush, hair brush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage, "
    "cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, "
    "dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, "
    "fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, "
    "mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic, platform, playingfield, railing, "
    "railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, "
    "stairs, stone, straw, structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, "
    "wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, "
    "window-other, wood"
)
_ALL_NAMES = tuple(_NAMES.split(", "))
_NEVER_ANNOTATED = (
    *("street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door", "blender"),
    "hair brush",
)

COCO_STUFF_VALUES = tuple(value for value, name in enumerate(_ALL_NAMES) if name not in _NEVER_ANNOTATED)
"""Of each of the 171 classes, its value in the pixel maps: its category id less one, its row in lists of 182 names."""

COCO_STUFF = Labels(tuple(_ALL_NAMES[value] for value in COCO_STUFF_VALUES), voc_palette(172)[1:])
"""COCO-Stuff's 80 things and 91 stuff classes in the order of their ids. The colours are ours, not official."""

COCO_TO_VOC = {
    category: VOC.class_names.index(name)
    for category, name in {
        1: "person",
        2: "bicycle",
        3: "car",
        4: "motorbike",
        5: "aeroplane",
        6: "bus",
        7: "train",
        9: "boat",
        16: "bird",
        17: "cat",
        18: "dog",
        19: "horse",
        20: "sheep",
        21: "cow",
        44: "bottle",
        62: "chair",
        63: "sofa",
        64: "pottedplant",
        67: "diningtable",
        72: "tvmonitor",
    }.items()
}
"""COCO's category ids (1..90) of VOC's 20 classes -> VOC's labels; all other categories are VOC's background."""


def open_coco_stuff(root: Path, split: str) -> Dataset:
    """The pixel maps `stuffthingmaps/<split>` of the pictures `<split>`, "train2017" or "val2017"; 255 is unlabelled.

    Both may lie where COCO-Stuff's own instructions put them: `annotations/<split>`, `images/<split>`.
    """
    label_map = {value: label for label, value in enumerate(COCO_STUFF_VALUES)} | {IGNORE_LABEL: IGNORE_LABEL}
    return Dataset("cocostuff", split, COCO_STUFF, _samples(root, split), label_map)


def open_coco_voc(root: Path, split: str) -> Dataset:
    """The same files with VOC's 21 classes, for training before VOC: what is none of VOC's things is background."""
    label_map = {value: COCO_TO_VOC.get(value + 1, 0) for value in (*COCO_STUFF_VALUES, IGNORE_LABEL)}
    return Dataset("coco_voc", split, VOC, _samples(root, split), label_map)


def _samples(root: Path, split: str) -> tuple[Sample, ...]:
    masks = split_folder(first_folder(root, ("stuffthingmaps", "annotations")), split)
    images = dataset_root(root, (split,), inside=("images",)) / split
    return match_files(images, masks)
