"""What all tests share: two logical CPU devices, fixed seeds, a clean precision policy, the real data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before TensorFlow is imported, which reads it once.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

# The distribution tests need two devices, and TensorFlow takes their number only before its first operation. The other
# tests use the first device alone, and nothing changes for them: same results, same speed.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def kzoo_data() -> Path:
    """The folder of real data (`camvid/`, `voc_animals/`, ...); skips the test where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("KZOO_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"needs the real data: set KZOO_DATA to the folder of camvid/, voc_animals/, ...; no {folder}")
    return folder


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Every test starts from the same state of Python's, NumPy's and TensorFlow's generators."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def default_precision() -> Iterator[None]:
    """A precision policy that a test sets ends with it."""
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def tiny_backbone() -> Iterator[str]:
    """The name of a backbone of one layer, for tests of what stands behind the backbone: networks are made at once."""
    from kzoo.backbones import BACKBONES, Backbone
    from kzoo.backbones.backbone import MINUS_ONE_TO_ONE, picture_input

    def tiny(weights: None = None, output_stride: int = 8) -> Any:
        images = picture_input()
        layer = keras.layers.Conv2D(8, 3, output_stride, padding="same", activation="relu", name="conv")
        names = ("c1", "c2", "c3", "c4")
        strides = dict.fromkeys(names, output_stride)
        features = dict.fromkeys(names, layer(images))
        return Backbone(images, features, strides=strides, preprocessing=MINUS_ONE_TO_ONE, name="tiny")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", tiny)
        yield "tiny"
