"""The sidecar: what a device, and a person, must know of an artefact; a JSON file beside it."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.export.target import Target
from kzoo.files import digest
from kzoo.inference import labels_of

if TYPE_CHECKING:
    from kzoo.models import Segmenter

VERSION = 1
PACKAGES = ("tensorflow", "keras", "numpy", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert")
_UNKNOWN_LICENCE = "the network's own; see where its weights come from"


def sidecar_path(artefact: str | os.PathLike[str]) -> Path:
    """`encnet.onnx.json` for `encnet.onnx`."""
    path = Path(artefact)
    return path.with_name(path.name + ".json")


def describe(model: Segmenter, target: Target, refinement: Any) -> dict[str, Any]:
    """The part of the sidecar that is known before there is a file: interface, classes, network, versions."""
    card = getattr(model, "card", None)
    height, width = target.size
    batch = -1 if target.batch is None else target.batch
    logits = {
        "name": "logits",
        "shape": [batch, height, width, model.num_classes],
        "layout": "NHWC",
        "type": "float32",
        "kind": "logits",
    }
    classes = {
        "name": "classes",
        "shape": [batch, height, width],
        "layout": "NHW",
        "type": target.class_type,
        "kind": "classes",
    }
    weights = getattr(card, "weights", None)
    return {
        "kzoo_sidecar": VERSION,
        "format": target.format,
        "precision": target.precision,
        "opset": target.opset if target.format == "onnx" else None,
        "network": {
            "name": network_name(model),
            "architecture": card.architecture.name if card is not None else type(model).__name__,
            "refine": None if refinement is None else refinement.get_config(),
            "weights_sha256": weights.sha256 if weights is not None else None,
            "license": card.licence.weights if card is not None else _UNKNOWN_LICENCE,
        },
        "input": {
            "name": "image",
            "shape": [batch, height, width, 3],
            "layout": "NHWC",
            "type": target.input_type,
            "color": "RGB",
            "range": [0, 255],
        },
        "output": classes if target.argmax else logits,
        "classes": list(model.class_names),
        "palette": [list(color) for color in labels_of(model).palette],
        "ignore_label": model.ignore_label,
        "versions": _versions(),
    }


def network_name(model: Segmenter) -> str:
    """The card's, or Keras's where there is none."""
    card = getattr(model, "card", None)
    return model.name if card is None else card.name


def write_sidecar(artefact: Path, final: Path, fields: dict[str, Any], path: Path) -> None:
    """Writes the sidecar of `artefact`, which is going to lie at `final`, to `path`."""
    own: dict[str, Any] = {"file": final.name}
    if artefact.is_file():
        own |= {"sha256": digest(artefact), "bytes": artefact.stat().st_size}
    else:
        files = sorted(file for file in artefact.rglob("*") if file.is_file())
        own |= {
            "files": {file.relative_to(artefact).as_posix(): digest(file) for file in files},
            "bytes": sum(file.stat().st_size for file in files),
        }
    first = {"kzoo_sidecar": fields["kzoo_sidecar"], **own}
    path.write_text(json.dumps({**first, **fields}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_sidecar(artefact: str | os.PathLike[str]) -> dict[str, Any]:
    """The sidecar beside an artefact, whose checksum is compared.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no sidecar of a known version, or the artefact is another file than it describes.
    """
    path = sidecar_path(artefact)
    if not path.is_file():
        raise FileNotFoundError(f"{os.fspath(artefact)!r} has no sidecar {path.name!r} beside it: copy both.")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no JSON: {error}") from error
    if not isinstance(fields, dict) or fields.get("kzoo_sidecar") != VERSION:
        raise ValueError(f"{str(path)!r} is no sidecar of version {VERSION} that this kzoo reads.")
    if "sha256" in fields and (found := digest(artefact)) != fields["sha256"]:
        raise ValueError(
            f"{os.fspath(artefact)!r} is not the file that its sidecar describes: SHA-256 {found}, expected "
            f"{fields['sha256']}. Copy both from one export."
        )
    return fields


def _versions() -> dict[str, str]:
    from kzoo import __version__

    found = {"kzoo": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
