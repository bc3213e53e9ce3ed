"""From a network to a file that a device runs: converted, verified, and only then written."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kzoo.data.demo import demo_picture
from kzoo.errors import need
from kzoo.export.census import Census, check_share
from kzoo.export.graph import Refine, deployed_refinement, exported_function, save
from kzoo.export.metadata import embed_sidecar
from kzoo.export.pictures import CALIBRATION_PICTURES, VERIFICATION_PICTURES, Pictures, batches, draw
from kzoo.export.runners import open_artifact
from kzoo.export.sensitive import float_layers
from kzoo.export.sidecar import describe, sidecar_path, write_sidecar
from kzoo.export.sizes import advise
from kzoo.export.target import DEFAULT_OPSET, Format, Precision, Target, format_of
from kzoo.export.verification import LIMITS, Verification, VerificationError, verify

if TYPE_CHECKING:
    from kzoo.data import Dataset
    from kzoo.models import Segmenter

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


@dataclass(frozen=True)
class Exported:
    """An artefact on disk.

    Attributes:
        path: the file, or the folder of a SavedModel.
        sidecar: its JSON file.
        verification: how far it is from its network.
        census: its operators and products; None for a SavedModel.
    """

    path: Path
    sidecar: Path
    verification: Verification
    census: Census | None


def export_model(
    model: Segmenter,
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int],
    format: Format | None = None,
    precision: Precision = "fp32",
    batch: int | None = 1,
    argmax: bool = False,
    input_type: Literal["float32", "uint8"] = "float32",
    class_type: Literal["int32", "uint8"] = "int32",
    opset: int = DEFAULT_OPSET,
    refine: Refine | None = None,
    refine_stride: int = 1,
    calibration: Path | Dataset | None = None,
    pictures: Path | Dataset | None = None,
    seed: int = 0,
    check_tensorrt: Sequence[str] = (),
) -> Exported:
    """Writes a network as ONNX, LiteRT or SavedModel, with a sidecar beside it, if it is what the network is.

    The artefact's answers to real pictures are compared with those of the network in Keras: the logits' differences,
    the share of pixels with the same class and, where there are masks, the mIoU (`kzoo.export.verification.LIMITS`).

    Args:
        model: the network.
        path: `.onnx`, `.tflite`, or a folder that is not there yet, for a SavedModel.
        size: height and width of the pictures; fixed.
        format: `"onnx"`, `"litert"` or `"saved_model"`; by default what the path's ending says.
        precision, batch, argmax, input_type, class_type, opset: see `kzoo.export.Target`.
        refine, refine_stride: `"none"` leaves the network's CRF out, `"conv"` puts a convolutional CRF into the graph;
            see `kzoo.export.graph.deployed_refinement`.
        calibration: pictures for int8: a folder, or a split that 64 are drawn from; not those that are measured on.
        pictures: what the artefact is judged by: a folder, or a split with masks; 16 of them, or 400 where the mIoU
            counts (`int8`, `dynamic`); by default four photographs that come with scikit-image.
        seed: of both draws.
        check_tensorrt: versions of TensorRT, such as "8.2", that an ONNX must be fit for.

    Raises:
        ValueError: options that do not go together, a CRF that no format holds, an operation that the format or a
            TensorRT does not have; as VerificationError an artefact that is not the network. Nothing is written then.
        FileNotFoundError: no such folder of pictures.
        MissingPackageError: of an extra that the format needs.
    """
    path = Path(path)
    target = Target(format or format_of(path), size, precision, batch, argmax, input_type, class_type, opset)
    if format is not None and format_of(path) != format:
        raise ValueError(f"{str(path)!r} is not the name of a {format} artefact: see kzoo.export.Target.")
    if check_tensorrt and target.format != "onnx":
        raise ValueError(f"TensorRT reads ONNX; the artefact asked for is a {target.format}.")
    judged_by = _photographs(seed) if pictures is None else draw(pictures, VERIFICATION_PICTURES[precision], seed)
    calibrated_by = _calibration(target, calibration, seed)
    refinement = deployed_refinement(model, refine, refine_stride)
    advise(model, size)
    function = exported_function(model, target, refinement)
    with _beside(path, target) as temporary:
        census = _convert(function, target, calibrated_by, float_layers(model, target.precision), temporary)
        if census is not None and target.precision in ("fp16", "int8"):
            check_share(census, target.precision)
        for version in check_tensorrt:
            from kzoo.export.tensorrt import check_tensorrt as lint

            lint(temporary, version)
        verification = verify(model, refinement, target, open_artifact(temporary), judged_by)
        if breaches := verification.breaches(LIMITS[target.precision]):
            raise VerificationError(
                f"{path.name} would not be the network that it comes from, and was not written: on "
                f"{verification.pictures} pictures of {verification.source} {'; '.join(breaches)}."
            )
        fields = describe(model, target, refinement)
        fields |= {"calibration": _record(calibrated_by), "macs": _macs(census, target)}
        fields["verification"] = verification.to_json()
        _publish(temporary, path, fields)
    return Exported(path, sidecar_path(path), verification, census)


def _photographs(seed: int) -> Pictures:
    files = tuple(demo_picture(name) for name in PHOTOGRAPHS)
    return Pictures("scikit-image's photographs", seed, files)


def _calibration(target: Target, source: Path | Dataset | None, seed: int) -> Pictures | None:
    if target.precision != "int8":
        return None
    if source is None:
        raise ValueError(
            "int8 is calibrated with real pictures, such as the network was trained on: give calibration=, a folder or "
            "the train split of a dataset (--calibration DIR, or --data DIR)."
        )
    return draw(source, CALIBRATION_PICTURES, seed)


def _convert(
    function: Any, target: Target, calibration: Pictures | None, layers: tuple[str, ...], path: Path
) -> Census | None:
    """Writes the artefact to `path`."""

    def pictures() -> Iterator[np.ndarray]:
        return (
            batches(calibration.sized(target.size), target.batch or 1, target.input_type) if calibration else iter(())
        )

    if target.format == "saved_model":
        save(function, path)
        return None
    if target.format == "litert":
        from kzoo.export import litert_operations
        from kzoo.export.litert_file import LitertConverter

        file = LitertConverter(function, pictures).convert(target.precision, layers)
        litert_operations.check(file)
        path.write_bytes(file)
        return litert_operations.census(file)
    for module in ("tf2onnx", "onnx", "onnxconverter_common", "onnxruntime"):
        need(module, "onnx")
    from kzoo.export import onnx_file, onnx_int8

    model = onnx_file.convert(function, target)
    if target.precision == "fp16":
        model = onnx_file.to_half(model, layers)
    elif target.precision == "int8":
        with tempfile.TemporaryDirectory() as folder:
            model = onnx_int8.to_int8(model, pictures, layers, Path(folder))
    onnx_file.save(model, path)
    return onnx_file.census(model)


def _record(calibration: Pictures | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    return {
        "source": calibration.source,
        "seed": calibration.seed,
        "files": [file.name for file in calibration.files],
    }


def _macs(census: Census | None, target: Target) -> dict[str, Any] | None:
    if census is None:
        return None
    inside = census.macs_in(target.precision)
    return {"total": census.macs, "in_precision": inside, "share": inside / census.macs}


@contextlib.contextmanager
def _beside(path: Path, target: Target) -> Iterator[Path]:
    """A place beside `path`, of the same ending, that is gone afterwards unless it was moved away."""
    if path.is_dir() or (target.format == "saved_model" and path.exists()):
        raise ValueError(f"{str(path)!r} is there already: remove it, or choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder)


def _publish(temporary: Path, path: Path, fields: dict[str, Any]) -> None:
    """Moves the artefact and its sidecar into place; an older sidecar never stands beside the new artefact."""
    if fields["format"] == "litert":
        temporary.write_bytes(embed_sidecar(temporary.read_bytes(), {"file": path.name, **fields}))
    sidecar = sidecar_path(temporary)
    write_sidecar(temporary, path, fields, sidecar)
    sidecar_path(path).unlink(missing_ok=True)
    temporary.replace(path)
    sidecar.replace(sidecar_path(path))
