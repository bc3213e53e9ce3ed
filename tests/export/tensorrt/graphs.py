"""ONNX models of one or a few nodes, made by hand, and what to ask of `lint` about them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from kzoo.export.tensorrt import lint

FLOAT, HALF, DOUBLE, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BOOL
INT8, UINT8, INT32, INT64 = TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64
PICTURE = (1, 4, 8, 8)


def node(operator: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    """A node of the name "the_<operator>"; inputs and outputs separated by spaces, "-" for one that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, output.split(), name=f"the_{operator}", **attributes)


def model(
    nodes: list[Any],
    constants: dict[str, Any] | None = None,
    x: tuple[Any, Any] | None = (FLOAT, PICTURE),
    y: int | dict[str, int] = FLOAT,
    more: dict[str, tuple[int, Any]] | None = None,
    opset: int = 13,
    domain: str = "",
) -> Any:
    """A model: nodes, constants by name, type and shape of the input x and of more inputs, types of the outputs."""
    inputs = ({"x": x} if x else {}) | (more or {})
    outputs = y if isinstance(y, dict) else {"y": y}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *found) for name, found in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, None) for name, dtype in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def single(operator: str, inputs: str = "x", constants: dict[str, Any] | None = None, **attributes: Any) -> Any:
    """A model of one node; the keys of `model` go to it, other attributes to the node."""
    keys = {key: attributes.pop(key) for key in ("x", "y", "more", "opset") if key in attributes}
    outputs = keys["y"] if isinstance(keys.get("y"), dict) else {"y": 0}
    return model([node(operator, inputs, " ".join(outputs), **attributes)], constants, **keys)


def quantized(zero_point: Any = np.int8(0), scale: Any = np.float32(0.1), **keys: Any) -> Any:  # noqa: B008
    """x through a QuantizeLinear/DequantizeLinear pair; `zero_point` None leaves it out."""
    constants = {"s": scale} | ({} if zero_point is None else {"z": zero_point})
    rest = " ".join(constants)
    return model([node("QuantizeLinear", f"x {rest}", "q"), node("DequantizeLinear", f"q {rest}")], constants, **keys)


def branches(other: str) -> Any:
    """An If whose branches are Relu and `other` of x."""
    graphs = {}
    for name, operator in (("then_branch", "Relu"), ("else_branch", other)):
        attributes = {"keepdims": 0} if operator.startswith("Reduce") else {}
        inner = helper.make_node(operator, ["x"], [name], name=f"the_{operator}", **attributes)
        graphs[name] = helper.make_graph([inner], name, [], [helper.make_tensor_value_info(name, FLOAT, None)])
    return model([node("If", "c", **graphs)], more={"c": (BOOL, ())})


def loop(constant_length: bool, stacked: bool = True) -> Any:
    """A Loop that adds x, three times or as often as an input says, and stacks the sums or not."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Add", ["s", "x"], ["t"]),
        helper.make_node("Identity", ["c"], ["d"]),
        helper.make_node("Identity", ["t"], ["u"]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [value("i", INT64, ()), value("c", BOOL, ()), value("s", FLOAT, PICTURE)],
        [value("d", BOOL, ()), value("t", FLOAT, PICTURE), *([value("u", FLOAT, PICTURE)] if stacked else [])],
    )
    constants = {"go": np.array(True)} | ({"n": np.array(3)} if constant_length else {})
    length = [] if constant_length else [helper.make_node("Cast", ["m"], ["n"], to=INT64)]
    more = {} if constant_length else {"m": (INT32, ())}
    outputs = {"y": FLOAT} | ({"all": FLOAT} if stacked else {})
    return model([*length, node("Loop", "n go x", " ".join(outputs), body=body)], constants, y=outputs, more=more)


def chain(*operators, x=(FLOAT, PICTURE), y=FLOAT):
    """x through Casts to types, or other operators by name."""
    nodes, name = [], "x"
    for index, operator in enumerate(operators):
        output = "y" if index == len(operators) - 1 else f"t{index}"
        if isinstance(operator, str):
            nodes.append(node(operator, name, output))
        else:
            nodes.append(node("Cast", name, output, to=operator))
        name = output
    return model(nodes, x=x, y=y)


def assert_rule(rule: str, problem: str, bad: tuple[Any, str], good: tuple[Any, str]) -> None:
    """That `lint` finds one thing in the graph `bad`, of this rule and at the right place, and none in `good`.

    Args:
        rule: the finding's rule.
        problem: a pattern that is found in what it says.
        bad: a graph that breaks the rule, and the version of TensorRT whose rule it is.
        good: a neighbour that does not, and its version.
    """
    findings = lint(*bad)
    assert [found.rule for found in findings] == [rule], findings
    (found,) = findings
    assert re.search(problem, found.problem) and found.mend
    if found.operator not in ("input", "output", "initializer", "model"):
        assert found.node == f"the_{found.operator}"
    assert lint(*good) == []
