"""Resizing both ways, masks and overlays, against statements of their own."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.deploy.litert.tiny_networks import agree_where_clear, sidecar

SIDECAR = sidecar("float32")


def shrinking(there: int, here: int) -> np.ndarray:
    """(there, here): each row a triangle as wide as the pixels it is made from, of sum 1."""
    scale = here / there
    centers = (np.arange(there) + 0.5) * scale - 0.5
    triangle = np.maximum(0, 1 - np.abs(np.arange(here) - centers[:, np.newaxis]) / max(scale, 1))
    return triangle / triangle.sum(1, keepdims=True)


@pytest.mark.parametrize("size", [(40, 56), (300, 451), (97, 640)])
def test_the_picture_at_the_networks_size(scripts, chelsea, size) -> None:
    resized = scripts.pictures.at_network_size(Image.fromarray(chelsea), size)
    rows, columns = shrinking(size[0], chelsea.shape[0]), shrinking(size[1], chelsea.shape[1])
    expected = np.einsum("yi,xj,ijc->yxc", rows, columns, chelsea.astype(np.float64), optimize=True)
    assert resized.shape == (*size, 3) and resized.dtype == np.uint8
    assert np.abs(resized - expected).max() <= 1.01  # rounded after each direction


@pytest.mark.parametrize("size", [(300, 451), (40, 57), (21, 30), (1, 1), (40, 56)])
def test_logits_are_resized_before_the_best_is_taken(scripts, size) -> None:
    logits = np.random.default_rng(0).normal(size=(40, 56, 5)).astype(np.float32)
    classes = scripts.pictures.class_map(logits, size)
    assert classes.dtype == np.uint8 and classes.shape == size
    assert agree_where_clear(classes, tf.image.resize(logits, size).numpy())


def test_smooth_logits_and_more_pixels_on_outlines_than_are_taken_at_once(scripts) -> None:
    """Large areas of one class, and outlines of some 70,000 pixels: what lies between is interpolated all the same."""
    coarse = np.random.default_rng(1).normal(size=(9, 12, 4)).astype(np.float32)
    logits = tf.image.resize(coarse, (90, 120), "bicubic").numpy()
    size = (700, 1000)
    classes = scripts.pictures.class_map(logits, size)
    assert agree_where_clear(classes, tf.image.resize(logits, size).numpy())
    nearest = tf.image.resize(logits.argmax(-1)[..., np.newaxis], size, "nearest").numpy()[..., 0]
    assert 0.005 < (classes != nearest).mean() < 0.2


def test_of_equal_logits_the_first_is_taken(scripts) -> None:
    for size in ((4, 4), (8, 6)):
        assert np.all(scripts.pictures.class_map(np.full((4, 4, 3), -2, np.float32), size) == 0)


@pytest.mark.parametrize("size", [(300, 451), (40, 57), (21, 30), (40, 56)])
def test_classes_are_taken_from_the_nearest_pixel(scripts, size) -> None:
    values = np.random.default_rng(0).integers(0, 200, (40, 56)).astype(np.int32)
    classes = scripts.pictures.class_map(values, size)
    expected = tf.image.resize(values[..., np.newaxis], size, "nearest").numpy()[..., 0]
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, expected)


def test_a_mask_shows_its_values_in_the_palette(scripts, tmp_path) -> None:
    classes = np.array([[0, 1, 2], [3, 255, 1]], np.uint8)
    scripts.pictures.mask_picture(classes, SIDECAR).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), classes)
        shown = np.asarray(mask.convert("RGB"))
    np.testing.assert_array_equal(shown[0], SIDECAR["palette"][:3])
    np.testing.assert_array_equal(shown[1], [[10, 20, 250], [224, 224, 224], [200, 30, 30]])


def test_an_overlay_paints_all_but_the_background(scripts) -> None:
    picture = Image.new("RGB", (2, 1), (100, 200, 50))
    painted = np.asarray(scripts.pictures.overlay(picture, np.array([[0, 1]], np.uint8), SIDECAR))
    assert painted[0, 0].tolist() == [100, 200, 50]
    assert np.abs(painted[0, 1] - np.array([160, 98, 38])).max() <= 1  # 0.4 * picture + 0.6 * (200, 30, 30)


def test_shares(scripts) -> None:
    classes = np.array([[0, 2, 2, 2]] * 3 + [[255, 2, 2, 2]], np.uint8)
    assert scripts.pictures.shares(classes, SIDECAR) == "dog 75.0%, background 18.8%"


def test_pictures_of_other_modes(scripts, tmp_path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(scripts.pictures.read_picture(tmp_path / "turned.png")), np.rot90(rgb, -1))
    see_through = np.dstack([rgb, np.repeat([[0], [255]], 12).reshape(4, 6)]).astype(np.uint8)
    Image.fromarray(see_through).save(tmp_path / "layer.png")
    read = np.asarray(scripts.pictures.read_picture(tmp_path / "layer.png"))
    assert np.all(read[:2] == 255)
    np.testing.assert_array_equal(read[2:], rgb[2:])
    Image.fromarray(rgb[:, :, 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    read = np.asarray(scripts.pictures.read_picture(tmp_path / "deep.png"))
    np.testing.assert_array_equal(read, np.repeat(rgb[:, :, :1], 3, axis=2))


def test_a_failed_write_leaves_what_was_there(scripts, tmp_path) -> None:
    target = tmp_path / "mask.png"
    target.write_text("old")
    with pytest.raises(RuntimeError), scripts.pictures.written(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"] and target.read_text() == "old"
    with scripts.pictures.written(target) as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"] and target.read_text() == "new"
