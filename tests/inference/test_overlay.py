"""Masks, overlays and shares of a known class map."""

import numpy as np
import pytest
from PIL import Image

from kzoo.data import Labels
from kzoo.inference import class_shares, draw_overlay, labels_of, mask_picture

LABELS = Labels(("background", "cat", "dog"), ((0, 0, 0), (64, 0, 0), (0, 200, 100)))
MASK = np.array([[0, 0, 1, 1], [0, 2, 1, 255]], np.uint8)


def test_class_shares():
    assert class_shares(MASK, LABELS) == {"background": 3 / 8, "cat": 3 / 8, "dog": 1 / 8}


def test_palette_mask_survives_the_file(tmp_path):
    mask_picture(MASK, LABELS).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), MASK)
        colors = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(colors[1], [(0, 0, 0), (0, 200, 100), (64, 0, 0), (224, 224, 224)])


def test_overlay_paints_classes_but_the_background():
    image = np.full((2, 4, 3), 100, np.uint8)
    drawn = np.asarray(draw_overlay(image, MASK, LABELS, opacity=0.5))
    np.testing.assert_array_equal(drawn[0, :4], [(100, 100, 100)] * 2 + [(82, 50, 50)] * 2)
    np.testing.assert_array_equal(drawn[1, 1], (50, 150, 100))


def test_legend_shows_the_classes_that_are_there():
    image = np.full((200, 300, 3), 255, np.uint8)
    mask = np.ones((200, 300), np.uint8)
    drawn = np.asarray(draw_overlay(image, mask, LABELS, opacity=0))[:, 300:]
    swatches = {tuple(color) for color in drawn.reshape(-1, 3).tolist()}
    assert (64, 0, 0) in swatches
    assert (0, 200, 100) not in swatches
    assert drawn.shape[1] > 60


def test_legend_begins_with_the_largest_class():
    mask = np.full((100, 100), 2, np.uint8)
    mask[:30], mask[30:32] = 1, 0
    legend = np.asarray(draw_overlay(np.zeros((100, 100, 3), np.uint8), mask, LABELS))[:, 100:]
    down = [tuple(color) for color in legend[:, 12].tolist()]  # through the swatches
    order = [color for index, color in enumerate(down) if color in LABELS.palette and color != down[index - 1]]
    assert order == [LABELS.palette[label] for label in (2, 1, 0)]


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="one size"):
        draw_overlay(np.zeros((4, 2, 3)), MASK, LABELS)


def test_labels_of_a_network_without_colors(network):
    assert labels_of(network).palette == network.palette
    network.palette = ()
    assert labels_of(network).palette[1] == (128, 0, 0)
