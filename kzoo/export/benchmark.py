"""How fast, how large and how accurate a network is in each format: measured side by side in one run."""

from __future__ import annotations

import csv
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.export.export import export_model
from kzoo.export.graph import Refine, deployed_refinement
from kzoo.export.peak_memory import peak_memory
from kzoo.export.pictures import scaled
from kzoo.export.runners import Runner, open_artifact
from kzoo.export.sizes import advise
from kzoo.export.target import SUFFIXES, Precision, Target
from kzoo.export.verification import VerificationError, predictor, reference
from kzoo.files import atomic_write

if TYPE_CHECKING:
    from kzoo.data import Dataset
    from kzoo.models import Segmenter

FORMATS: tuple[tuple[str, Precision], ...] = (
    ("keras", "fp32"),
    ("frozen", "fp32"),
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "int8"),
    ("litert", "fp32"),
    ("litert", "fp16"),
    ("litert", "dynamic"),
    ("litert", "int8"),
)
"""Keras is a plain `tf.function` of the model, frozen is `kzoo.inference.freeze`."""

ROUNDS = 21
SETTLING = 0.1


@dataclass(frozen=True)
class Row:
    """A network in one format and precision.

    Attributes:
        network, format, precision: what was run.
        median, spread: of the latency of one picture, in seconds; the spread is half the distance of the quartiles.
        megabytes: of the file, 1e6 bytes; None of Keras.
        peak: memory that a process which runs it takes at most beyond one that only imports the runtime, in 1e6 bytes;
            None of Keras.
        miou: on the split, 0..100, the picture scaled to the network's size; None without one.
        parameters, macs: of the network.
    """

    network: str
    format: str
    precision: str
    median: float
    spread: float
    megabytes: float | None
    peak: float | None
    miou: float | None
    parameters: int | None
    macs: int | None

    @property
    def throughput(self) -> float:
        """Pictures a second."""
        return 1.0 / self.median


@dataclass(frozen=True)
class Contender:
    """Something to be timed: a function of one picture (1, H, W, 3), with what is known of it before.

    `dataset` is the split whose mIoU is measured, or None.
    """

    row: Row
    run: Runner
    size: tuple[int, int]
    input_type: str = "float32"
    dataset: Dataset | None = None


def contenders(
    name: str,
    model: Segmenter,
    size: tuple[int, int],
    folder: Path,
    *,
    formats: Sequence[tuple[str, Precision]] = FORMATS,
    refine: Refine | None = None,
    refine_stride: int = 1,
    calibration: Path | Dataset | None = None,
    dataset: Dataset | None = None,
    threads: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Contender]:
    """A network in each format, exported into `folder` (`export_model`'s arguments); `dataset` is measured on, too.

    A form that does not pass the gate is left out; `progress` is told why.
    """
    advise(model, size)
    refinement = deployed_refinement(model, refine, refine_stride)
    found = []
    macs: int | None = None
    for format, precision in formats:
        row = Row(name, format, precision, 0.0, 0.0, None, None, None, model.count_params(), None)
        if format == "keras":
            found.append(Contender(row, reference(model, refinement, Target("onnx", size)), size))
        elif format == "frozen":
            found.append(Contender(row, _frozen(model, refinement), size))
        else:
            path = folder / f"{name}_{size[0]}x{size[1]}_{precision}{_suffix(format)}"
            try:
                done = export_model(
                    model,
                    path,
                    size=size,
                    precision=precision,
                    refine=refine,
                    refine_stride=refine_stride,
                    calibration=calibration,
                    pictures=dataset,
                )
            except VerificationError as refused:
                progress(f"left out: {refused}")
                continue
            macs = done.census.macs if done.census is not None else macs
            row = replace(row, megabytes=path.stat().st_size / 1e6, peak=peak_memory(path, size, "float32", threads))
            found.append(Contender(row, open_artifact(path, threads), size))
    return [replace(one, row=replace(one.row, macs=macs), dataset=dataset) for one in found]


def artefact(path: Path, threads: int | None = None) -> Contender:
    """A file that is there already, kzoo's or another's: an ONNX or a `.tflite` that takes pictures (1, H, W, 3)."""
    run = open_artifact(path, threads)
    shape, dtype = _input_of(path)
    row = Row(path.name, SUFFIXES[path.suffix], dtype, 0.0, 0.0, path.stat().st_size / 1e6, None, None, None, None)
    return Contender(replace(row, peak=peak_memory(path, shape, dtype, threads)), run, shape, dtype)


