"""What is in a `.tflite` file: its operations, what they multiply, and what LiteRT would refuse."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from kzoo.export.census import Census, Product

# Where a product's operands stand among the operator's inputs; the second are the weights.
PRODUCTS: Mapping[str, tuple[int, int]] = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "BATCH_MATMUL": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
}

# The spelling of a dilated convolution that accelerators refuse.
REFUSED = ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")


def census(file: bytes) -> Census:
    """Operators, and the products with their multiplications and precision."""
    operators: dict[str, int] = {}
    products = []
    for operation in operations(unpack(file)):
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


class Operation:
    """An operator of a file with its tensors.

    Attributes:
        kind: such as `CONV_2D`.
        operator: as it stands in the file.
        inputs, outputs: its tensors; None where one that it may have is missing.
    """

    def __init__(
        self, kind: str, operator: Any, inputs: list[Any], outputs: list[Any], sources: dict[int, Any]
    ) -> None:
        self.kind, self.operator, self.inputs, self.outputs = kind, operator, inputs, outputs
        self._sources = sources

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
        return written * data[-2 if self.operator.builtinOptions.adjX else -1]  # BATCH_MATMUL

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


def unpack(file: bytes) -> Any:
    """The file as objects that can be changed, a `ModelT` of LiteRT's schema; its one graph is `subgraphs[0]`."""
    from tensorflow.lite.python import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(file), 0))


def operations(model: Any) -> Iterator[Operation]:
    """The operations of an unpacked file, in the order in which they run."""
    from tensorflow.lite.python import schema_py_generated as schema

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
        yield Operation(kind, operator, inputs, outputs, sources)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warning that tf.lite.Interpreter is going to move, and what it and the converter write to stderr."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        yield
