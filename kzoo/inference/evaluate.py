"""Evaluation of a network, or of any predictor, on a split of a dataset."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.data import DATASET_LABELS, Dataset
from kzoo.data.unseen import without_classes
from kzoo.files import atomic_write
from kzoo.inference.predict import Refinement, Size, predict_logits, predict_mask
from kzoo.inference.protocols import Protocol, predict_by_protocol
from kzoo.metrics import BoundaryIoU, ConfusionMatrix, TrimapMetrics

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Results:
    """What an evaluation found. Fractions of 1; NaN for a class that is neither labelled nor predicted anywhere.

    Attributes:
        miou: mean of `iou` over the classes that are labelled or predicted.
        pixel_accuracy: share of the labelled pixels whose class is predicted.
        boundary_iou: see `kzoo.metrics.BoundaryIoU`.
        iou: intersection over union by class name.
        confusion: (C, C) int64 pixel counts, rows are labels and columns predictions.
        pictures: number of pictures.
        protocol: how it was measured: dataset, split, scales, flip, window, stride; and the refinement, if any.
    """

    miou: float
    pixel_accuracy: float
    boundary_iou: float
    iou: dict[str, float]
    confusion: NDArray[np.int64]
    pictures: int
    protocol: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """A dict that `json` can write: NaN becomes None."""
        return {
            "miou": _finite(self.miou),
            "pixel_accuracy": _finite(self.pixel_accuracy),
            "boundary_iou": _finite(self.boundary_iou),
            "iou": {name: _finite(value) for name, value in self.iou.items()},
            "pictures": self.pictures,
            "protocol": self.protocol,
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    model: keras.Model,
    dataset: Dataset,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: Size | None = None,
    stride: Size | None = None,
    protocol: Protocol | None = None,
    refinement: Refinement | Literal["own"] | None = "own",
    classes: Sequence[int] | None = None,
    progress: Progress | None = None,
    metrics: Sequence[ConfusionMatrix | TrimapMetrics] = (),
) -> Results:
    """Measures a network on a dataset, one picture at a time, at the masks' own size.

    Args:
        model: the network.
        dataset: the split, with the classes of the network in the same order.
        scales, flip, window, stride: as in `predict_logits`.
        protocol: a published code's way to predict, in place of these.
        refinement: as in `predict_logits`; but `"own"` is none under a protocol, which is the network's alone.
        classes: labels that alone are predicted, on the pixels that have one of them: the pure setting of zero-shot
            segmentation, with the unseen classes. None: all, on all pixels.
        progress: called with (pictures done, pictures in all) after every picture.
        metrics: further metrics that every picture is added to; their results are read from them.

    Raises:
        ValueError: `classes` under a protocol, the network's classes are not the dataset's, or the dataset is empty, or
            a file is bad.
    """
    check_classes(model, dataset)
    dataset = without_classes(dataset, getattr(model, "ignored", ()), "ignore")  # of zero-shot networks
    expected = dataset.labels.class_names
    if refinement == "own":
        refinement = getattr(model, "refinement", None) if protocol is None else None
    noted: dict[str, Any] = {} if refinement is None else {"refinement": _description(refinement)}
    if protocol is not None:
        if classes is not None:
            raise ValueError("A published protocol predicts all classes: leave out `classes` or `protocol`.")
        how = {"protocol": type(protocol).__name__, **dataclasses.asdict(protocol), **noted}
        return evaluate_predictor(
            lambda image: predict_by_protocol(model, image, protocol, refinement),
            dataset,
            expected,
            how,
            progress,
            metrics,
        )
    options: dict[str, Any] = {"scales": list(scales), "flip": flip, "window": window, "stride": stride}

    def predict(image: NDArray[np.uint8]) -> NDArray[Any]:
        if classes is None:
            return predict_mask(model, image, **options, refinement=refinement)
        logits = predict_logits(model, image, **options, refinement=refinement)
        return np.asarray(classes)[logits[..., list(classes)].argmax(axis=-1)]

    if classes is not None:
        others = [label for label in range(len(expected)) if label not in classes]
        dataset, noted = without_classes(dataset, others, "ignore"), noted | {"classes": list(classes)}
    return evaluate_predictor(
        predict,
        dataset,
        expected,
        {**options, **noted},
        progress,
        metrics,
    )


def check_classes(model: keras.Model, dataset: Dataset) -> None:
    """Raises ValueError unless the network's classes are the dataset's, or as many without names."""
    names, expected = tuple(model.class_names), dataset.labels.class_names
    unnamed = names == tuple(f"class {index}" for index in range(len(names)))
    if model.num_classes != len(expected) or (names != expected and not unnamed):
        raise ValueError(
            f"The network's classes are not those of the dataset {dataset.name!r}. Network: {', '.join(names)}. "
            f"Dataset: {', '.join(expected)}."
        )


def evaluate_predictor(
    predict: Callable[[NDArray[np.uint8]], NDArray[Any]],
    dataset: Dataset,
    class_names: Sequence[str],
    protocol: dict[str, Any],
    progress: Progress | None = None,
    metrics: Sequence[ConfusionMatrix | TrimapMetrics] = (),
) -> Results:
    """Measures anything that makes class maps of pictures.

    Args:
        predict: (H, W, 3) uint8 RGB -> (H, W) class indices.
        dataset: the split.
        class_names: the dataset's classes; more may follow that a predictor can wrongly answer.
        protocol: how `predict` works, for the record.
        progress: called with (pictures done, pictures in all) after every picture.
        metrics: further metrics that every picture is added to; their results are read from them.

    Raises:
        ValueError: the dataset is empty, or a prediction has another size than its mask.
    """
    if not len(dataset):
        raise ValueError(f"The split {dataset.split!r} of {dataset.name!r} holds no pictures.")
    pixels = ConfusionMatrix(len(class_names), dataset.labels.ignore_label)
    boundary = BoundaryIoU(len(class_names), dataset.labels.ignore_label)
    for index in range(len(dataset)):
        image, mask = dataset.read(index)
        prediction = predict(image)
        if prediction.shape != mask.shape:
            raise ValueError(
                f"The prediction for {dataset.samples[index].id!r} has the shape {prediction.shape}, expected that of "
                f"the mask, {mask.shape}."
            )
        for metric in (pixels, boundary, *metrics):
            metric.update_masks(mask[np.newaxis], prediction[np.newaxis])
        if progress is not None:
            progress(index + 1, len(dataset))
    confusion = np.asarray(pixels.result())
    labelled = int(confusion.sum())
    return Results(
        miou=float(pixels.mean_iou()),
        pixel_accuracy=int(np.trace(confusion)) / labelled if labelled else math.nan,
        boundary_iou=float(boundary.result()),
        iou=dict(zip(class_names, np.asarray(pixels.iou()).tolist(), strict=True)),
        confusion=confusion,
        pictures=len(dataset),
        protocol={"dataset": dataset.name, "split": dataset.split, **protocol},
    )


def matching_dataset(class_names: Sequence[str]) -> str | None:
    """The built-in dataset with exactly these classes, or None."""
    return next((name for name, labels in DATASET_LABELS.items() if labels.class_names == tuple(class_names)), None)


def draw_confusion(results: Results, path: str | os.PathLike[str]) -> None:
    """Draws the confusion matrix into a PNG: each row in percent of the label's pixels."""
    from matplotlib.figure import Figure

    names = list(results.iou)
    labelled = results.confusion.sum(axis=1, keepdims=True)
    percent = 100 * results.confusion / np.maximum(labelled, 1)
    side = 3 + 0.55 * len(names)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set(xlabel="predicted", ylabel="labelled", title=f"{results.pictures} pictures, mIoU {results.miou:.1%}")
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    for row, column in np.ndindex(*percent.shape):
        if percent[row, column] >= 0.5:
            color = "white" if percent[row, column] > 55 else "black"
            axes.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", color=color, fontsize=8)
    figure.colorbar(shown, ax=axes, label="% of the label's pixels", fraction=0.045)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _description(refinement: Refinement) -> dict[str, Any]:
    """A refinement's class and arguments, for the record."""
    config = refinement.get_config() if isinstance(refinement, keras.layers.Layer) else {}
    return {"class": type(refinement).__name__} | {
        key: value for key, value in config.items() if key not in ("name", "trainable", "dtype")
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
