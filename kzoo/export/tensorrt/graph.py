"""What the rules ask of an ONNX model: all its nodes, which tensors are constants, element types and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Larger constants are weights: no rule looks at their values.
_LARGEST_VALUE = 1 << 20


class Graph:
    """A model with its subgraphs (of Loop, If, Scan) laid flat.

    Args:
        model: an ONNX model; it is not changed.

    Attributes:
        model: the model with what shape inference finds.
        opset: the version of ONNX' own operators, 0 if the model names none.
        nodes: the nodes of the graph and of its subgraphs, in the order of the file.
        outputs: names of the model's outputs.
    """

    def __init__(self, model: Any) -> None:
        self.model = onnx.shape_inference.infer_shapes(model)
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
        self.nodes: list[Any] = []
        self.outputs = {value.name for value in self.model.graph.output}
        self._constants: dict[str, Any] = {}
        self._values: dict[str, Any] = {}
        self._producers: dict[str, Any] = {}
        self._consumers: dict[str, list[Any]] = {}
        self._add(self.model.graph)

    def _add(self, graph: Any) -> None:
        self._constants.update({tensor.name: tensor for tensor in graph.initializer})
        for values in (graph.input, graph.value_info, graph.output):
            self._values.update({value.name: value.type.tensor_type for value in values})
        for node in graph.node:
            self.nodes.append(node)
            self._producers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
            if node.op_type == "Constant":
                self._constants.update(dict.fromkeys(node.output, attribute(node, "value")))
            for subgraph in subgraphs(node):
                self._add(subgraph)

    def inputs(self) -> Iterator[tuple[str, Any]]:
        """Names and tensor types of what the caller feeds; initializers that are listed as inputs are none."""
        for value in self.model.graph.input:
            if value.name not in self._constants:
                yield value.name, value.type.tensor_type

    def producer(self, name: str) -> Any | None:
        """The node whose output this is."""
        return self._producers.get(name)

    def consumers(self, name: str) -> list[Any]:
        """The nodes that take this tensor."""
        return self._consumers.get(name, [])

    def initializers(self) -> Iterator[tuple[str, Any]]:
        """Names and tensors of initializers and of Constant nodes' values."""
        return ((name, tensor) for name, tensor in self._constants.items() if tensor is not None)

    def is_constant(self, name: str) -> bool:
        """Whether this is an initializer or a Constant node's output; True for an input that is left out."""
        return not name or name in self._constants

    def value(self, name: str) -> np.ndarray | None:
        """The value of a constant; None for other tensors, for large ones, and for those in a file of their own."""
        tensor = self._constants.get(name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        if np.prod(tensor.dims, dtype=np.int64) > _LARGEST_VALUE:
            return None
        return numpy_helper.to_array(tensor)

    def dtype(self, name: str) -> str:
        """The element type, named as `type_name` does; `""` if it is not known."""
        tensor = self._constants.get(name)
        if tensor is not None:
            return type_name(tensor.data_type)
        return type_name(self._values[name].elem_type) if name in self._values else ""

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """The shape with None for unknown lengths; None if not even the rank is known."""
        tensor = self._constants.get(name)
        if tensor is not None:
            return tuple(tensor.dims)
        if name not in self._values or not self._values[name].HasField("shape"):
            return None
        return dimensions(self._values[name])


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """An attribute's value, text decoded."""
    for found in node.attribute:
        if found.name == name:
            value = helper.get_attribute_value(found)
            return value.decode() if isinstance(value, bytes) else value
    return default


def subgraphs(node: Any) -> list[Any]:
    """The graphs inside a node, e.g. the branches of If."""
    graphs = [found.g for found in node.attribute if found.type == onnx.AttributeProto.GRAPH]
    return graphs + [graph for found in node.attribute for graph in found.graphs]


def dimensions(tensor_type: Any) -> tuple[int | None, ...]:
    """The shape that a tensor type declares, None for what is only named or left open."""
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor_type.shape.dim)


def type_name(elem_type: int) -> str:
    """An element type's name, NumPy's where it has the type, else ONNX', e.g. `"bfloat16"`; `""` for undefined."""
    if elem_type == onnx.TensorProto.UNDEFINED:
        return ""
    name = onnx.TensorProto.DataType.Name(elem_type).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def node_name(node: Any) -> str:
    """A node's name, or the tensor it makes where it has none."""
    return node.name or f"that makes {node.output[0]!r}"
