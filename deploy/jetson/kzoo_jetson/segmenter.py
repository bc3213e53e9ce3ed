"""A picture of any size in, its class map out, and how long each step took."""

import time
from typing import Dict, Tuple

import numpy as np

from .resize import classes_of, resize_nearest, resize_picture
from .runner import Runner


class Segmenter:
    """Prepares pictures for an engine and makes class maps of its answers.

    Args:
        runner: an engine that takes one picture at a time.
        resize: what is brought back to the picture's size where the engine gives logits: "logits", bilinearly, as
            `kzoo predict` does, or "classes", by the nearest: faster, with coarser edges. An engine that gives class
            maps leaves no choice: they are brought back by the nearest.
    """

    def __init__(self, runner: Runner, resize: str = "logits") -> None:
        self._runner, self._sidecar = runner, runner.sidecar
        self._resize_logits = resize == "logits"

    def __call__(self, picture: np.ndarray) -> Tuple[np.ndarray, Dict[str, float]]:
        """Segments one picture.

        Args:
            picture: (H, W, 3) uint8, RGB.

        Returns:
            The class map, (H, W) uint8, and the milliseconds of each step.
        """
        start = time.perf_counter()
        self._prepare(picture)
        prepared = time.perf_counter()
        output, gpu = self._runner.run()
        answered = time.perf_counter()
        mask = self._classes(output[0], picture.shape[:2])
        times = {"prepare": (prepared - start) * 1e3}
        times.update(gpu._asdict())
        times["post_process"] = (time.perf_counter() - answered) * 1e3
        return mask, times

    def _prepare(self, picture: np.ndarray) -> None:
        values = resize_picture(picture, self._sidecar.size)
        if self._sidecar.input.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        self._runner.input[0] = values

    def _classes(self, answer: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
        if self._sidecar.kind == "classes":
            return resize_nearest(answer, size).astype(np.uint8)
        planes = answer if self._sidecar.output.layout == "NCHW" else np.ascontiguousarray(answer.transpose(2, 0, 1))
        if self._resize_logits:
            return classes_of(planes, size)
        return resize_nearest(classes_of(planes, self._sidecar.size), size)


class Timings:
    """The times of many pictures, and their medians."""

    def __init__(self) -> None:
        self._by_step = {}  # type: Dict[str, List[float]]

    def add(self, **steps: float) -> None:
        """Takes the milliseconds of one picture's steps."""
        for step, milliseconds in steps.items():
            self._by_step.setdefault(step, []).append(milliseconds)

    def __str__(self) -> str:
        return ", ".join(
            "{} {:.1f}".format(step.replace("_", " "), np.median(times)) for step, times in self._by_step.items()
        )
