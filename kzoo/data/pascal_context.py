"""PASCAL Context: 59 classes of things and stuff on VOC 2010's pictures (Mottaghi et al., CVPR 2014)."""

from __future__ import annotations

from pathlib import Path

from kzoo.data.dataset import Dataset
from kzoo.data.labels import IGNORE_LABEL, Labels, voc_palette
from kzoo.data.layout import dataset_root, listed_samples

MERGED_ANNOTATIONS = "trainval_merged.json"
CONVERTED_MASKS = "SegmentationClassContext"
SPLIT_LISTS = "ImageSets/SegmentationContext"

_LAST_RAW_ID = 459
_SORTED = (
    "aeroplane:2 bag:9 bed:18 bedclothes:19 bench:22 bicycle:23 bird:25 boat:31 book:33 bottle:34 building:44 bus:45 "
    "cabinet:46 car:59 cat:65 ceiling:68 chair:72 cloth:80 computer:85 cow:98 cup:104 curtain:105 dog:113 door:115 "
    "fence:144 floor:158 flower:159 food:162 grass:187 ground:189 horse:207 keyboard:220 light:232 motorbike:258 "
    "mountain:259 mouse:260 person:284 plate:295 platform:296 pottedplant:308 road:324 rock:326 sheep:347 shelves:349 "
    "sidewalk:354 sign:355 sky:360 snow:366 sofa:368 table:397 track:415 train:416 tree:420 truck:424 tvmonitor:427 "
    "wall:440 water:445 window:454 wood:458"
)
_VOC_FIRST = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person pottedplant sheep sofa "
    "train tvmonitor bag bed bench book building cabinet ceiling cloth computer cup door fence floor flower food grass "
    "ground keyboard light mountain mouse curtain platform sign plate road rock shelves sidewalk sky snow bedclothes "
    "track tree truck wall water window wood"
)
_33 = (
    *_VOC_FIRST.split()[:20],
    *"sky grass ground road building tree water mountain wall floor track keyboard ceiling".split(),
)

RAW_IDS = {name: int(raw_id) for name, raw_id in (entry.split(":") for entry in _SORTED.split())}
"""The 59 classes in alphabetical order, which is that of their ids among the 459 (0: not annotated)."""

_COLORS = dict(zip(_VOC_FIRST.split(), voc_palette(60)[1:], strict=True))

PASCAL_CONTEXT = Labels(tuple(RAW_IDS), tuple(_COLORS[name] for name in RAW_IDS))
"""The 59 classes in alphabetical order: EncNet's, FastFCN's and mmsegmentation's. VOC's classes have VOC's colours."""

PASCAL_CONTEXT_VOC_FIRST = Labels(tuple(_COLORS), tuple(_COLORS.values()))
"""The same classes and colours in the order of the official `59_labels.txt`, VOC's 20 first.

The names are the alphabetical order's, where that file has "diningtable", "bedcloth" and "clothes".
"""

PASCAL_CONTEXT_60_VOC_FIRST = Labels(("background", *_COLORS), voc_palette(60))
"""The same with background as class 0: ZS3Net's classes."""

PASCAL_CONTEXT_33 = Labels(
    ("background", *_33),
    ((0, 0, 0), *(_COLORS[name] for name in _33)),
)
"""Background, VOC's 20 classes and 13 of the others: CaGNet's classes."""

PASCAL_CONTEXT_LABELS = {
    "pcontext": PASCAL_CONTEXT,
    "pcontext_voc_first": PASCAL_CONTEXT_VOC_FIRST,
    "pcontext60_voc_first": PASCAL_CONTEXT_60_VOC_FIRST,
    "pcontext33": PASCAL_CONTEXT_33,
}


def open_pascal_context(name: str, root: Path, split: str) -> Dataset:
    """VOC 2010's `JPEGImages` with masks in one of two forms.

    The forms are `SegmentationClassContext` (PNGs of 0..59 in alphabetical order, 0 background; what `kzoo data
    convert-pcontext` and mmsegmentation make of `trainval_merged.json`), and `trainval` (the 459 raw ids, in the
    MATLAB files that are distributed or 16-bit PNGs). The lists are those of `ImageSets/SegmentationContext`, beside
    the folders, or of VOC 2010's `ImageSets/Main`, which are the official ones.

    Args:
        name: "pcontext", "pcontext_voc_first", "pcontext60_voc_first" or "pcontext33".
        root: `VOC2010` or the folder that `VOCdevkit` lies in.
        split: "train" or "val".

    Raises:
        FileNotFoundError: no pictures, masks or lists.
        ValueError: unknown split, or MATLAB files without scipy.
    """
    labels = PASCAL_CONTEXT_LABELS[name]
    background = 0 if "background" in labels.class_names else IGNORE_LABEL
    folder = dataset_root(root, ("JPEGImages",), inside=("VOC2010", "VOCdevkit/VOC2010"))
    if (folder / CONVERTED_MASKS).is_dir():
        values = {class_name: rank + 1 for rank, class_name in enumerate(RAW_IDS)}
        label_map = dict.fromkeys(range(len(RAW_IDS) + 1), background)
    elif (folder / "trainval").is_dir() or not (folder / MERGED_ANNOTATIONS).is_file():
        values = RAW_IDS
        label_map = dict.fromkeys(range(_LAST_RAW_ID + 1), background)
    else:
        raise FileNotFoundError(
            f"{str(folder / MERGED_ANNOTATIONS)!r} has to be made into masks first: "
            f"`kzoo data convert-pcontext --data {folder}`"
        )
    for label, class_name in enumerate(labels.class_names):
        if class_name in values:
            label_map[values[class_name]] = label
    samples = listed_samples(
        folder,
        split,
        images=("JPEGImages",),
        masks=(CONVERTED_MASKS, "trainval"),
        lists=(SPLIT_LISTS, ".", "ImageSets/Main"),
    )
    return Dataset(name, split, labels, samples, label_map)
