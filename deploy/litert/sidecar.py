"""The sidecar: what `kzoo export` says about a .tflite file, beside it (FILE.tflite.json) or inside it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from errors import NETWORK, SIDECAR, DeviceError, packages_needed

METADATA_NAME = "kzoo_sidecar"


def open_sidecar(network: str | os.PathLike[str], sidecar: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """The sidecar of a .tflite file, checked; where it lies beside the file, the file is checked against it.

    Args:
        network: the .tflite file.
        sidecar: the sidecar's file, if it is neither FILE.tflite.json nor inside the file.

    Raises:
        DeviceError: `NETWORK`: no such file, not TFLite's format, or not the file the sidecar was written for.
            `SIDECAR`: there is none, or it says what these scripts do not know.
    """
    path = Path(network)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise DeviceError(NETWORK, f"Cannot read the network {str(path)!r}: {error.strerror}.") from None
    if start[4:8] != b"TFL3":
        raise DeviceError(
            NETWORK, f"{str(path)!r} is no .tflite file: its bytes 4 to 8 are {start[4:8]!r}, not b'TFL3'."
        )
    beside = Path(sidecar) if sidecar else path.with_name(path.name + ".json")
    if not beside.exists() and not sidecar:
        return _check(_embedded(path), f"The sidecar inside {str(path)!r}")
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeviceError(SIDECAR, f"Cannot read the sidecar {str(beside)!r}: {error}") from None
    checked = _check(found, f"The sidecar {str(beside)!r}")
    received, expected = checksum(path), checked.get("sha256")
    if received != expected:
        raise DeviceError(
            NETWORK,
            f"{str(path)!r} is not the file that its sidecar was written for: sha256 {received}, expected {expected}; "
            f"{path.stat().st_size} bytes, expected {checked.get('bytes')}. Copy both files again.",
        )
    return checked


def checksum(path: Path) -> str:
    """A file's SHA-256 in hexadecimal.

    Raises:
        DeviceError: `NETWORK`: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise DeviceError(NETWORK, f"Cannot read the network {str(path)!r}: {error.strerror}.") from None
    return digest.hexdigest()


def _embedded(path: Path) -> Any:
    """The sidecar inside the file: its metadata entry `kzoo_sidecar`. LiteRT checks the file's structure."""
    with packages_needed():
        from ai_edge_litert import schema_py_generated as schema
    try:
        model = schema.Model.GetRootAs(path.read_bytes(), 0)
        for entry in (model.Metadata(i) for i in range(model.MetadataLength())):
            if entry.Name() == METADATA_NAME.encode():
                return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    except Exception as error:  # a damaged flatbuffer leads anywhere: struct.error, IndexError, UnicodeDecodeError ...
        raise DeviceError(NETWORK, f"{str(path)!r} is damaged: its metadata cannot be read ({error}).") from None
    raise DeviceError(
        SIDECAR,
        f"{str(path)!r} has no sidecar inside, and there is no {path.name}.json beside it: copy that, too, or name it "
        "with --sidecar.",
    )


def _check(sidecar: Any, where: str) -> dict[str, Any]:
    """The sidecar, if it says what these scripts can do; `where` begins the messages."""
    version = sidecar.get("kzoo_sidecar") if isinstance(sidecar, dict) else None
    if version != 1:
        raise DeviceError(SIDECAR, f"{where} has kzoo_sidecar = {version!r}, expected 1: take the scripts of its kzoo.")
    try:
        given, made = sidecar["input"], sidecar["output"]
        expected: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "format": (sidecar["format"], ("litert",)),
            "input.layout": (given["layout"], ("NHWC",)),
            "input.color": (given["color"], ("RGB",)),
            "input.range": (given["range"], ([0, 255],)),
            "input.shape's batch and channels": ([given["shape"][0], given["shape"][3]], ([1, 3],)),
            "output.kind": (made["kind"], ("logits", "classes")),
            "output.layout": (made["layout"], ("NHWC",) if made["kind"] == "logits" else ("NHW",)),
        }
        classes, palette = sidecar["classes"], sidecar["palette"]
        if made["kind"] == "logits":
            expected["output.shape's channels"] = (made["shape"][3], (len(classes),))
        expected["number of colours in palette"] = (len(palette), (len(classes),))
        expected["numbers a colour"] = ({len(color) for color in palette}, ({3},))
        _ = int(sidecar["ignore_label"]), sidecar["precision"], sidecar["network"]["name"]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise DeviceError(SIDECAR, f"{where} is not whole: {type(error).__name__} {error}. Export it again.") from None
    for what, (value, options) in expected.items():
        if value not in options:
            wanted = " or ".join(map(repr, options))
            raise DeviceError(SIDECAR, f"{where} has {what} = {value!r}; these scripts take {wanted}.")
    return sidecar
