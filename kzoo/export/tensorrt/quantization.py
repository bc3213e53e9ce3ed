"""Rules about INT8: TensorRT knows symmetric QuantizeLinear/DequantizeLinear pairs.

Reference: `QuantizeLinear` and `DequantizeLinear` in `docs/operators.md` of onnx/onnx-tensorrt (8.4 to 10.15); the
parser of 8.4 asserts three inputs, zero points of zero and positive scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kzoo.export.tensorrt.graph import Graph, attribute
from kzoo.export.tensorrt.rules import Problem
from kzoo.export.tensorrt.versions import TensorRT

OPERATORS = ("QuantizeLinear", "DequantizeLinear")
_SYMMETRIC = "quantise symmetrically: int8 with a zero point of 0"


def quantize_dequantize(graph: Graph, node: Any, version: TensorRT) -> Iterator[Problem]:
    """Zero point, scale and type of a QuantizeLinear, and of a DequantizeLinear that does not merely undo one."""
    zero_point = node.input[2] if len(node.input) > 2 else ""
    quantize = node.op_type == "QuantizeLinear"
    if not quantize and graph.dtype(node.input[0]) == "int32":
        yield "quantization", "dequantises int32, as a quantised bias does", "leave biases in float32"
        return
    producer = graph.producer(node.input[0])
    if not quantize and producer is not None and producer.input[1:] == node.input[1:]:
        return
    if not zero_point:
        if quantize and not attribute(node, "output_dtype"):
            yield "quantization", "has no zero point, which means uint8", _SYMMETRIC
        elif version.before("10.3"):
            yield "quantization", "has no zero point, which this version's parser needs", _SYMMETRIC
    elif (dtype := graph.dtype(zero_point)) != "int8" and (dtype == "uint8" or dtype not in version.types):
        yield "quantization", f"quantises to {dtype or 'an unknown type'}", _SYMMETRIC
    elif not graph.is_constant(zero_point):
        yield "quantization", f"zero point {zero_point!r} is computed", _SYMMETRIC
    elif (value := graph.value(zero_point)) is not None and value.any():
        yield "quantization", f"zero point {value.reshape(-1)[value.reshape(-1) != 0][0]} is not 0", _SYMMETRIC
    if (scale := graph.value(node.input[1])) is not None and not (scale > 0).all():
        yield "quantization", f"scale {scale.min()} is not positive", "calibrate on pictures that differ"
