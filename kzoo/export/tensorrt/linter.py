"""Whether a version of TensorRT takes an ONNX model, told without TensorRT: the check behind `--check-tensorrt`.

The newest parser (`compile_onnx`) says nothing of older ones, and a Jetson cannot be updated: JetPack 4.6 stays at
TensorRT 8.2. Rules and their sources: `operators.py`, `limits.py`, `rules.py`, `quantization.py`, `versions.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner

from kzoo.export.tensorrt.graph import Graph, dimensions, node_name, type_name
from kzoo.export.tensorrt.operators import unsupported
from kzoo.export.tensorrt.quantization import OPERATORS, quantize_dequantize
from kzoo.export.tensorrt.rules import RULES, TABLES
from kzoo.export.tensorrt.versions import TensorRT, for_tensorrt


@dataclass(frozen=True)
class Finding:
    """One thing that TensorRT does not take.

    Attributes:
        rule: what kind of thing, e.g. `"operator"` or `"type"`.
        node: the node's name, or the tensor's; `""` for the model as a whole.
        operator: the node's operator, or `"input"`, `"output"`, `"initializer"`, `"model"`.
        problem: what this version of TensorRT lacks.
        mend: how to mend it.
    """

    rule: str
    node: str
    operator: str
    problem: str
    mend: str

    def __str__(self) -> str:
        name = f" {self.node}" if self.node else ""
        return f"{self.operator}{name}: {self.problem}. To mend: {self.mend}."


def lint(model: Any, version: str) -> list[Finding]:
    """What a version of TensorRT does not take of a model, in the model's order.

    Args:
        model: an `onnx.ModelProto`; it is not changed.
        version: a version of `VERSIONS`, e.g. `"8.2"`.

    Raises: `ValueError` for an unknown version.
    """
    target = for_tensorrt(version)
    if model.functions and not target.before("10.3"):  # since 9.0 the parser takes functions apart itself
        model = onnx.inliner.inline_local_functions(model)
    graph = Graph(model)
    return [*_model(graph, target), *_ends(graph, target), *_initializers(graph, target), *_nodes(graph, target)]


def check_tensorrt(model_or_path: Any, version: str) -> None:
    """Refuses a model that a version of TensorRT does not take.

    Args:
        model_or_path: an `onnx.ModelProto` or the path of a file.
        version: a version of `VERSIONS`, e.g. `"8.2"`.

    Raises: `ValueError` with all findings, or for an unknown version; `FileNotFoundError`.
    """
    target = for_tensorrt(version)
    if isinstance(model_or_path, str | Path):
        # Weights in a file beside the model are of no interest here.
        model_or_path = onnx.load(str(model_or_path), load_external_data=False)
    findings = lint(model_or_path, target.name)
    if findings:
        count = f"{len(findings)} thing{'s' * (len(findings) > 1)}"
        listed = "\n".join(f"- {finding}" for finding in findings)
        where = f"JetPack {target.jetpacks[0]}" + (f" to {target.jetpacks[-1]}" if len(target.jetpacks) > 1 else "")
        raise ValueError(f"TensorRT {target.name} ({where}) does not take this model: {count}.\n{listed}")


def _model(graph: Graph, version: TensorRT) -> Iterator[Finding]:
    if graph.opset > version.opset:
        problem = f"opset {graph.opset}, the newest that TensorRT {version.name} takes is {version.opset}"
        yield Finding("opset", "", "model", problem, f"export with --opset {version.advised_opset}")
    half = [name for name, tensor in graph.initializers() if graph.dtype(name) == "float16"]
    if half and version.before("8.4"):
        problem = f"{len(half)} initializers are float16, which the parser takes since 8.4"
        mend = "export with --precision fp32 and let the builder choose FP16 (its FP16 flag) on the device"
        yield Finding("precision", half[0], "initializer", problem, mend)


_TYPE_MENDS = {
    "float64": "export in float32",
    "int64": "end in a Cast to int32, which is what this version would give",
    "uint8": "take float32 pictures, give int32 classes",
}


def _ends(graph: Graph, version: TensorRT) -> Iterator[Finding]:
    """Types of the network's inputs and outputs; heights and widths."""
    for name, tensor in graph.inputs():
        yield from _end(name, "input", type_name(tensor.elem_type), version)
        if tensor.HasField("shape") and None in (shape := dimensions(tensor))[1:]:
            told = ", ".join("?" if length is None else str(length) for length in shape)
            problem = f"shape ({told}): only the batch may be dynamic, not height, width or channels"
            yield Finding("shape", name, "input", problem, "export with --size HEIGHTxWIDTH")
    for value in graph.model.graph.output:
        yield from _end(value.name, "output", type_name(value.type.tensor_type.elem_type), version)


def _end(name: str, end: str, dtype: str, version: TensorRT) -> Iterator[Finding]:
    if dtype and dtype not in version.io_types:
        problem = f"{dtype} is none of the types of inputs and outputs ({', '.join(sorted(version.io_types))})"
        yield Finding("type", name, end, problem, _TYPE_MENDS.get(dtype, "cast to float32 or int32"))


def _initializers(graph: Graph, version: TensorRT) -> Iterator[Finding]:
    for name, _ in graph.initializers():
        consumers = graph.consumers(name)
        if consumers and all(node.op_type in OPERATORS for node in consumers):  # their own rule tells more
            continue
        if (dtype := graph.dtype(name)) not in version.types:
            mend = _TYPE_MENDS["float64"] if dtype == "float64" else "cast to float32 or int32"
            yield Finding("type", name, "initializer", f"{dtype} is not supported", mend)


def _nodes(graph: Graph, version: TensorRT) -> Iterator[Finding]:
    for node in graph.nodes:
        name, operator = node_name(node), node.op_type
        if node.domain not in ("", "ai.onnx"):
            problem = f"domain {node.domain!r} is not ONNX' own, and TensorRT has no plugin of this name"
            mend = "compose it of ONNX' own operators, or load a plugin on the device and leave this check out"
            yield Finding("domain", name, operator, problem, mend)
            continue
        if (lacking := unsupported(operator, version)) is not None:
            yield Finding("operator", name, operator, *lacking)
            continue
        rules = (quantize_dequantize,) if operator in OPERATORS else (_output_types, *TABLES, *RULES.get(operator, ()))
        for rule in rules:
            for kind, problem, mend in rule(graph, node, version):
                yield Finding(kind, name, operator, problem, mend)


def _output_types(graph: Graph, node: Any, version: TensorRT) -> Iterator[tuple[str, str, str]]:
    """Types inside the network, where they begin; uint8 only as what a Cast makes of or for the network's ends."""
    if node.op_type == "Constant":  # an initializer by another name
        return
    cast = node.op_type in ("Cast", "CastLike")
    taken = {graph.dtype(name) for name in node.input}
    for name in node.output:
        dtype = graph.dtype(name)
        if not dtype or dtype in version.types or dtype in taken:
            continue
        if dtype != "uint8":
            yield "type", f"{name!r} is {dtype}", _TYPE_MENDS.get(dtype, "cast to float32 or int32")
        elif not cast or name not in graph.outputs or graph.consumers(name):
            mend = "compute in float32 or int32, and make the Cast to uint8 the network's last node"
            yield "type", f"{name!r} is uint8 inside the network", mend
    fed = {name for name, _ in graph.inputs()}
    for name in node.input:
        if not cast and name in fed and graph.dtype(name) == "uint8":
            yield "type", f"takes the uint8 input {name!r} as it is", "Cast it to float32 first"
