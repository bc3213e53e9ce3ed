"""Mean IoU, IoU per class and pixel accuracy against values worked out by hand."""

import keras
import numpy as np
import pytest

from kzoo.metrics import MeanIoU, PerClassIoU, PixelAccuracy

# Class 3 is never labelled nor predicted; what is predicted under 255 does not count.
LABELS = np.array([[[0, 0, 1, 255], [2, 1, 1, 255]]], "uint8")
LOGITS = np.eye(4, dtype="float32")[[[[0, 1, 1, 2], [2, 1, 0, 3]]]]
BY_HAND = {"0": 1 / 3, "1": 2 / 4, "2": 1 / 1, "3": np.nan}


def test_mean_iou():
    metric = MeanIoU(4)
    metric.update_state(LABELS, LOGITS)
    assert float(metric.result()) == pytest.approx((1 / 3 + 2 / 4 + 1) / 3)


def test_a_class_only_predicted_counts_as_zero():
    metric = MeanIoU(4)
    metric.update_state(LABELS, np.roll(LOGITS, 1, axis=-1))  # 0 0 1 2 1 1 -> 1 2 2 3 2 1
    assert float(metric.result()) == pytest.approx((0 + 1 / 4 + 0 + 0) / 4)


def test_iou_per_class():
    metric = PerClassIoU(4)
    metric.update_state(LABELS, LOGITS)
    result = {name.removeprefix("iou_"): float(value) for name, value in metric.result().items()}
    assert result == pytest.approx(BY_HAND, nan_ok=True)


def test_pixel_accuracy():
    metric = PixelAccuracy(4)
    metric.update_state(LABELS, LOGITS)
    assert float(metric.result()) == pytest.approx(4 / 6)


def test_nothing_counted_is_nan():
    for metric in (MeanIoU(4), PixelAccuracy(4)):
        metric.update_state(np.full_like(LABELS, 255), LOGITS)
        assert np.isnan(metric.result())


def test_class_names():
    metric = PerClassIoU(2, class_names=["sky", "pole"])
    assert list(metric.result()) == ["iou_sky", "iou_pole"]
    with pytest.raises(ValueError, match="2 different class names"):
        PerClassIoU(2, class_names=["sky", "sky"])


@pytest.mark.parametrize("metric", [MeanIoU(4, 3, name="m"), PerClassIoU(4, class_names="abcd"), PixelAccuracy(4)])
def test_serialisation(metric):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()


def test_fit_logs_them():
    model = keras.Sequential([keras.Input((2, 4, 4)), keras.layers.Activation("linear")])
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
        metrics=[MeanIoU(4), PerClassIoU(4), PixelAccuracy(4)],
    )
    logs = model.evaluate(LOGITS, LABELS, verbose=0, return_dict=True)
    assert logs["miou"] == pytest.approx((1 / 3 + 2 / 4 + 1) / 3)
    assert logs["iou_1"] == pytest.approx(2 / 4)
    assert logs["pixel_accuracy"] == pytest.approx(4 / 6)
