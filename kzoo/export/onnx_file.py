"""ONNX files: conversion, half precision, and what is counted in them."""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from kzoo.export.census import Census, Product
from kzoo.export.sensitive import operations_of
from kzoo.export.target import Target

PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_DOMAINS = ("", "ai.onnx")


def convert(function: Any, target: Target) -> onnx.ModelProto:
    """The float32 ONNX of an exported function (`kzoo.export.graph`); checked, of ONNX's own operators only.

    Raises:
        ValueError: an operation of the network is none of ONNX's, or the file does not hold together.
    """
    import tf2onnx

    # tf2onnx logs what it cannot convert and writes the file all the same: the check below is what tells.
    with only_from(logging.CRITICAL, "tf2onnx"), _collecting_often():
        model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=target.opset)
    _round_scales_up(model)
    check(model)
    return model


def _round_scales_up(model: onnx.ModelProto) -> None:
    """Makes each Resize give the size that it was meant to.

    tf2onnx writes the quotient of two sizes, and whoever reads it multiplies and drops the fraction: 23/12, rounded
    down to float32, makes 22 of 12. The next float32 is above the quotient, and by far too little to make 24.
    """
    scales = {node.input[2] for node in model.graph.node if node.op_type == "Resize" and len(node.input) > 2}
    for constant in model.graph.initializer:
        if constant.name in scales:
            values = onnx.numpy_helper.to_array(constant)
            exact = values * 1024 == np.rint(values * 1024)
            above = np.where(exact, values, np.nextafter(values, np.float32(np.inf)))
            constant.CopyFrom(onnx.numpy_helper.from_array(above.astype(np.float32), constant.name))


def check(model: onnx.ModelProto) -> None:
    """Raises ValueError unless ONNX's checker is content and all operators are ONNX's own."""
    foreign = sorted({f"{node.domain}::{node.op_type}" for node in model.graph.node if node.domain not in _DOMAINS})
    if foreign:
        raise ValueError(f"The network has operations that ONNX has not: {', '.join(foreign)}.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"The conversion to ONNX went wrong: {error}") from error


def save(model: onnx.ModelProto, path: Path) -> None:
    """Writes the model, which must not exceed protobuf's 2 GB."""
    onnx.save(model, path)


def to_half(model: onnx.ModelProto, float_layers: Sequence[str]) -> onnx.ModelProto:
    """The model in float16 but for `float_layers`; its inputs and outputs keep their types."""
    from onnxconverter_common import float16

    kept = operations_of(float_layers, [node.name for node in model.graph.node])
    with warnings.catch_warnings():  # of weights below float16's smallest number
        warnings.filterwarnings("ignore", message="the float32 number")
        half = float16.convert_float_to_float16(
            _with_own_constants(model, kept), keep_io_types=True, node_block_list=kept
        )
    check(half)
    return half


def _with_own_constants(model: onnx.ModelProto, nodes: Sequence[str]) -> onnx.ModelProto:
    """The model in which these nodes share no constant with others: the converter gives all readers of a constant one
    type."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = {constant.name: constant for constant in model.graph.initializer}
    for node in result.graph.node:
        if node.name in nodes:
            for place, name in enumerate(node.input):
                if name in constants:
                    node.input[place] = f"{node.name}/{place}/{name}"
                    result.graph.initializer.add().CopyFrom(constants[name])
                    result.graph.initializer[-1].name = node.input[place]
    drop_unread(result)
    return result


def drop_unread(model: onnx.ModelProto) -> None:
    """Removes the constants that nothing reads."""
    read = {name for node in model.graph.node for name in node.input}
    left = [constant for constant in model.graph.initializer if constant.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(left)


@contextlib.contextmanager
def only_from(level: int, name: str | None = None) -> Iterator[None]:
    """While the block runs, the logger (None: the root, which ONNX Runtime's quantiser writes to) says less."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _collecting_often() -> Iterator[None]:
    """While the block runs, reference cycles are freed soon, at little cost.

    tf2onnx copies the graph with all weights some ninety times, each copy a cycle, and Python looks for cycles seldom
    where as many objects live as TensorFlow brings: ResNet-50 took 13 GB. With those objects set aside it takes 3.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.collect()  # so that the collector forgets how many they were
    gc.set_threshold(700, 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def census(model: onnx.ModelProto) -> Census:
    """Operators, and the products with their multiplications and precision, for one picture where the batch is open."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.graph.value_info[:]
    for value in (*plain.graph.input, *plain.graph.output):
        batch = value.type.tensor_type.shape.dim[0]
        batch.dim_value = batch.dim_value or 1
    graph = onnx.shape_inference.infer_shapes(plain, data_prop=True).graph
    shapes: dict[str, list[int]] = {}
    types: dict[str, int] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        shapes[value.name] = [dim.dim_value for dim in tensor.shape.dim]
        types[value.name] = tensor.elem_type
    for constant in graph.initializer:
        shapes[constant.name], types[constant.name] = list(constant.dims), constant.data_type
    makers = {output: node for node in graph.node for output in node.output}
    operators: dict[str, int] = {}
    for node in graph.node:
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    return Census(operators, tuple(_products(graph.node, shapes, types, makers)))


def _products(nodes: Any, shapes: dict[str, list[int]], types: dict[str, int], makers: Any) -> Iterator[Product]:
    for node in nodes:
        if node.op_type not in PRODUCTS:
            continue
        left, right = (shapes[name] for name in node.input[:2])
        out = shapes[node.output[0]]
        if node.op_type == "Conv":
            macs = np.prod(out) * np.prod(right[1:])
        elif node.op_type == "ConvTranspose":
            macs = np.prod(left) * np.prod(right[1:])
        else:
            transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            macs = np.prod(out) * left[-2 if transposed else -1]
        yield Product(node.name, node.op_type, int(macs), _precision(node, types, makers))


def _precision(node: Any, types: dict[str, int], makers: Any) -> str:
    sources = [makers.get(name) for name in node.input[:2]]
    if all(source is not None and source.op_type == "DequantizeLinear" for source in sources):
        return "int8"
    return "fp16" if types.get(node.input[0]) == onnx.TensorProto.FLOAT16 else "fp32"
