"""Prediction of single pictures: any input, scales, flip, windows; against statements in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kzoo.inference import freeze, predict_logits, predict_mask, read_picture
from kzoo.inference.predict import _starts


@pytest.fixture
def blur_network():
    """Logits that depend on a neighbourhood and on its place, so that windows, scales and mirroring matter."""
    images = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(3, 5, padding="same")
    model = keras.Model(images, layer(keras.layers.Rescaling(1 / 255)(images)))
    layer.set_weights([np.random.default_rng(0).normal(size=(5, 5, 3, 3)), np.zeros(3)])
    return model


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def noise(height, width):
    return np.random.default_rng(1).uniform(0, 255, (height, width, 3)).astype("float32")


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (37, 61)])
def test_any_size_and_form(network, paint, tmp_path, size):
    mask, image = paint(*size)
    Image.fromarray(image).save(tmp_path / "a.png")
    for form in (image, image.astype("float32"), Image.fromarray(image), tmp_path / "a.png", str(tmp_path / "a.png")):
        predicted = predict_mask(network, form)
        assert predicted.dtype == np.uint8
        np.testing.assert_array_equal(predicted, mask)


def test_one_pass_gives_the_networks_logits(blur_network):
    image = noise(20, 31)
    logits = predict_logits(blur_network, image)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, blur_network(image[None])[0], atol=1e-5)


def test_logits_are_resized_before_the_argmax():
    images = keras.Input((None, None, 3))
    coarse = keras.Model(images, keras.layers.AveragePooling2D(8)(images))
    image = np.zeros((16, 16, 3), "float32")
    image[:, :8, 0], image[:, 8:, 1], image[:, :, 2] = 100, 255, 60
    logits = tf.image.resize(coarse(image[None]), (16, 16))[0]
    np.testing.assert_allclose(predict_logits(coarse, image), logits)
    predicted = predict_mask(coarse, image)
    np.testing.assert_array_equal(predicted, np.argmax(logits, -1))
    assert list(predicted[0]) == [0] * 6 + [1] * 10  # not 8 and 8, as if the coarse classes were enlarged


def test_scales_and_flip_average_probabilities(blur_network):
    image, scales = noise(20, 31), (0.5, 1.0, 1.3)
    expected = np.zeros((20, 31, 3))
    for scale in scales:
        scaled = tf.image.resize(image[None], (round(20 * scale), round(31 * scale)))
        for step in (1, -1):
            logits = blur_network(scaled[:, :, ::step])[:, :, ::step]
            expected += softmax(np.asarray(tf.image.resize(logits, (20, 31)))[0]) / 6
    logits = predict_logits(blur_network, image, scales=scales, flip=True)
    np.testing.assert_allclose(softmax(logits), expected, atol=1e-5)
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1, atol=1e-5)


def test_scaling_is_half_pixel_bilinear():
    image = np.zeros((2, 4, 3), "float32")
    image[:, :, 0] = [0, 10, 20, 30]
    images = keras.Input((None, None, 3))
    same = keras.Model(images, keras.layers.Identity()(images))
    # Enlarged to 8 columns 0, 2.5, 7.5, 12.5, ... and shrunk back to their middles; torch's interpolate does the same.
    logits = predict_logits(same, image, scales=(2.0,))
    np.testing.assert_allclose(logits[0, :, 0], [1.25, 10, 20, 28.75], atol=1e-5)


def test_windows_are_averaged_by_count(blur_network):
    image = noise(23, 17)
    total, count = np.zeros((23, 17, 3)), np.zeros((23, 17, 1))
    for top in (0, 6, 12, 13):
        for left in (0, 5, 8):
            part = slice(top, top + 10), slice(left, left + 9)
            total[part] += blur_network(image[part][None])[0]
            count[part] += 1
    logits = predict_logits(blur_network, image, window=(10, 9), stride=(6, 5))
    np.testing.assert_allclose(logits, total / count, atol=1e-5)


def test_a_window_larger_than_the_picture(blur_network):
    image = noise(8, 30)
    logits = predict_logits(blur_network, image, window=30)
    np.testing.assert_allclose(logits, blur_network(image[None])[0], atol=1e-5)


def test_windows_step_by_two_thirds_by_default(blur_network):
    image = noise(23, 17)
    by_default = predict_logits(blur_network, image, window=(10, 9))
    np.testing.assert_array_equal(by_default, predict_logits(blur_network, image, window=(10, 9), stride=(6, 6)))
    assert np.abs(by_default - predict_logits(blur_network, image, window=(10, 9), stride=(10, 9))).max() > 1e-3


@pytest.mark.parametrize(("length", "window", "stride"), [(23, 10, 6), (10, 10, 3), (30, 10, 10), (31, 10, 7)])
def test_windows_cover_everything_without_going_over(length, window, stride):
    starts = _starts(length, window, stride)
    assert set().union(*(range(start, start + window) for start in starts)) == set(range(length))
    assert len(set(starts)) == len(starts)


def test_uses_the_inference_graph(network, paint):
    predict_mask(network, paint(9, 9)[1])
    assert freeze(network).function is not None


def test_pil_pictures_turn_as_their_exif_says(tmp_path):
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(read_picture(picture), np.rot90(pixels, 3))


def test_bad_pictures_are_named(network, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"bad\.png"):
        read_picture(tmp_path / "bad.png")
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        predict_mask(network, tmp_path / "absent.png")
    for array in (np.zeros((5, 5)), np.zeros((1, 5, 5, 3)), np.zeros((0, 5, 3)), np.zeros((5, 5, 3), "complex64")):
        with pytest.raises(ValueError, match="received an array of shape"):
            read_picture(array)
    for value in (-1, 256, np.nan):
        with pytest.raises(ValueError, match=r"0\.\.255"):
            read_picture(np.full((5, 5, 3), value, "float32"))


@pytest.mark.parametrize(
    "options",
    [
        {"scales": ()},
        {"scales": (1, 0)},
        {"stride": 5},
        {"window": 0},
        {"window": (8, 8), "stride": (9, 8)},
        {"window": 8, "stride": 0},
    ],
)
def test_bad_options_are_named(network, options):
    with pytest.raises(ValueError, match=r"received|Received"):
        predict_mask(network, np.zeros((20, 20, 3)), **options)
