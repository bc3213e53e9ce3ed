from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest

from kzoo.data import augment
from kzoo.data.augment import PAD_COLOR, AugmentConfig, blur_parameters, color_parameters, draw, warp_parameters

IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0]


def apply(color: np.ndarray, rgb: tuple[float, float, float]) -> np.ndarray:
    return np.array(rgb) @ color[:3] + color[3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": (2.0, 0.5)}, "scale"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"rotate": 181.0}, "rotate.*181"),
        ({"blur": 1.5}, "blur.*1.5"),
        ({"contrast": -0.1}, "contrast.*-0.1"),
        ({"hue": 0.6}, "hue.*0.6"),
    ],
)
def test_values_out_of_range_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**values)


def test_nothing_to_do_is_the_identity() -> None:
    size = (31, 45)
    result = draw(AugmentConfig.none(), size, size, np.random.default_rng(0))
    assert result.warp.tolist() == IDENTITY
    np.testing.assert_allclose(result.color, np.eye(4, 3), atol=1e-6)
    assert result.blur.tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_warp_of_hand_computed_cases() -> None:
    assert warp_parameters((10, 20), (10, 20), (3, 4), 0, False).tolist() == [1, 0, 4, 0, 1, 3, 0, 0]
    # Mirrored: the crop's first column is the picture's last one, 19.
    assert warp_parameters((10, 20), (10, 20), (0, 0), 0, True).tolist() == [-1, 0, 19, 0, 1, 0, 0, 0]
    # Twice as large: the first pixel's centre, 0.5, lies at 0.25 of the picture, a quarter before its first centre.
    assert warp_parameters((10, 20), (20, 40), (0, 0), 0, False).tolist() == [0.5, 0, -0.25, 0, 0.5, -0.25, 0, 0]


def test_crops_lie_everywhere_and_never_beyond_the_picture() -> None:
    config = AugmentConfig.none()
    rng = np.random.default_rng(0)
    larger = np.array([draw(config, (12, 15), (8, 9), rng).warp[[2, 5]] for _ in range(400)])
    assert set(larger[:, 0]) == set(range(7)) and set(larger[:, 1]) == set(range(5))
    smaller = np.array([draw(config, (8, 9), (12, 15), rng).warp[[2, 5]] for _ in range(400)])
    assert set(smaller[:, 0]) == set(range(-6, 1)) and set(smaller[:, 1]) == set(range(-4, 1))


def test_draws_fill_their_ranges() -> None:
    config = AugmentConfig(scale=(0.5, 2.0), rotate=10.0, blur=0.25)
    rng = np.random.default_rng(0)
    draws = [draw(config, (200, 300), (64, 64), rng) for _ in range(2000)]
    warps = np.array([d.warp for d in draws]).astype(float)
    flipped = warps[:, 0] < 0
    assert abs(flipped.mean() - 0.5) < 0.05
    scale = 1 / np.hypot(warps[:, 0], warps[:, 1])
    assert 0.5 - 0.01 < scale.min() < 0.55 and 1.95 < scale.max() < 2 + 0.01
    assert abs(scale.mean() - 1.25) < 0.05
    angle = np.degrees(np.arctan2(warps[:, 3], warps[:, 4]))
    assert -10.1 < angle.min() < -9.5 and 9.5 < angle.max() < 10.1
    # Of the sigmas in 0..1, those below 0.173 leave less than float32 can show: exp(-1 / (2 * 0.173**2)) = 6e-8.
    assert abs(np.mean([d.blur[3] < 1 for d in draws]) - 0.25 * (1 - 0.173)) < 0.03


def test_colours_fill_their_own_ranges_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = {"brightness": 0.1, "contrast": 0.2, "saturation": 0.3, "hue": 0.04}
    drawn: list[dict[str, float]] = []
    monkeypatch.setattr(augment, "color_parameters", lambda **values: drawn.append(values))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        draw(AugmentConfig(**bounds), (50, 60), (32, 32), rng)
    shifts = np.array([[values[name] for name in bounds] for values in drawn]) - [1, 1, 1, 0]
    signed = shifts / list(bounds.values())
    assert (np.abs(signed) <= 1 + 1e-9).all()
    assert (signed.min(0) < -0.98).all() and (signed.max(0) > 0.98).all()
    np.testing.assert_allclose(np.corrcoef(signed.T), np.eye(4), atol=0.1)


def test_switching_one_part_off_leaves_the_others() -> None:
    both = draw(AugmentConfig(), (50, 60), (32, 32), np.random.default_rng(5))
    without = draw(
        AugmentConfig(brightness=0, contrast=0, saturation=0, hue=0), (50, 60), (32, 32), np.random.default_rng(5)
    )
    np.testing.assert_array_equal(both.warp, without.warp)
    np.testing.assert_array_equal(both.blur, without.blur)


def test_brightness_multiplies() -> None:
    np.testing.assert_allclose(apply(color_parameters(1.2, 1, 1, 0), (10, 100, 50)), (12, 120, 60), atol=1e-4)


def test_contrast_keeps_the_mean_grey() -> None:
    grey = 0.299 * PAD_COLOR[0] + 0.587 * PAD_COLOR[1] + 0.114 * PAD_COLOR[2]
    color = color_parameters(1, 0.5, 1, 0)
    np.testing.assert_allclose(apply(color, (grey,) * 3), (grey,) * 3, atol=1e-4)
    np.testing.assert_allclose(apply(color, (grey + 20, grey, grey - 10)), (grey + 10, grey, grey - 5), atol=1e-4)


def test_saturation_moves_to_and_from_the_luma() -> None:
    rgb = np.array([200.0, 100.0, 20.0])
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 20
    for factor in (0.0, 0.5, 1.3):
        expected = luma + factor * (rgb - luma)
        np.testing.assert_allclose(apply(color_parameters(1, 1, factor, 0), tuple(rgb)), expected, atol=1e-3)


def test_hue_turns_as_the_yiq_plane_does() -> None:
    y, i, q = colorsys.rgb_to_yiq(0.6, 0.5, 0.4)
    angle = 2 * math.pi * 0.1
    turned = y, i * math.cos(angle) - q * math.sin(angle), i * math.sin(angle) + q * math.cos(angle)
    expected = 255 * np.array(colorsys.yiq_to_rgb(*turned))
    # The standard library rounds the same matrix to two digits.
    np.testing.assert_allclose(apply(color_parameters(1, 1, 1, 0.1), (153, 127.5, 102)), expected, atol=1.5)
    np.testing.assert_allclose(apply(color_parameters(1, 1, 1, 0.1), (80, 80, 80)), (80, 80, 80), atol=1e-3)


def test_blur_is_a_gaussian() -> None:
    taps = blur_parameters(0.8).astype(float)
    assert abs(taps.sum() - 1) < 1e-6
    np.testing.assert_allclose(taps[4] / taps[3], math.exp(-0.5 / 0.64), rtol=1e-5)
    np.testing.assert_array_equal(taps, taps[::-1])
