from __future__ import annotations

import numpy as np
import pytest

from kzoo.data.augment import PAD_COLOR, AugmentConfig, blur_parameters, color_parameters, draw, warp_parameters
from kzoo.data.warp import apply_draw

NO_COLOR = color_parameters(1, 1, 1, 0)
NO_BLUR = blur_parameters(0)


def picture_and_mask(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, 3), np.uint8), rng.integers(0, 5, (height, width), np.uint8)


def warped(image, mask, size, scaled, offset, degrees=0.0, flip=False) -> tuple[np.ndarray, np.ndarray]:
    warp = warp_parameters(mask.shape, scaled, offset, degrees, flip)
    result = apply_draw(image, mask, warp, NO_COLOR, NO_BLUR, size)
    return result[0].numpy(), result[1].numpy()


@pytest.mark.parametrize("size", [(33, 47), (32, 48), (375, 500)])
def test_nothing_to_do_returns_the_exact_crop(size: tuple[int, int]) -> None:
    image, mask = picture_and_mask(*size)
    crop, labels = warped(image, mask, (21, 30), size, (5, 11))
    np.testing.assert_allclose(crop, image[5:26, 11:41], atol=1e-3)
    np.testing.assert_array_equal(labels, mask[5:26, 11:41])
    assert crop.dtype == np.float32 and labels.dtype == np.int32


def test_flip_is_exact() -> None:
    image, mask = picture_and_mask(21, 34)
    crop, labels = warped(image, mask, (21, 34), (21, 34), (0, 0), flip=True)
    np.testing.assert_allclose(crop, image[:, ::-1], atol=1e-3)
    np.testing.assert_array_equal(labels, mask[:, ::-1])


def test_a_quarter_turn_is_counter_clockwise_about_the_centre() -> None:
    image, mask = picture_and_mask(25, 25)
    crop, labels = warped(image, mask, (25, 25), (25, 25), (0, 0), degrees=90)
    np.testing.assert_allclose(crop, np.rot90(image), atol=1e-2)
    np.testing.assert_array_equal(labels, np.rot90(mask))


def test_scaling_the_mask_by_three_repeats_its_pixels() -> None:
    image, mask = picture_and_mask(7, 9)
    _, labels = warped(image, mask, (21, 27), (21, 27), (0, 0))
    np.testing.assert_array_equal(labels, np.repeat(np.repeat(mask, 3, 0), 3, 1))


def test_scaling_a_ramp_keeps_it_a_ramp_at_half_pixel_positions() -> None:
    ramp = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], 6, 0).repeat(3, 2)
    crop, _ = warped(ramp, np.zeros((6, 20), np.uint8), (12, 40), (12, 40), (0, 0))
    expected = np.clip(((np.arange(40) + 0.5) / 2 - 0.5) * 10, 0, 190)  # the border pixels repeat
    np.testing.assert_allclose(crop, np.tile(expected[None, :, None], (12, 1, 3)), atol=1e-3)


def test_a_small_picture_is_padded_with_the_mean_colour_and_the_ignore_label() -> None:
    image, mask = picture_and_mask(10, 12)
    color = color_parameters(0.5, 1.3, 0.2, 0.3)
    warp = warp_parameters((10, 12), (10, 12), (-4, -7), 0, False)
    crop, labels = (t.numpy() for t in apply_draw(image, mask, warp, color, blur_parameters(0.9), (20, 24)))
    inside = np.zeros((20, 24), bool)
    inside[4:14, 7:19] = True
    assert (labels[~inside] == 255).all()
    np.testing.assert_array_equal(labels[4:14, 7:19], mask)
    np.testing.assert_array_equal(crop[~inside], np.tile(np.float32(PAD_COLOR), ((~inside).sum(), 1)))


def test_the_border_of_the_picture_does_not_mix_with_the_padding() -> None:
    image = np.full((10, 10, 3), 250, np.uint8)
    warp = warp_parameters((10, 10), (15, 15), (-5, -5), 8, False)
    crop, labels = apply_draw(image, np.zeros((10, 10), np.uint8), warp, NO_COLOR, blur_parameters(0.9), (25, 25))
    np.testing.assert_allclose(crop.numpy()[labels.numpy() == 0], 250, atol=1e-2)


def test_pixels_annotated_as_ignored_keep_their_colour() -> None:
    image, mask = picture_and_mask(9, 9)
    mask[2:5, 2:5] = 255
    crop, labels = warped(image, mask, (9, 9), (9, 9), (0, 0))
    np.testing.assert_array_equal(labels, mask)
    np.testing.assert_allclose(crop, image, atol=1e-3)


