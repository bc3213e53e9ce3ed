"""Which layers int8 hurts: each is quantised alone, and the classes that change are counted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kzoo.export.graph import Refine, deployed_refinement, exported_function
from kzoo.export.pictures import CALIBRATION_PICTURES, batches, draw
from kzoo.export.runners import open_artifact
from kzoo.export.target import Target
from kzoo.export.verification import classes

if TYPE_CHECKING:
    from kzoo.data import Dataset
    from kzoo.models import Segmenter

JUDGED_BY = 8


@dataclass(frozen=True)
class Sensitivity:
    """An operation of the file, the share of the multiplications that it is, and the share of pixels whose class stays
    what it is in float32 when this operation alone is quantised."""

    name: str
    share: float
    agreement: float


def sensitivity(
    model: Segmenter,
    format: str,
    *,
    size: tuple[int, int],
    calibration: Path | Dataset,
    pictures: Path | Dataset,
    batch: int | None = 1,
    input_type: str = "float32",
    refine: Refine | None = None,
    refine_stride: int = 1,
    seed: int = 0,
) -> list[Sensitivity]:
    """The operations of a network's `"onnx"` or `"litert"` file, those first that int8 changes most.

    Args are those of `kzoo.export.export_model`; 64 pictures calibrate, and 8 are looked at. Ranges and biases are as
    the quantisers leave them.
    """
    target = Target(format, size, "int8", batch, input_type=input_type)  # type: ignore[arg-type]
    function = exported_function(model, target, deployed_refinement(model, refine, refine_stride))
    drawn = draw(calibration, CALIBRATION_PICTURES, seed)
    judged = list(batches(draw(pictures, JUDGED_BY, seed).sized(size), batch or 1, input_type))

    def calibrating() -> Iterator[NDArray[Any]]:
        return batches(drawn.sized(size), batch or 1, input_type)

    prepare = _onnx_variants if format == "onnx" else _litert_variants
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"variant{'.onnx' if format == 'onnx' else '.tflite'}"
        shares, write = prepare(function, target, calibrating, path)
        write(None)
        expected = _class_maps(path, judged)
        found = []
        for name, share in shares.items():
            write(name)
            same = np.mean([np.mean(a == b) for a, b in zip(_class_maps(path, judged), expected, strict=True)])
            found.append(Sensitivity(name, share, float(same)))
    return sorted(found, key=lambda row: row.agreement)


def _class_maps(path: Path, pictures: list[NDArray[Any]]) -> list[NDArray[Any]]:
    run = open_artifact(path)
    return [classes(answer) for picture in pictures for answer in run(picture)]


Variants = tuple[dict[str, float], Callable[[str | None], None]]
"""The operations with their shares of the multiplications; writes the file with one of them, or none, quantised."""


def _litert_variants(function: Any, target: Target, calibrating: Any, path: Path) -> Variants:
    from kzoo.export.litert_file import LitertConverter
    from kzoo.export.litert_operations import census

    converter = LitertConverter(function, calibrating)
    plain = census(converter.convert("fp32"))
    macs = {product.name: product.macs / plain.macs for product in plain.products}
    names = converter.operations

    def write(only: str | None) -> None:
        kept = [name for name in names if name != only]
        path.write_bytes(converter.convert("fp32") if only is None else converter.quantise(kept))

    return {name: macs.get(name, 0.0) for name in names}, write


def _onnx_variants(function: Any, target: Target, calibrating: Any, path: Path) -> Variants:
    from kzoo.export import onnx_file, onnx_int8

    plain = onnx_file.convert(function, target)
    total = onnx_file.census(plain)
    with tempfile.TemporaryDirectory() as folder:
        quantised = onnx_int8.quantise(plain, calibrating, (), Path(folder))

    def write(only: str | None) -> None:
        onnx_file.save(onnx_int8.with_only(quantised, only), path)

    return {product.name: product.macs / total.macs for product in total.products}, write
