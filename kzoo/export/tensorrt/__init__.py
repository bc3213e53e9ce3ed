"""TensorRT without a GPU: what each version on a Jetson takes, a check of ONNX graphs against it, a trial compilation.

`lint` and `check_tensorrt` need `onnx`, `compile_onnx` needs `tensorrt-rtx`, nothing TensorFlow; importing the package
needs none of them: names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kzoo.lazy import lazy_names

if TYPE_CHECKING:
    from kzoo.export.tensorrt.compile import CompileReport, ParseError, compile_onnx
    from kzoo.export.tensorrt.linter import Finding, check_tensorrt, lint
    from kzoo.export.tensorrt.versions import BOARDS, VERSIONS, Board, TensorRT, for_jetpack, for_tensorrt

_MODULE_OF = {
    "BOARDS": "versions",
    "Board": "versions",
    "CompileReport": "compile",
    "Finding": "linter",
    "ParseError": "compile",
    "TensorRT": "versions",
    "VERSIONS": "versions",
    "check_tensorrt": "linter",
    "compile_onnx": "compile",
    "for_jetpack": "versions",
    "for_tensorrt": "versions",
    "lint": "linter",
}
__all__ = [
    "BOARDS",
    "VERSIONS",
    "Board",
    "CompileReport",
    "Finding",
    "ParseError",
    "TensorRT",
    "check_tensorrt",
    "compile_onnx",
    "for_jetpack",
    "for_tensorrt",
    "lint",
]

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
