"""The gate: an artefact that is not its network is not written."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.export.graph import answer
from kzoo.export.pictures import Pictures, batches, scaled
from kzoo.export.runners import Runner
from kzoo.export.target import Target
from kzoo.metrics import ConfusionMatrix

if TYPE_CHECKING:
    from kzoo.models import Segmenter


class VerificationError(ValueError):
    """An artefact that breaks a limit, and so was not written."""


@dataclass(frozen=True)
class Limits:
    """What an artefact may differ from its network by; None is not judged.

    Attributes:
        difference: of any logit, as a part of the logits' range.
        agreement: the least share of pixels with the same class, 0..1.
        miou_change: of the mIoU over the pictures, where these have masks, in points of 100, either way.
    """

    difference: float | None
    agreement: float
    miou_change: float | None


# Of int8 the mIoU is what counts; the agreement is for exports that are judged without masks.
LIMITS = {
    "fp32": Limits(1e-4, 0.999, None),
    "fp16": Limits(None, 0.995, None),
    "dynamic": Limits(None, 0.97, 0.5),
    "int8": Limits(None, 0.97, 0.5),
}


@dataclass(frozen=True)
class Verification:
    """How far an artefact is from its network, over some pictures.

    Attributes:
        source: the pictures' folder or split.
        pictures: how many.
        max_difference, mean_difference: of the logits; None where classes come out.
        range: of the network's logits, largest less smallest; None where classes come out.
        agreement: share of pixels with the same class.
        miou: the network's own mIoU over these pictures, 0..100; None without masks.
        miou_change: the artefact's less the network's, in points.
    """

    source: str
    pictures: int
    max_difference: float | None
    mean_difference: float | None
    range: float | None
    agreement: float
    miou: float | None
    miou_change: float | None

    def breaches(self, limits: Limits) -> list[str]:
        """What lies outside of the limits, in words."""
        found = []
        if limits.difference is not None and self.max_difference is not None and self.range is not None:
            part = self.max_difference / self.range if self.range else math.inf
            if not part <= limits.difference:  # NaN is a breach, too
                found.append(f"a logit differs by {part:.2g} of the logits' range, more than {limits.difference:g}")
        if not self.agreement >= limits.agreement:
            found.append(f"{self.agreement:.2%} of the pixels have the same class, fewer than {limits.agreement:.2%}")
        most, change = limits.miou_change, self.miou_change
        if most is not None and change is not None and not abs(change) <= most:
            found.append(f"the mIoU changes by {change:+.2f} points, more than {most:g}")
        return found

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def reference(model: Segmenter, refinement: Any, target: Target) -> Runner:
    """The network as an artefact would be, run by Keras: float32 pictures (B, H, W, 3) to logits or classes."""
    function = tf.function(lambda image: answer(model, refinement, image, target), autograph=False)
    return lambda pictures: np.asarray(function(tf.constant(pictures, tf.float32)))


def verify(model: Segmenter, refinement: Any, target: Target, runner: Runner, pictures: Pictures) -> Verification:
    """Compares an artefact's answers with its network's, picture by picture.

    Args:
        model: the network.
        refinement: the CRF in the graph, or None.
        target: what the artefact is.
        runner: the artefact.
        pictures: what both are asked.

    Raises:
        ValueError: the artefact answers in another shape.
    """
    ask, batch = reference(model, refinement, target), target.batch or 1
    comparison = _Comparison(model, pictures)
    own = (ask(picture[np.newaxis])[0] for picture in pictures.sized(target.size))
    for group in batches(pictures.sized(target.size), batch, target.input_type):
        answers = runner(group)
        for given, expected in zip(answers, itertools.islice(own, batch), strict=False):
            if given.shape != expected.shape:
                raise ValueError(f"The artefact answers in the shape {given.shape}, expected {expected.shape}.")
            comparison.add(given, expected)
    return comparison.result()


class _Comparison:
    """Sums over pictures, none of which is kept."""

    def __init__(self, model: Segmenter, pictures: Pictures) -> None:
        self.pictures, self.done = pictures, 0
        self.same = self.pixels = 0
        self.largest: float | None = None
        self.sum = 0.0
        self.values = 0
        self.low, self.high = math.inf, -math.inf
        split = pictures.split
        count = [] if split is None else [ConfusionMatrix(model.num_classes, split.labels.ignore_label) for _ in "ab"]
        self.confusions = tuple(count)

    def add(self, given: NDArray[Any], expected: NDArray[Any]) -> None:
        same = classes(given) == classes(expected)
        self.same, self.pixels = self.same + int(same.sum()), self.pixels + same.size
        if expected.ndim == 3:
            difference = np.abs(given.astype(np.float64) - expected)
            # np.maximum and not max(): a NaN anywhere is to come through.
            self.largest = float(np.maximum(self.largest or 0.0, difference.max()))
            self.sum, self.values = self.sum + float(difference.sum()), self.values + difference.size
            self.low, self.high = min(self.low, float(expected.min())), max(self.high, float(expected.max()))
        if self.pictures.split is not None:
            mask = self.pictures.split.read_mask(self.pictures.places[self.done])
            for confusion, answer in zip(self.confusions, (given, expected), strict=True):
                confusion.update_masks(mask[np.newaxis], classes_at(answer, mask.shape)[np.newaxis])
        self.done += 1

    def result(self) -> Verification:
        mious = [100 * float(confusion.mean_iou()) for confusion in self.confusions]
        judged = bool(mious) and not math.isnan(mious[1])
        return Verification(
            source=self.pictures.source,
            pictures=self.done,
            max_difference=self.largest,
            mean_difference=self.sum / self.values if self.values else None,
            range=self.high - self.low if self.values else None,
            agreement=self.same / self.pixels,
            miou=mious[1] if judged else None,
            miou_change=mious[0] - mious[1] if judged else None,
        )


def classes(answer: NDArray[Any]) -> NDArray[Any]:
    """The class map of an answer, be it logits (H, W, C) or a class map already."""
    return np.argmax(answer, -1) if answer.ndim == 3 else answer


def classes_at(answer: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """The class map at the picture's own size: logits are resized, a class map takes the nearest pixel."""
    if answer.ndim == 2:
        answer = np.asarray(answer)[..., np.newaxis]
        return np.asarray(tf.image.resize(answer, size, "nearest"))[..., 0]
    return np.argmax(np.asarray(tf.image.resize(answer, size, "bilinear")), -1)


def predictor(runner: Runner, target_size: tuple[int, int], input_type: str, batch: int = 1) -> Any:
    """An artefact as a function from a picture (H, W, 3) uint8 of any size to its class map (H, W)."""

    def predict(picture: NDArray[np.uint8]) -> NDArray[Any]:
        (group,) = batches([scaled(picture, target_size)], batch, input_type)
        return classes_at(runner(group)[0], picture.shape[:2])

    return predict
