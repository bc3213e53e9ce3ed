"""ADE20K in the form of the scene parsing challenge: 150 classes (Zhou et al., CVPR 2017)."""

from __future__ import annotations

from pathlib import Path

from kzoo.data.dataset import Dataset
from kzoo.data.labels import IGNORE_LABEL, Labels, voc_palette
from kzoo.data.layout import dataset_root, match_files, split_folder
from kzoo.errors import unknown_name

_NAMES = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, "
    "table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, "
    "armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, "
    "chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, "
    "case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, "
    "book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, "
    "hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television, airplane, dirt track, "
    "apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, "
    "conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, "
    "cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, "
    "blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, "
    "bulletin board, shower, radiator, glass, clock, flag"
)

ADE20K = Labels(tuple(_NAMES.split(", ")), voc_palette(151)[1:])
"""The challenge's 150 classes by their first synonyms, most frequent first. The colours are ours, not official."""

_SAMPLE_PREFIXES = {"training": "ADE_train_", "validation": "ADE_val_"}


def open_ade20k(root: Path, split: str) -> Dataset:
    """`images/<split>` with `annotations/<split>`, "training" or "validation"; 0 (other) is ignored, 1..150 are 0..149.

    Where `images` and `annotations` hold the files themselves, as in the development kit's sample, their names
    (`ADE_val_...`) tell the split.
    """
    folder = dataset_root(root, ("images",), inside=("ADEChallengeData2016",))
    images, masks = folder / "images", folder / "annotations"
    if any(images.glob("ADE_*.jpg")):
        if split not in _SAMPLE_PREFIXES:
            raise unknown_name("split", split, _SAMPLE_PREFIXES)
        samples = tuple(s for s in match_files(images, masks) if s.id.startswith(_SAMPLE_PREFIXES[split]))
    else:
        samples = match_files(split_folder(images, split), masks / split)
    label_map = {0: IGNORE_LABEL} | {label + 1: label for label in range(ADE20K.num_classes)}
    return Dataset("ade20k", split, ADE20K, samples, label_map)
