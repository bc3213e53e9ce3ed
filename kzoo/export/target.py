"""What is to be exported: the options of an artefact, checked once, before any work is done."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from kzoo.errors import unknown_name

Format = Literal["onnx", "litert", "saved_model"]
Precision = Literal["fp32", "fp16", "int8", "dynamic"]

PRECISIONS: dict[str, tuple[str, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "litert": ("fp32", "fp16", "int8", "dynamic"),
    "saved_model": ("fp32",),
}
SUFFIXES = {".onnx": "onnx", ".tflite": "litert", "": "saved_model"}
INPUT_TYPES = ("float32", "uint8")
CLASS_TYPES = ("int32", "uint8")
# What TensorRT 8.2, the last one for the Jetson Nano, reads; and the last one that tf2onnx writes.
DEFAULT_OPSET, LAST_OPSET = 13, 18


@dataclass(frozen=True)
class Target:
    """The artefact asked for.

    Attributes:
        format: `"onnx"`, `"litert"` (a `.tflite` file) or `"saved_model"` (a folder).
        precision: `"fp32"`; `"fp16"`; `"int8"`, weights and activations, calibrated; `"dynamic"` (LiteRT), int8
            weights whose activations are quantised as they come.
        size: height and width of the pictures, fixed.
        batch: pictures at a time; None leaves it open (ONNX).
        argmax: whether the class map comes out in the logits' place.
        input_type: `"float32"` or `"uint8"`, both 0..255.
        class_type: of the class map, `"int32"` or `"uint8"`.
        opset: of an ONNX.

    Raises:
        ValueError: values that do not exist or do not go together; the message says why.
    """

    format: Format
    size: tuple[int, int]
    precision: Precision = "fp32"
    batch: int | None = 1
    argmax: bool = False
    input_type: Literal["float32", "uint8"] = "float32"
    class_type: Literal["int32", "uint8"] = "int32"
    opset: int = DEFAULT_OPSET

    def __post_init__(self) -> None:
        if self.format not in PRECISIONS:
            raise unknown_name("export format", self.format, PRECISIONS)
        if self.precision not in get_args(Precision):
            raise unknown_name("precision", self.precision, get_args(Precision))
        if self.precision not in PRECISIONS[self.format]:
            raise ValueError(
                f"Precision {self.precision} does not exist in the format {self.format}: it has "
                f"{', '.join(PRECISIONS[self.format])}."
            )
        if self.input_type not in INPUT_TYPES:
            raise unknown_name("input type", self.input_type, INPUT_TYPES)
        if self.class_type not in CLASS_TYPES:
            raise unknown_name("type of the class map", self.class_type, CLASS_TYPES)
        if len(self.size) != 2 or not all(_is_count(side) for side in self.size):
            raise ValueError(f"size is (height, width) in pixels, two positive integers. Received: {self.size!r}")
        if self.batch is None and self.format != "onnx":
            raise ValueError(
                "Only an ONNX can leave its batch open: LiteRT spells a dilated convolution as copies around a plain "
                f"one when the batch is not known, which no accelerator runs. Received: format {self.format!r}."
            )
        if self.batch is not None and not _is_count(self.batch):
            raise ValueError(f"batch is a positive integer. Received: {self.batch!r}")
        if not DEFAULT_OPSET <= self.opset <= LAST_OPSET:
            raise ValueError(
                f"opset is from {DEFAULT_OPSET}, below which channels are not quantised, to {LAST_OPSET}, the last "
                f"that tf2onnx writes. Received: {self.opset!r}"
            )

    @property
    def input_shape(self) -> tuple[int | None, int, int, int]:
        return (self.batch, *self.size, 3)

    @property
    def output_name(self) -> str:
        return "classes" if self.argmax else "logits"


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that a path's suffix stands for; a path without suffix is a SavedModel's folder."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{os.fspath(path)!r}: the ending tells no format. Known: .onnx, .tflite (LiteRT), and none for the folder "
            "of a SavedModel."
        )
    return SUFFIXES[suffix]  # type: ignore[return-value]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
