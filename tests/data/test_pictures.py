from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.data.pictures import read_image, read_mask

RED = np.full((4, 6, 3), (200, 10, 30), np.uint8)


def test_rgb_is_returned_as_stored(tmp_path: Path, save) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    read = read_image(save(tmp_path / "a.png", image))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize(
    "kind", ["grey", "bilevel", "palette", "rgba", "grey with alpha", "cmyk", "16 bit", "8 bit in 32"]
)
def test_every_mode_becomes_rgb(tmp_path: Path, kind: str) -> None:
    grey = Image.fromarray(np.full((4, 6), 90, np.uint8))
    red = Image.fromarray(RED)
    pictures = {
        "grey": (grey, "png", (90, 90, 90)),
        "bilevel": (Image.new("1", (6, 4), 1), "png", (255, 255, 255)),
        "palette": (red.quantize(4), "png", (200, 10, 30)),
        # Half transparent over white: 0.498 * white + 0.502 * red.
        "rgba": (Image.merge("RGBA", (*red.split(), Image.new("L", (6, 4), 128))), "png", (227, 132, 142)),
        "grey with alpha": (Image.merge("LA", (grey, Image.new("L", (6, 4), 0))), "png", (255, 255, 255)),
        "cmyk": (Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "tif", (255, 0, 0)),
        "16 bit": (Image.fromarray(np.full((4, 6), 90 * 257, np.uint16)), "png", (90, 90, 90)),
        "8 bit in 32": (Image.fromarray(np.full((4, 6), 90, np.int32)), "tif", (90, 90, 90)),
    }
    picture, suffix, color = pictures[kind]
    path = tmp_path / f"a.{suffix}"
    picture.save(path)
    read = read_image(path)
    assert read.shape == (4, 6, 3) and read.dtype == np.uint8
    np.testing.assert_allclose(read.reshape(-1, 3), np.tile(color, (24, 1)), atol=1)


def test_transparent_palette_colour_lies_over_white(tmp_path: Path) -> None:
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([0, 0, 0, 9, 9, 9])
    picture.save(tmp_path / "a.png", transparency=1)
    assert (read_image(tmp_path / "a.png") == 255).all()


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turn: int) -> None:
    image = np.zeros((8, 16, 3), np.uint8)
    image[:4, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(image, turn))


def test_unreadable_pictures_are_named(tmp_path: Path, save) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        read_image(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png"):
        read_image(tmp_path / "text.png")
    whole = save(tmp_path / "whole.jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.jpg"):
        read_image(tmp_path / "cut.jpg")
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif.*floats"):
        read_image(tmp_path / "float.tif")


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_keep_their_indices(tmp_path: Path, save, mode: str) -> None:
    mask = np.array([[0, 1, 20], [255, 7, 3]], np.uint8)
    values, from_colors = read_mask(save(tmp_path / "m.png", mask, mode))
    with Image.open(tmp_path / "m.png") as stored:
        assert stored.mode == mode
    np.testing.assert_array_equal(values, mask)
    assert not from_colors


def test_a_mask_turns_with_its_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(mask).save(tmp_path / "m.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png")[0], np.rot90(mask, 3))


def test_sixteen_bit_masks(tmp_path: Path, save) -> None:
    for highest, kind in ((255, np.uint8), (256, np.uint16), (65535, np.uint16)):
        mask = np.array([[0, 1], [2, highest]], np.uint16)
        values, _ = read_mask(save(tmp_path / "m.png", mask))
        np.testing.assert_array_equal(values, mask)
        assert values.dtype == kind
    with pytest.raises(ValueError, match=r"big\.tif.*0\.\.70000, expected 0\.\.65535"):
        read_mask(save(tmp_path / "big.tif", np.array([[0, 70000]], np.int32)))


def test_rgb_masks_go_through_the_palette(tmp_path: Path, save) -> None:
    colors = np.array([[[0, 0, 0], [10, 20, 30]], [[224, 224, 192], [10, 20, 30]]], np.uint8)
    path = save(tmp_path / "rgb.png", colors)
    palette = ((0, 0, 0), (10, 20, 30))
    values, from_colors = read_mask(path, palette, ignore_color=(224, 224, 192))
    assert values.tolist() == [[0, 1], [255, 1]] and from_colors
    with pytest.raises(ValueError, match=r"rgb\.png.*\(224, 224, 192\)"):
        read_mask(path, palette)
    with pytest.raises(ValueError, match=r"rgb\.png.*no palette"):
        read_mask(path)
    with pytest.raises(ValueError, match=r"rgb\.png.*several classes"):
        read_mask(path, ((0, 0, 0), (0, 0, 0)))


def test_masks_of_other_modes_are_refused(tmp_path: Path) -> None:
    Image.new("LA", (4, 4)).save(tmp_path / "la.png")
    with pytest.raises(ValueError, match=r"la\.png.*'LA'"):
        read_mask(tmp_path / "la.png")