def oracle(image, mask, size, scaled, offset, degrees, flip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Composes 3x3 matrices forward, inverts, samples pixel by pixel; the last result tells where nearest is a tie."""
    (height, width), (tall, wide) = mask.shape, scaled

    def move(x: float, y: float) -> np.ndarray:
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    angle = -np.radians(degrees)  # y points down, so counter-clockwise is negative
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    mirror = move(width, 0) @ np.diag([-1.0, 1, 1]) if flip else np.eye(3)
    grow = np.diag([wide / width, tall / height, 1])
    forward = (
        move(-offset[1], -offset[0]) @ move(wide / 2, tall / 2) @ turn @ move(-wide / 2, -tall / 2) @ grow @ mirror
    )
    back = np.linalg.inv(forward)
    colors = np.tile(np.array(PAD_COLOR), (*size, 1))
    labels = np.full(size, 255)
    tie = np.zeros(size, bool)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y, _ = back @ (column + 0.5, row + 0.5, 1) - (0.5, 0.5, 0)
            tie[row, column] = min(abs(x % 1 - 0.5), abs(y % 1 - 0.5)) < 1e-3
            nearest_x, nearest_y = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            if not (0 <= nearest_x < width and 0 <= nearest_y < height):
                continue
            labels[row, column] = mask[nearest_y, nearest_x]
            left, top = int(np.floor(x)), int(np.floor(y))
            total = np.zeros(3)
            for py, wy in ((top, 1 - (y - top)), (top + 1, y - top)):
                for px, wx in ((left, 1 - (x - left)), (left + 1, x - left)):
                    total += wy * wx * image[min(max(py, 0), height - 1), min(max(px, 0), width - 1)]
            colors[row, column] = total
    return colors, labels, tie


@pytest.mark.parametrize(
    ("scaled", "offset", "degrees", "flip"),
    [((31, 42), (4, 9), 0.0, False), ((17, 22), (-8, -3), -10.0, True), ((40, 55), (10, 20), 10.0, True),
     ((23, 31), (-4, 2), 7.0, False), ((29, 20), (1, -6), 33.0, True)],
)  # fmt: skip
def test_the_fused_warp_equals_an_oracle(scaled, offset, degrees: float, flip: bool) -> None:
    image, mask = picture_and_mask(23, 31)
    size = (28, 26)
    colors, labels, tie = oracle(image, mask, size, scaled, offset, degrees, flip)
    crop, found = warped(image, mask, size, scaled, offset, degrees, flip)
    assert tie.mean() < 0.1
    np.testing.assert_array_equal(found[~tie], labels[~tie])
    np.testing.assert_allclose(crop[~tie], colors[~tie], atol=0.05)
    assert (labels == 255).any() and (labels != 255).any()


def test_picture_and_mask_stay_aligned() -> None:
    height, width = 60, 80
    y, x = np.mgrid[:height, :width]
    image = np.stack([x, y, x + y], -1).astype(np.uint8)  # each pixel's colour tells its place
    mask = ((x // 4 + 3 * (y // 4)) % 11).astype(np.uint8)
    config = AugmentConfig(brightness=0, contrast=0, saturation=0, hue=0, blur=0)
    rng = np.random.default_rng(1)
    for _ in range(12):
        d = draw(config, (height, width), (48, 48), rng)
        crop, labels = (t.numpy() for t in apply_draw(image, mask, *d, (48, 48)))
        inside = labels != 255
        place = crop[inside][:, :2].astype(float)
        # A border pixel's colour is clamped to the border, which is the nearest pixel too.
        sure = (np.abs(place % 1 - 0.5) > 1e-2).all(1)
        column, row = np.rint(place[sure]).astype(int).T
        np.testing.assert_array_equal(labels[inside][sure], mask[row, column])
        assert sure.sum() > 300


def test_blur_equals_a_direct_convolution() -> None:
    image, mask = picture_and_mask(12, 14)
    taps = blur_parameters(0.8)
    crop, _ = apply_draw(image, mask, warp_parameters((12, 14), (12, 14), (0, 0), 0, False), NO_COLOR, taps, (12, 14))
    padded = np.pad(image.astype(float), ((3, 3), (3, 3), (0, 0)), mode="symmetric")
    expected = sum(float(taps[i]) * float(taps[j]) * padded[i : i + 12, j : j + 14] for i in range(7) for j in range(7))
    np.testing.assert_allclose(crop.numpy(), expected, atol=1e-2)


def test_colours_are_clipped_to_their_range() -> None:
    image, mask = picture_and_mask(12, 14)
    color = color_parameters(1.9, 1.5, 1, 0)
    crop, _ = apply_draw(image, mask, warp_parameters((12, 14), (12, 14), (0, 0), 0, False), color, NO_BLUR, (12, 14))
    expected = np.clip(image.reshape(-1, 3) @ color[:3] + color[3], 0, 255).reshape(12, 14, 3)
    np.testing.assert_allclose(crop.numpy(), expected, atol=1e-2)
    assert crop.numpy().min() == 0 and crop.numpy().max() == 255
