"""Opsets, operators, types, shapes, INT8, and the refusal: for every rule a graph that breaks it and a neighbour."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from kzoo.export.tensorrt import check_tensorrt, lint
from tests.export.tensorrt.graphs import (
    BOOL,
    DOUBLE,
    FLOAT,
    HALF,
    INT8,
    INT32,
    INT64,
    PICTURE,
    UINT8,
    assert_rule,
    chain,
    model,
    node,
    quantized,
    single,
)

FOUR = np.ones(4, np.float32)
KERNEL = np.ones((5, 4, 3, 3), np.float32)
HALF_KERNEL = KERNEL.astype(np.float16)
INDEX = {"i": np.array([0])}
NUMBERS = {"v": np.float32([0, 1]), "d": np.array([3])}
TYPED = {"x": (INT32, (4, 4)), "y": INT32}
MASK = {"x": (BOOL, (4,)), "y": BOOL}


def int32_bias():
    nodes = [node("DequantizeLinear", "b s", "d"), node("Add", "x d")]
    return model(nodes, {"b": np.int32([[[[1]]]]), "s": np.float32(0.1)})


# The rule, what the finding says, (graph, version) that breaks it, (graph, version) that does not.
CASES = [
    ("opset", "opset 14, the newest .* is 13", (single("Relu", opset=14), "8.2"), (single("Relu"), "8.2")),
    ("opset", "opset 18, .* is 17", (single("Relu", opset=18), "8.6"), (single("Relu", opset=17), "8.6")),
    ("opset", "opset 21, .* is 20", (single("Relu", opset=21), "10.3"), (single("Relu", opset=20), "10.3")),
    (
        "domain",
        "domain 'mine'",
        (model([node("Relu", "x", domain="mine")], domain="mine"), "11.4"),
        (single("Relu"), "11.4"),
    ),
    (
        "operator",
        "no version of TensorRT up to 11.4",
        (single("Det", x=(FLOAT, (4, 4))), "11.4"),
        (single("Abs"), "8.2"),
    ),
    *(
        ("operator", f"since {first} only", (graph, before), (graph, first))
        for before, first, graph in (
            ("8.2", "8.4", single("Xor", "x x", **MASK)),
            ("8.4", "8.5", single("OneHot", "x d v", NUMBERS, x=(INT32, (4,)))),
            ("8.4", "8.5", chain("NonZero", INT32, y=INT32)),
            ("8.4", "8.5", single("Mod", "x x", x=(INT32, (4,)), y=INT32)),
            ("8.5", "8.6", single("LayerNormalization", "x c", {"c": np.ones(8, np.float32)}, opset=17)),
            ("8.6", "10.3", single("Hardmax")),
        )
    ),
    *(
        ("operator", "no version of TensorRT", (graph, "11.4"), (quantized(), "8.2"))
        for graph in (
            single("DynamicQuantizeLinear", y={"y": UINT8, "s": FLOAT, "z": UINT8}),
            single("ConvInteger", "x w", {"w": np.ones((5, 4, 3, 3), np.int8)}, x=(INT8, PICTURE), y=INT32),
            single("MatMulInteger", "x x", x=(INT8, (4, 4)), y=INT32),
        )
    ),
    (
        "precision",
        "1 initializers are float16",
        (single("Add", "x c", {"c": np.float16(1)}, x=(HALF, (4,)), y=HALF), "8.2"),
        (single("Add", "x c", {"c": np.float16(1)}, x=(HALF, (4,)), y=HALF), "8.4"),
    ),
    ("type", "uint8 is none of", (chain(FLOAT, x=(UINT8, PICTURE)), "8.4"), (chain(FLOAT, x=(UINT8, PICTURE)), "8.5")),
    ("type", "int64 is none of", (single("ArgMax", y=INT64), "8.6"), (single("ArgMax", y=INT64), "10.3")),
    ("type", "int64 is none of", (single("ArgMax", y=INT64), "8.2"), (chain("ArgMax", INT32, y=INT32), "8.2")),
    (
        "type",
        "float64 is not supported",
        (model([node("Cast", "c", "d", to=FLOAT), node("Add", "x d")], {"c": np.ones(4)}), "11.4"),
        (model([node("Cast", "c", "d", to=FLOAT), node("Add", "x d")], {"c": FOUR.astype(np.int32)[None]}), "11.4"),
    ),
    ("type", "'t0' is float64", (chain(DOUBLE, FLOAT), "11.4"), (chain(INT32, FLOAT), "8.2")),
    ("type", "'t0' is int16", (chain(onnx.TensorProto.INT16, FLOAT), "11.4"), (chain(BOOL, FLOAT), "8.2")),
    ("type", "'t0' is uint8 inside", (chain(UINT8, FLOAT), "11.4"), (chain(UINT8, y=UINT8), "8.5")),
    (
        "type",
        "'t0' is uint8 inside",
        (chain(UINT8, "Identity", y=UINT8), "11.4"),
        (chain("Identity", UINT8, y=UINT8), "11.4"),
    ),
    (
        "type",
        "takes the uint8 input 'x'",
        (chain("Transpose", FLOAT, x=(UINT8, PICTURE)), "11.4"),
        (chain(FLOAT, "Transpose", x=(UINT8, PICTURE)), "11.4"),
    ),
    (
        "type",
        "bool is not supported here",
        (single("Gather", "x i", INDEX, **MASK), "8.4"),
        (single("Gather", "x i", INDEX, **MASK), "8.5"),
    ),
    (
        "type",
        "int32 is not supported here",
        (chain("ArgMax", INT32, x=(INT32, (4, 4)), y=INT32), "8.5"),
        (chain("ArgMax", INT32, x=(INT32, (4, 4)), y=INT32), "8.6"),
    ),
    (
        "type",
        "int32 is not supported here",
        (single("Pow", "x x", **TYPED), "10.3"),
        (single("Pow", "x x", **TYPED), "10.13"),
    ),
    (
        "type",
        "int32 is not supported here",
        (single("MatMul", "x x", **TYPED), "11.4"),
        (single("MatMul", "x x", x=(FLOAT, (4, 4))), "8.2"),
    ),
    (
        "shape",
        r"\(1, \?, 8, 3\): only the batch",
        (single("Relu", x=(FLOAT, (1, None, 8, 3))), "11.4"),
        (single("Relu", x=(FLOAT, ("n", 4, 8, 3))), "8.2"),
    ),
    ("shape", r"\(1, 4, 8, \?\)", (single("Relu", x=(FLOAT, (1, 4, 8, "w"))), "8.2"), (single("Relu"), "8.2")),
    (
        "mixed",
        "'z' is float16, 'x' is float32",
        (single("Add", "x z", more={"z": (HALF, PICTURE)}), "11.4"),
        (single("Add", "x z", more={"z": (FLOAT, PICTURE)}), "8.2"),
    ),
    (
        "mixed",
        "'w' is float16",
        (single("Conv", "x w", {"w": HALF_KERNEL}), "10.3"),
        (single("Conv", "x w", {"w": HALF_KERNEL}, x=(HALF, PICTURE), y=HALF), "10.3"),
    ),
    (
        "mixed",
        "'z' is float16",
        (single("Concat", "x z", more={"z": (HALF, PICTURE)}, axis=1), "8.5"),
        (single("Where", "c x x", more={"c": (BOOL, PICTURE)}), "8.5"),
    ),
    # INT8
    ("quantization", "zero point 3 is not 0", (quantized(np.int8(3)), "11.4"), (quantized(np.int8(0)), "11.4")),
    (
        "quantization",
        "quantises to uint8",
        (quantized(np.uint8(0)), "8.6"),
        (quantized(np.zeros(4, np.int8), 0.1 * FOUR), "8.2"),
    ),
    ("quantization", "no zero point, which means uint8", (quantized(None), "11.4"), (quantized(), "8.2")),
    ("quantization", "scale 0.0 is not positive", (quantized(scale=np.float32(0)), "10.3"), (quantized(), "10.3")),
    ("quantization", "dequantises int32, as a quantised bias", (int32_bias(), "11.4"), (quantized(), "11.4")),
]


@pytest.mark.parametrize(("rule", "problem", "bad", "good"), CASES)
def test_rule(rule, problem, bad, good):
    assert_rule(rule, problem, bad, good)


def test_the_refusal_lists_everything(tmp_path):
    graph = model([node("OneHot", "x d v", "h"), node("Det", "h")], NUMBERS, x=(INT64, (4, 3)), opset=14)
    onnx.save(graph, tmp_path / "a.onnx")
    for given in (graph, tmp_path / "a.onnx", str(tmp_path / "a.onnx")):
        with pytest.raises(
            ValueError, match=r"^TensorRT 8.2 .JetPack 4.6.1 to 4.6.6. does not take this model: 4 things"
        ) as error:
            check_tensorrt(given, "8.2")
        text = str(error.value)
        lines = [line.split(":")[0] for line in text.splitlines()[1:]]
        assert lines == ["- model", "- input x", "- OneHot the_OneHot", "- Det the_Det"]
        assert text.count("To mend: ") == 4 and "--opset 13" in text
    check_tensorrt(single("Relu"), "8.2.1")
    with pytest.raises(ValueError, match="Unknown TensorRT version"):
        check_tensorrt(graph, "9.2")
    with pytest.raises(FileNotFoundError):
        check_tensorrt(tmp_path / "b.onnx", "8.2")


def test_constants_and_inputs_in_every_form():
    """Constant nodes are constants; initializers that are listed as inputs are none; weights elsewhere are not read."""
    value = onnx.numpy_helper.from_array(np.array([5000]))
    graph = model(
        [node("Constant", "", "k", value=value), node("TopK", "x k", "y p")],
        x=(FLOAT, (1, 6000)),
        y={"y": FLOAT, "p": INT64},
    )
    assert [found.rule for found in lint(graph, "10.3")] == ["topk"]
    old_style = single("Conv", "x w", {"w": KERNEL}, more={"w": (FLOAT, (5, 4, None, 3))})
    assert lint(old_style, "8.2") == []
    away = single("Conv", "x w", {"w": KERNEL})
    away.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    away.graph.initializer[0].ClearField("raw_data")
    assert lint(away, "8.2") == []


def test_functions_are_taken_apart_where_the_parser_does():
    function = onnx.helper.make_function(
        "mine", "F", ["a"], ["b"], [node("Det", "a", "b")], [onnx.helper.make_opsetid("", 13)]
    )
    graph = model([node("F", "x", domain="mine")], x=(FLOAT, (4, 4)), domain="mine")
    graph.functions.append(function)
    assert [(found.rule, found.operator) for found in lint(graph, "8.6")] == [("domain", "F")]
    assert [(found.rule, found.operator) for found in lint(graph, "10.3")] == [("operator", "Det")]
    assert len(graph.functions) == 1
