"""Deployment: a network as ONNX, LiteRT or SavedModel, verified against the network it comes from.

Importing the package imports nothing heavy: names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kzoo.lazy import lazy_names

if TYPE_CHECKING:
    from kzoo.export.export import Exported, export_model
    from kzoo.export.runners import open_artifact
    from kzoo.export.sidecar import read_sidecar
    from kzoo.export.target import Target
    from kzoo.export.verification import LIMITS, Limits, Verification, VerificationError

# `kzoo doctor` reads the tables of kzoo.export.tensorrt, for which it need not wait for TensorFlow.
_MODULE_OF = {
    "Exported": "export",
    "LIMITS": "verification",
    "Limits": "verification",
    "Target": "target",
    "Verification": "verification",
    "VerificationError": "verification",
    "export_model": "export",
    "open_artifact": "runners",
    "read_sidecar": "sidecar",
}
__all__ = [
    "LIMITS",
    "Exported",
    "Limits",
    "Target",
    "Verification",
    "VerificationError",
    "export_model",
    "open_artifact",
    "read_sidecar",
]

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
