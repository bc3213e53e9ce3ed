"""Evaluation: known predictions against hand-counted values, whatever the picture sizes."""

import json
import math
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from kzoo.data import CAMVID, VOC, Dataset, Labels, Sample
from kzoo.inference import draw_confusion, evaluate, evaluate_predictor, matching_dataset, predict_mask
from kzoo.metrics import BoundaryIoU, MeanIoU


@pytest.fixture
def dataset(network, paint, tmp_path):
    """Three paintings of different sizes whose masks say something else in one corner, and nothing in another."""
    samples = []
    for index, size in enumerate(((30, 41), (25, 60), (44, 20))):
        mask, image = paint(*size, seed=index)
        mask[:6, :7], mask[-5:, -9:] = 1, 255
        Image.fromarray(image).save(tmp_path / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / f"{index}_mask.png")
        samples.append(Sample(str(index), tmp_path / f"{index}.png", tmp_path / f"{index}_mask.png"))
    labels = Labels(network.class_names, network.palette)
    return Dataset("paintings", "val", labels, tuple(samples), {label: label for label in (0, 1, 2, 3, 255)})


def test_results(network, dataset):
    confusion = np.zeros((4, 4), int)
    for index in range(3):
        image, mask = dataset.read(index)
        for true, predicted in zip(mask.ravel(), predict_mask(network, image).ravel(), strict=True):
            if true != 255:
                confusion[true, predicted] += 1
    assert np.trace(confusion) < confusion.sum()
    iou = np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))
    done = []
    results = evaluate(network, dataset, progress=lambda *counts: done.append(counts))
    np.testing.assert_array_equal(results.confusion, confusion)
    assert results.confusion.dtype == np.int64
    assert results.iou == pytest.approx(dict(zip(network.class_names, iou, strict=True)))
    assert results.miou == pytest.approx(iou.mean())
    assert results.pixel_accuracy == pytest.approx(np.trace(confusion) / confusion.sum())
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_agrees_with_the_metrics_on_logits(network, dataset):
    metrics = MeanIoU(4), BoundaryIoU(4)
    for index in range(3):
        image, mask = dataset.read(index)
        for metric in metrics:
            metric.update_state(mask[None], network(image[None].astype("float32")))
    results = evaluate(network, dataset)
    assert [results.miou, results.boundary_iou] == pytest.approx([float(metric.result()) for metric in metrics])


def test_json_holds_fractions_and_no_nan(network, dataset):
    results = evaluate_predictor(lambda image: np.zeros(image.shape[:2], int), dataset, [*"abcde"], {"predictor": "0"})
    assert math.isnan(results.iou["e"])
    written = json.loads(json.dumps(results.to_json(), allow_nan=False))
    assert written["iou"]["e"] is None
    assert 0 < written["miou"] < 1
    assert written["pictures"] == 3
    assert written["protocol"] == {"dataset": "paintings", "split": "val", "predictor": "0"}
    assert {"pixel_accuracy", "boundary_iou"} <= written.keys()


def test_protocol_is_passed_on_and_noted(network, dataset, monkeypatch):
    protocol = {"scales": [0.25, 0.3], "flip": True, "window": (16, 16), "stride": 7}
    passed = []

    def predict_mask(model, image, **options):
        passed.append({**options, "scales": list(options["scales"])})
        return np.zeros(image.shape[:2], int)

    monkeypatch.setattr(sys.modules["kzoo.inference.evaluate"], "predict_mask", predict_mask)
    results = evaluate(network, dataset, **protocol)
    assert passed == [{**protocol, "refinement": None}] * 3
    assert results.protocol == {"dataset": "paintings", "split": "val", **protocol}


def test_confusion_picture(network, dataset, tmp_path, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kwargs: (figures.append(self), save(self, *args, **kwargs))
    )
    results = evaluate(network, dataset)
    draw_confusion(results, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 300
    # Row by row from above, the share of the label's pixels, where it rounds to 1 % or more.
    axes = figures[0].axes[0]
    shown = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    share = 100 * results.confusion / results.confusion.sum(1, keepdims=True)
    assert shown == {place: f"{share[place]:.0f}" for place in np.ndindex(4, 4) if share[place] >= 0.5}
    assert not np.array_equal(share.round(), share.T.round())
    assert [label.get_text() for label in axes.get_yticklabels()] == list(network.class_names)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "labelled")


def test_wrong_classes_and_shapes(network, dataset):
    network.class_names = ("background", "green", "red", "blue")
    with pytest.raises(ValueError, match=r"Network: background, green, red, blue. Dataset: background, red"):
        evaluate(network, dataset)
    with pytest.raises(ValueError, match=r"'0' has the shape \(3, 3\)"):
        evaluate_predictor(lambda image: np.zeros((3, 3), int), dataset, network.class_names, {})
    with pytest.raises(ValueError, match="no pictures"):
        evaluate_predictor(predict_mask, Dataset("d", "val", dataset.labels, (), {}), network.class_names, {})


def test_matching_dataset():
    assert matching_dataset(CAMVID.class_names) == "camvid"
    assert matching_dataset(VOC.class_names) == "voc2012"
    assert matching_dataset(CAMVID.class_names[::-1]) is None