def measure(
    contenders: Sequence[Contender],
    picture: NDArray[np.uint8],
    rounds: int = ROUNDS,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """The rows: every round times each contender once, so that a slow minute hits all of them alike.

    Before the timed run each contender runs untimed for `SETTLING` seconds: the threads of the runtime before it spin
    on for a while, and took LiteRT's cores behind ONNX Runtime (52 ms in place of 28).

    Args:
        contenders: what is measured.
        picture: (H, W, 3), scaled to each one's size before the clock runs.
        rounds: how often each is timed.
        progress: told what comes next.
    """
    inputs = [scaled(picture, one.size)[np.newaxis].astype(one.input_type) for one in contenders]
    times: list[list[float]] = [[] for _ in contenders]
    progress(f"timing {len(contenders)} forms in {rounds} interleaved rounds")
    for _ in range(rounds):
        for place, one in enumerate(contenders):
            settled = time.perf_counter() + SETTLING
            while time.perf_counter() < settled:
                one.run(inputs[place])
            begin = time.perf_counter()
            one.run(inputs[place])
            times[place].append(time.perf_counter() - begin)
    rows = []
    for one, taken in zip(contenders, times, strict=True):
        first, middle, third = statistics.quantiles(taken, n=4)
        row = replace(one.row, median=middle, spread=(third - first) / 2)
        if one.dataset is not None:
            progress(f"mIoU of {row.network}, {row.format} {row.precision}")
            row = replace(row, miou=_miou(one, one.dataset))
        rows.append(row)
    return rows


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as text; times also in parts of the first row's."""

    def text(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    lines = [
        f"{'network':24} {'format':8} {'precision':9} {'ms':>8} {'+-':>6} {'ratio':>6} {'1/s':>6} {'MB':>7} "
        f"{'peak MB':>8} {'mIoU':>6} {'M param':>8} {'GMACs':>7}"
    ]
    for row in rows:
        lines.append(
            f"{row.network:24} {row.format:8} {row.precision:9} {1e3 * row.median:8.1f} {1e3 * row.spread:6.1f} "
            f"{row.median / rows[0].median:6.2f} {row.throughput:6.1f} {text(row.megabytes, '.2f'):>7} "
            f"{text(row.peak, '.0f'):>8} {text(row.miou, '.2f'):>6} "
            f"{text(None if row.parameters is None else row.parameters / 1e6, '.2f'):>8} "
            f"{text(None if row.macs is None else row.macs / 1e9, '.2f'):>7}"
        )
    return lines


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """The rows as a table of comma-separated values."""
    fields = list(Row.__dataclass_fields__)
    with atomic_write(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*fields, "throughput"])
        writer.writerows([*(getattr(row, field) for field in fields), row.throughput] for row in rows)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Accuracy against latency, for rows that have an mIoU: the colour says the network, the mark the form."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="ms a picture (median)", ylabel="mIoU")
    points = [(row.network, f"{row.format} {row.precision}", 1e3 * row.median, row.miou) for row in rows]
    measured = [(network, form, x, y) for network, form, x, y in points if y is not None]
    colors = {network: f"C{place}" for place, network in enumerate(dict.fromkeys(point[0] for point in measured))}
    marks = dict(zip(dict.fromkeys(point[1] for point in measured), itertools.cycle("os^vDPX*<>"), strict=False))
    for network, form, x, y in measured:
        axes.plot(x, y, marks[form], color=colors[network], markersize=8, alpha=0.8)
    handles = [Line2D([], [], linestyle="", marker="s", color=color, label=name) for name, color in colors.items()]
    for form, mark in marks.items():
        handles.append(Line2D([], [], linestyle="", marker=mark, color="grey", label=form))
    figure.legend(handles=handles, loc="outside right upper")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _frozen(model: Segmenter, refinement: Any) -> Runner:
    from kzoo.inference import freeze

    frozen = freeze(model)

    def run(pictures: NDArray[Any]) -> NDArray[Any]:
        images = tf.constant(pictures, tf.float32)
        logits = frozen.unrefined(images)
        return np.asarray(logits if refinement is None else refinement(logits, images))

    return run


def _miou(one: Contender, dataset: Dataset) -> float:
    from kzoo.inference import evaluate_predictor

    predict = predictor(one.run, one.size, one.input_type)
    return 100 * evaluate_predictor(predict, dataset, dataset.labels.class_names, {}).miou


def _suffix(format: str) -> str:
    return next(suffix for suffix, known in SUFFIXES.items() if known == format)


def _input_of(path: Path) -> tuple[tuple[int, int], str]:
    if path.suffix == ".onnx":
        import onnx

        tensor = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type
        _, height, width, _ = (dim.dim_value for dim in tensor.shape.dim)
        return (height, width), "uint8" if tensor.elem_type == onnx.TensorProto.UINT8 else "float32"
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(str(path)).get_input_details()[0]
    return (int(details["shape"][1]), int(details["shape"][2])), np.dtype(details["dtype"]).name
