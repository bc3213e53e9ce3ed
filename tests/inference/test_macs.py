"""Multiplications counted by hand."""

import keras
import pytest

from kzoo.inference import count_macs
from kzoo.models import FCN


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (keras.layers.Conv2D(8, 3, strides=2, padding="same"), 10 * 13 * 8 * 9 * 3),
        (keras.layers.Conv2D(8, 3, padding="same", dilation_rate=4), 20 * 25 * 8 * 9 * 3),
        (keras.layers.Conv2D(8, 3, dilation_rate=2), 16 * 21 * 8 * 9 * 3),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), 20 * 25 * 6 * 9),
        (keras.layers.DepthwiseConv2D(3, dilation_rate=3, padding="same"), 20 * 25 * 3 * 9),
        (keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)]), 3 * 5),
    ],
)
def test_layers_by_hand(layer, expected):
    assert count_macs(keras.Sequential([keras.Input((None, None, 3)), layer]), (20, 25)) == expected


def test_what_cannot_be_counted_is_refused():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(9, 3, groups=3)])
    with pytest.raises(ValueError, match="function of its own"):
        count_macs(model, (20, 25))


def test_a_dilated_network_costs_what_its_strides_say():
    """The layers up to the first removed stride cost the same; those behind it four times as much."""
    small = {"backbone": "resnet50", "aux": False, "filters": 8}
    costs = {stride: count_macs(FCN(2, **small, output_stride=stride), (96, 96)) for stride in (32, 16, 8)}
    assert 3.9 < (costs[8] - costs[16]) / (costs[16] - costs[32]) < 8
    # ResNet-50's convolutions at 96x96 are (96 / 224)^2 of the 4.1 G at 224x224; the deep stem adds about 0.1.
    assert costs[32] == pytest.approx(4.1e9 * (96 / 224) ** 2, rel=0.08)
