"""Where features begin, against what strided convolutions do; what is said of sizes other than the trained one."""

import logging

import keras
import numpy as np
import pytest

import kzoo
from kzoo.export import sizes
from kzoo.export.sizes import first_sample, size_advice


@pytest.mark.parametrize("side", [*range(33, 70), 320, 321, 513])
@pytest.mark.parametrize("strides", [1, 3, 5])
def test_features_begin_where_same_padding_puts_them(side, strides):
    """Convolutions that take the middle of their three pixels, over a line of pixels that hold their own places."""
    places = np.broadcast_to(np.arange(side, dtype="float32")[:, None, None], (1, side, 1, 1))
    for _ in range(strides):
        middle = np.zeros((3, 1, 1, 1), "float32")
        middle[1] = 1
        places = keras.ops.conv(places, middle, (2, 1), "same")
    found = np.asarray(places).ravel()
    assert found[0] == first_sample(side, 2**strides)
    assert found[-1] == side - 1


def test_sizes_that_fit_and_one_that_does_not():
    network = kzoo.load("encnet_mnv2_animals")  # trained at 320x320, all strides together 32
    for size in [(320, 320), (352, 640), (319, 320), (32, 64)]:
        assert size_advice(network, size) is None
    assert size_advice(network, (321, 321)) == (
        "encnet_mnv2_animals was trained at 320x320: in pictures of 321x321 its features begin up to 31 pixels from "
        "where they began there, which can cost points of mIoU. 320x320 fits."
    )
    assert "up to 24 pixels" in size_advice(network, (320, 328))  # 327 mod 32 = 7
    assert "320x320 fits" in size_advice(network, (320, 328))
    assert "512x640 fits" in size_advice(network, (513, 630))
    assert "32x32 fits" in size_advice(network, (1, 17))


def test_nothing_is_said_where_nothing_is_known_or_padding_is_fixed():
    random = kzoo.load("encnet_mnv2_animals", weights=None)
    assert random.trained_size is None and size_advice(random, (321, 321)) is None
    assert kzoo.load("encnet_mnv2_animals", num_classes=3).trained_size is None  # its heads are to be trained
    fixed = kzoo.load("encnet_r50_pcontext", weights=None)
    fixed.trained_size = (480, 480)
    assert size_advice(fixed, (481, 481)) is None
    random.trained_size = (320, 320)
    assert size_advice(random, (321, 321)) is not None


def test_an_export_says_it_once(tmp_path, caplog):
    sizes._log_once.cache_clear()
    network = kzoo.load("encnet_mnv2_animals")
    with caplog.at_level(logging.WARNING, "kzoo"):
        for name in ("one.tflite", "two.tflite"):
            network.export(tmp_path / name, size=(97, 97))
    assert [record.message for record in caplog.records] == [size_advice(network, (97, 97))]
