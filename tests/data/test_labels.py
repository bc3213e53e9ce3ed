from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.data import CAMVID, VOC, VOC_ANIMALS, Labels
from kzoo.data.labels import voc_palette

BLACK_WHITE = ((0, 0, 0), (255, 255, 255))


def test_voc_palette_has_the_published_colours() -> None:
    known = {0: (0, 0, 0), 1: (128, 0, 0), 7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    palette = voc_palette(256)
    assert {label: palette[label] for label in known} == known
    assert palette[255] == (224, 224, 192)
    assert len(set(palette)) == 256


def test_voc_palette_is_the_one_of_real_masks(kzoo_data: Path) -> None:
    path = next((kzoo_data / "voc_animals" / "masks").iterdir())
    with Image.open(path) as mask:
        stored = np.array(mask.getpalette()).reshape(-1, 3)
    assert stored[:21].tolist() == [list(color) for color in VOC.palette]


def test_camvid_palette_is_the_one_of_the_data(kzoo_data: Path) -> None:
    with Image.open(kzoo_data / "camvid" / "camvid11.png") as strip:
        stored = np.asarray(strip.convert("RGB"))[0, :11]
    assert stored.tolist() == [list(color) for color in CAMVID.palette]


def test_label_sets() -> None:
    assert (CAMVID.num_classes, VOC.num_classes, VOC_ANIMALS.num_classes) == (11, 21, 7)
    assert VOC.class_names[15] == "person"
    assert VOC_ANIMALS.class_names == ("background", "cat", "cow", "dog", "horse", "sheep", "person")
    assert VOC_ANIMALS.palette[1] == VOC.palette[8] and VOC_ANIMALS.palette[6] == VOC.palette[15]


@pytest.mark.parametrize(
    ("names", "palette", "ignore", "message"),
    [
        ((), (), 255, "1 to 254 classes"),
        (("a", "a"), BLACK_WHITE, 255, "'a' occurs more than once"),
        (("a", "b", "c"), BLACK_WHITE, 255, r"one colour a class \(3\), received 2"),
        (("a", "b"), ((0, 0, 0), (0, 0, 256)), 255, r"colour of 'b'.*256"),
        (("a", "b"), BLACK_WHITE, 1, "1 is 'b'"),
    ],
)
def test_wrong_label_sets_are_refused(names: tuple, palette: tuple, ignore: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Labels(names, palette, ignore)
