"""LiteRT files (`.tflite`): conversion, the three ways to quantise, and what is counted in them."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from kzoo.export.census import Census, Product
from kzoo.export.graph import save
from kzoo.export.sensitive import operations_of

# Where a product's operands stand among the operator's inputs; the second are the weights.
PRODUCTS: Mapping[str, tuple[int, int]] = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "BATCH_MATMUL": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
}
SILENT = 1e-8
"""Scale of an int8 tensor below which it was the same everywhere in calibration."""

# The spelling of a dilated convolution that accelerators refuse.
REFUSED = ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")


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
            return self._quantised(operations_of(tuple(float_layers), self.operations))
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
        """The int8 file in which the named operations stay in float."""
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=list(float_operations))
        debugger = self._debugger
        with _quiet():
            debugger.options = options
            return bytes(debugger.get_nondebug_quantized_model())

    @functools.cached_property
    def operations(self) -> tuple[str, ...]:
        """The names of the operations, in the order in which they run, as `quantise` takes them."""
        return tuple(operation.name for operation in _operations(self._debugger.calibrated_model))

    @functools.cached_property
    def _debugger(self) -> Any:
        """TensorFlow's quantisation debugger: the one public door to int8 with some operations left in float."""
        with self._converter() as converter, _quiet():
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
        with _quiet():
            return convert()
    except Exception as error:  # the converter has an error class of its own that is not public
        if type(error).__name__ != "ConverterError":
            raise
        raise ValueError(f"The network has operations that LiteRT has not: {error}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that tf.lite.Interpreter, which the debugger uses, is going to move."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        yield


def census(file: bytes) -> Census:
    """Operators, and the products with their multiplications and precision."""
    operators: dict[str, int] = {}
    products = []
    for operation in _operations(file):
        operators[operation.kind] = operators.get(operation.kind, 0) + 1
        if operation.kind in PRODUCTS:
            products.append(Product(operation.name, operation.kind, operation.macs(), operation.precision()))
    return Census(operators, tuple(products))


def check(file: bytes) -> None:
    """Raises ValueError for Flex and custom operations, and for dilated convolutions spelled as copies."""
    kinds = census(file).operators
    foreign = [kind for kind in kinds if kind.startswith(("Flex", "CUSTOM"))]
    if foreign:
        raise ValueError(f"The file has operations that LiteRT alone cannot run: {', '.join(foreign)}.")
    spelled = [kind for kind in kinds if kind in REFUSED]
    if spelled:
        raise ValueError(f"The file spells dilated convolutions as {' and '.join(spelled)}, which accelerators refuse.")


def _silent(file: bytes) -> Iterator[str]:
    """The names of operations that read or give an int8 tensor whose values were all the same in calibration."""
    operations = list(_operations(file))
    silent = {id(output) for operation in operations for output in operation.outputs if _is_silent(output)}
    for operation in operations:
        if any(id(tensor) in silent for tensor in (*operation.inputs, *operation.outputs)):
            yield operation.name


def _is_silent(tensor: Any) -> bool:
    """Whether the tensor's range is the least that the converter gives, 2e-6."""
    from tensorflow.lite.python import schema_py_generated as schema

    scale = None if tensor.quantization is None else tensor.quantization.scale
    return tensor.type == schema.TensorType.INT8 and scale is not None and bool(scale[0] < SILENT)


class _Operation:
    """An operator of a file with its tensors."""

    def __init__(self, kind: str, options: Any, inputs: list[Any], outputs: list[Any], sources: dict[int, Any]) -> None:
        self.kind, self.inputs, self.outputs = kind, inputs, outputs
        self._options, self._sources = options, sources

    @property
    def name(self) -> str:
        return str(self.outputs[0].name.decode())

    def macs(self) -> int:
        # As Python's integers: the file's are of 32 bits, which a layer of ResNet-101 at 480x480 exceeds.
        data, weights = (self.inputs[place].shape.tolist() for place in PRODUCTS[self.kind])
        written = math.prod(self.outputs[0].shape.tolist())
        if self.kind == "CONV_2D":
            return written * math.prod(weights[1:])
        if self.kind == "DEPTHWISE_CONV_2D":
            return written * math.prod(weights[1:3])
        if self.kind == "TRANSPOSE_CONV":
            return math.prod(data) * math.prod([weights[0], *weights[1:3]])
        if self.kind == "FULLY_CONNECTED":
            return written * weights[-1]
        return written * data[-2 if self._options.adjX else -1]  # BATCH_MATMUL

    def precision(self) -> str:
        types = [self._type(self.inputs[place]) for place in PRODUCTS[self.kind]]
        if types == ["int8", "int8"]:
            return "int8"
        if types[1] == "int8":
            return "dynamic"
        return "fp16" if types[1] == "float16" else "fp32"

    def _type(self, tensor: Any) -> str:
        """The type that a tensor is stored in: of float16 weights, that in front of their DEQUANTIZE."""
        from tensorflow.lite.python import schema_py_generated as schema

        stored = self._sources.get(id(tensor), tensor)
        names = {schema.TensorType.INT8: "int8", schema.TensorType.FLOAT16: "float16"}
        return names.get(stored.type, "float32")


def _operations(file: bytes) -> Iterator[_Operation]:
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(file), 0))
    kinds = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    (graph,) = model.subgraphs
    sources: dict[int, Any] = {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if kind == "CUSTOM":
            kind = code.customCode.decode()
            kind = kind if kind.startswith("Flex") else f"CUSTOM {kind}"
        inputs = [graph.tensors[index] if index >= 0 else None for index in operator.inputs]
        outputs = [graph.tensors[index] for index in operator.outputs]
        if kind == "DEQUANTIZE":
            sources[id(outputs[0])] = inputs[0]
        yield _Operation(kind, operator.builtinOptions, inputs, outputs, sources)
