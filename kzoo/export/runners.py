"""Artefacts as functions of pictures, each by the runtime that it is made for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import need

Runner = Callable[[NDArray[Any]], NDArray[Any]]
"""Pictures (B, H, W, 3) as the artefact takes them -> logits (B, H, W, C) or classes (B, H, W)."""


def open_artifact(path: str | os.PathLike[str], threads: int | None = None) -> Runner:
    """The function that an artefact is: of an `.onnx`, a `.tflite` or the folder of a SavedModel.

    Args:
        path: the artefact.
        threads: of the runtime; by default its own choice.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the ending is of no known format.
        MissingPackageError: the runtime is not installed.
    """
    from kzoo.export.target import format_of

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no artefact {str(path)!r}.")
    return {"onnx": _onnx, "litert": _litert, "saved_model": _saved_model}[format_of(path)](path, threads)


def _onnx(path: Path, threads: int | None) -> Runner:
    onnxruntime = need("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pictures: np.asarray(session.run(None, {name: pictures})[0])


def _litert(path: Path, threads: int | None) -> Runner:
    interpreter = need("ai_edge_litert.interpreter", "litert").Interpreter(
        str(path), num_threads=threads or os.cpu_count()
    )
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(pictures: NDArray[Any]) -> NDArray[Any]:
        interpreter.set_tensor(source["index"], pictures)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(result["index"]))

    return run


def _saved_model(path: Path, threads: int | None) -> Runner:
    import tensorflow as tf

    # Kept alive by the closure: the function alone does not keep the variables that it reads.
    loaded = tf.saved_model.load(path)
    serve = loaded.signatures["serving_default"]

    def run(pictures: NDArray[Any], keep: Any = loaded) -> NDArray[Any]:
        (answer,) = serve(image=tf.constant(pictures)).values()
        return np.asarray(answer)

    return run
