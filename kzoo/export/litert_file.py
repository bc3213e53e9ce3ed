"""LiteRT files (`.tflite`): conversion, and the three ways to quantise."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from kzoo.export.graph import save
from kzoo.export.litert_bias import correct_biases
from kzoo.export.litert_operations import operations, quiet, unpack
from kzoo.export.sensitive import operations_of

SILENT = 1e-8
"""Scale of an int8 tensor below which it was the same everywhere in calibration."""


class LitertConverter:
    """Converts one exported function (`kzoo.export.graph`) to `.tflite` files of several precisions.

    Calibration, which is what takes long, is done once for all int8 files.

    Args:
        function: the exported function.
        pictures: gives, as often as it is called, calibration pictures in the function's input shape and type.
    """

    def __init__(self, function: Any, pictures: Any = None) -> None:
        self._function, self._pictures = function, pictures

    def convert(self, precision: str, float_layers: Iterable[str] = ()) -> bytes:
        """The file; `float_layers` are the names of layers that int8 leaves as they are.

        Raises:
            ValueError: the network has operations that are none of LiteRT's own.
        """
        if precision == "int8":
            quantised = self._quantised(operations_of(tuple(float_layers), self.operations))
            return correct_biases(quantised, self._debugger.calibrated_model, self._pictures())
        with self._converter() as converter:
            if precision != "fp32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if precision == "fp16":
                converter.target_spec.supported_types = [tf.float16]
            return _checked(converter.convert)

    def _quantised(self, float_operations: list[str]) -> bytes:
        """The int8 file; what reads or gives a tensor that calibration found to be 0 everywhere stays in float, too.

        Such a tensor, as behind a ReLU that is dead on all calibration pictures, gets a scale that XNNPACK refuses, or
        dies of.
        """
        while True:
            file = self.quantise(float_operations)
            silent = [name for name in _silent(file) if name in self.operations and name not in float_operations]
            if not silent:
                return file
            float_operations = [*float_operations, *silent]

    def quantise(self, float_operations: Iterable[str]) -> bytes:
        """The int8 file in which the named operations stay in float; its biases are not corrected."""
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=list(float_operations))
        debugger = self._debugger
        with quiet():
            debugger.options = options
            return bytes(debugger.get_nondebug_quantized_model())

    @functools.cached_property
    def operations(self) -> tuple[str, ...]:
        """The names of the operations, in the order in which they run, as `quantise` takes them."""
        return tuple(operation.name for operation in operations(unpack(self._debugger.calibrated_model)))

    @functools.cached_property
    def _debugger(self) -> Any:
        """TensorFlow's quantisation debugger: the one public door to int8 with some operations left in float."""
        with self._converter() as converter, quiet():
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ({"image": picture} for picture in self._pictures())
            return _checked(lambda: tf.lite.experimental.QuantizationDebugger(converter=converter))

    @contextlib.contextmanager
    def _converter(self) -> Iterator[Any]:
        """A converter of the SavedModel of the function: only by way of a SavedModel the file keeps the names of its
        inputs and outputs."""
        with tempfile.TemporaryDirectory() as folder:
            save(self._function, folder)
            yield tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])


def _checked(convert: Any) -> Any:
    try:
        with quiet():
            return convert()
    except Exception as error:  # the converter has an error class of its own that is not public
        if type(error).__name__ != "ConverterError":
            raise
        raise ValueError(f"The network has operations that LiteRT has not: {error}") from error


def _silent(file: bytes) -> Iterator[str]:
    """The names of operations that read or give an int8 tensor whose values were all the same in calibration."""
    found = list(operations(unpack(file)))
    silent = {id(output) for operation in found for output in operation.outputs if _is_silent(output)}
    for operation in found:
        if any(id(tensor) in silent for tensor in (*operation.inputs, *operation.outputs)):
            yield operation.name


def _is_silent(tensor: Any) -> bool:
    """Whether the tensor's range is the least that the converter gives, 2e-6."""
    from tensorflow.lite.python import schema_py_generated as schema

    scale = None if tensor.quantization is None else tensor.quantization.scale
    return tensor.type == schema.TensorType.INT8 and scale is not None and bool(scale[0] < SILENT)
