"""The first layer of every network: scale and offset of red, green, blue; the order that the backbone takes."""

import keras
import numpy as np
import pytest

from kzoo.backbones import Preprocessing
from kzoo.layers import Normalize

# One pixel, and by hand (10 - 1) / 2, (20 - 2) / 4, (30 - 4) / 8.
PICTURE = np.array([[[[10, 20, 30]]]], "uint8")
RED, GREEN, BLUE = 4.5, 4.5, 3.25


@pytest.mark.parametrize(("bgr", "expected"), [(False, [RED, GREEN, BLUE]), (True, [BLUE, GREEN, RED])])
def test_values_are_of_red_green_blue_whatever_the_order_of_the_result(bgr, expected):
    preprocessing = Preprocessing.from_mean_std((1, 2, 4), (2, 4, 8), bgr=bgr)
    assert preprocessing.bgr == bgr and preprocessing.scale == (0.5, 0.25, 0.125)
    layer = Normalize(preprocessing.scale, preprocessing.offset, preprocessing.bgr)
    np.testing.assert_allclose(np.ravel(layer(PICTURE)), expected)
    again = Normalize.from_config(layer.get_config())
    np.testing.assert_allclose(np.ravel(again(PICTURE)), expected)


def test_float64_is_not_rounded_on_the_way():
    keras.config.set_dtype_policy("float64")
    layer = Normalize([1 / 3] * 3, [0.1] * 3)
    np.testing.assert_allclose(np.ravel(layer(PICTURE)), PICTURE.ravel() / 3 + 0.1, rtol=1e-14)
