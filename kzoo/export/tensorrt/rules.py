"""Rules about single nodes that need more than a row of a table. See `limits.py` for the rows and the references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import onnx

from kzoo.export.tensorrt import limits
from kzoo.export.tensorrt.graph import Graph, attribute, subgraphs
from kzoo.export.tensorrt.versions import TensorRT

# The rule's name, what TensorRT lacks, how to mend it.
Problem = tuple[str, str, str]
Rule = Callable[[Graph, Any, TensorRT], Iterator[Problem]]

LARGEST_K = 3840


def _applies(row: Any, node: Any, version: TensorRT) -> bool:
    until = getattr(row, "until", None)
    return node.op_type in row.operators and (until is None or version.before(until))


def attributes(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Values of attributes that are refused."""
    for row in limits.ATTRIBUTES:
        if not _applies(row, node, version):
            continue
        value = attribute(node, row.name, row.default)
        elements = value if isinstance(value, list | tuple) else [value]
        if any(element not in row.allowed for element in elements):
            allowed = " or ".join(str(choice) for choice in row.allowed)
            yield "attribute", f"{row.name}={value}: only {allowed} is supported", row.mend


def constant_inputs(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Inputs that have to be known when the engine is built."""
    for row in limits.CONSTANT_INPUTS:
        if _applies(row, node, version) and graph.opset >= row.since_opset and len(node.input) > row.index:
            name = node.input[row.index]
            if not graph.is_constant(name):
                yield "constant", f"input {row.name} ({name!r}) is computed, an initializer is needed", row.mend
    if node.op_type == "Dropout" and len(node.input) > 2 and (value := graph.value(node.input[2])) is not None:
        if value.any():
            yield "constant", "training_mode is True", "export the network for inference (training=False)"


def extra_outputs(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Outputs that TensorRT's layer does not have."""
    for row in limits.EXTRA_OUTPUTS:
        if node.op_type in row.operators and any(node.output[row.index :]):
            yield "output", f"output {row.name} is not supported", row.mend


def input_types(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Element types that an operator does not take."""
    for row in limits.INPUT_TYPES:
        if _applies(row, node, version) and (dtype := graph.dtype(node.input[row.index])) in row.refused:
            yield "type", f"{dtype} is not supported here", row.mend


def mixed_types(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Inputs of one type variable that differ, as a graph that is half converted to FP16 has them.

    ONNX forbids it, its checker does not see it, and a strongly typed network has no cast to put in.
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, graph.opset, "")
    except onnx.defs.SchemaError:
        return
    types: dict[str, dict[str, str]] = {}
    for index, name in enumerate(node.input):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if name and formal.is_homogeneous and (dtype := graph.dtype(name)):
            types.setdefault(formal.type_str, {})[dtype] = name
    for found in types.values():
        if len(found) > 1:
            told = ", ".join(f"{name!r} is {dtype}" for dtype, name in sorted(found.items()))
            yield "mixed", f"inputs of different types: {told}", "put a Cast in front of one"


def einsum(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Equations: lower-case letters; before 10.12 no ellipsis, diagonal, broadcasting; before 9 two inputs."""
    equation = attribute(node, "equation", "").replace(" ", "")
    mend = "write it as Transpose, MatMul and ReduceSum"
    terms = equation.split("->")[0].split(",")
    if any(letter.isupper() for letter in equation):
        yield "einsum", f"equation {equation!r} has upper-case letters", "use lower-case letters"
    if version.before("10.3") and len(terms) > 2:
        yield "einsum", f"equation {equation!r} has {len(terms)} inputs, at most 2 are supported", mend
    if not version.before("10.13"):
        return
    if "..." in equation:
        yield "einsum", f"equation {equation!r} has an ellipsis", "name every axis"
    if any(len(set(term)) < len(term) for term in (term.replace("...", "") for term in terms)):
        yield "einsum", f"equation {equation!r} takes a diagonal (a letter twice in one input)", mend
    lengths: dict[str, set[int]] = {}
    for term, name in zip(terms, node.input, strict=False):
        shape = graph.shape(name)
        if shape is not None and len(shape) == len(term):
            for letter, length in zip(term, shape, strict=True):
                lengths.setdefault(letter, set()).update([length] if length is not None else [])
    if broadcast := sorted(letter for letter, found in lengths.items() if len(found) > 1):
        yield "einsum", f"equation {equation!r} broadcasts axis {', '.join(broadcast)}", "Expand the shorter input"


def top_k(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """At most 3840 values."""
    k = attribute(node, "k") if graph.opset < 10 else graph.value(node.input[1])
    if k is not None and (value := int(k if isinstance(k, int) else k.reshape(-1)[0])) > LARGEST_K:
        yield "topk", f"K={value}, the largest is {LARGEST_K}", "choose fewer, or choose in steps"


def resize(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """What belongs together: a list of axes, rounding of TensorFlow's old nearest neighbour."""
    axes, shape = attribute(node, "axes"), graph.shape(node.input[0])
    if axes is not None and version.before("10.3"):
        yield "resize", f"axes={axes} is not supported", "give the scale or size of every axis"
    elif axes is not None and shape is not None and [axis % len(shape) for axis in axes] != list(range(len(shape))):
        yield "resize", f"axes={axes}: scales must be given for every axis, in order", "leave axes out"
    if attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_half_pixel_for_nn":
        rounding = attribute(node, "nearest_mode", "round_prefer_floor")
        if rounding != "round_prefer_floor":
            told = f"nearest_mode={rounding} with tf_half_pixel_for_nn: only round_prefer_floor is supported"
            yield "resize", told, "use half_pixel with this nearest_mode"


def pad(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """`axes` came with 10.4."""
    if version.before("10.13") and len(node.input) > 3 and node.input[3]:
        yield "pad", "input axes is not supported", "give the padding of every axis"


def convolution(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Kernel and bias are initializers (the kernel also a quantised one) before 8.5; 1 to 3 spatial axes."""
    producer = graph.producer(node.input[1])
    quantised = producer is not None and producer.op_type == "DequantizeLinear"
    for role, name in zip(("kernel", "bias"), node.input[1:], strict=False):
        if version.before("8.5") and not graph.is_constant(name) and not (role == "kernel" and quantised):
            mend = "fold constants before the export, so that it becomes an initializer"
            yield "constant", f"{role} {name!r} is computed, an initializer is needed", mend
    shape = graph.shape(node.input[1])
    if shape is not None and not 3 <= len(shape) <= 5:
        yield "rank", f"a kernel of {len(shape) - 2} spatial axes, 1 to 3 are supported", "reshape to fewer axes"


def grid_sample(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Pictures alone."""
    shape = graph.shape(node.input[0])
    if shape is not None and len(shape) != 4:
        yield "rank", f"an input of {len(shape)} axes, 4 are needed", "reshape to (N, C, H, W)"


def control_flow(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Branches of one rank; a number of rounds that is known where a loop stacks its results."""
    if node.op_type == "If":
        branches = [[graph.shape(value.name) for value in branch.output] for branch in subgraphs(node)]
        for one, other in zip(*branches, strict=False):
            if one is not None and other is not None and len(one) != len(other):
                yield "control", f"the branches give {len(one)} and {len(other)} axes", "reshape in one branch"
    if node.op_type == "Loop" and len(node.output) > len(node.input) - 2 and not graph.is_constant(node.input[0]):
        yield "control", "a loop of computed length stacks its results", "unroll it, or make the length a constant"


TABLES: tuple[Rule, ...] = (attributes, constant_inputs, extra_outputs, input_types, mixed_types)
RULES: dict[str, tuple[Rule, ...]] = {
    "Conv": (convolution,),
    "ConvTranspose": (convolution,),
    "Einsum": (einsum,),
    "GridSample": (grid_sample,),
    "If": (control_flow,),
    "Loop": (control_flow,),
    "Pad": (pad,),
    "Resize": (resize,),
    "TopK": (top_k,),
}
