"""The biases of int8 products in LiteRT, corrected by what rounding adds on average."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.export.bias_correction import mean_error
from kzoo.export.litert_operations import PRODUCTS, Operation, operations, quiet, unpack

CORRECTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def correct_biases(quantised: bytes, plain: bytes, pictures: Iterable[NDArray[Any]]) -> bytes:
    """The int8 file with what its products lack on average added to their biases (`kzoo.export.bias_correction`).

    Args:
        quantised: an int8 file.
        plain: the same network in float32, with the same products in the same order.
        pictures: of the calibration, in the network's input shape and type.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model, original = unpack(quantised), unpack(plain)
    pairs = [
        (operation, exact)
        for operation, exact in zip(_products(model), _products(original), strict=True)
        if operation.kind in CORRECTED and operation.precision() == "int8" and _bias(operation) is not None
    ]
    graph = original.subgraphs[0]
    places = {id(tensor): place for place, tensor in enumerate(graph.tensors)}
    means = _means(plain, [(places[id(exact.inputs[0])], operation.inputs[0]) for operation, exact in pairs], pictures)
    biases = _Biases(model)
    for (operation, exact), (mean, quantised_mean) in zip(pairs, means, strict=True):
        weights = _by_channel(_values(original, exact.inputs[1]), operation.kind)
        rounded = _by_channel(_values(model, operation.inputs[1]), operation.kind)
        biases.add(operation, mean_error(weights, rounded, mean, quantised_mean))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _products(model: Any) -> list[Operation]:
    return [operation for operation in operations(model) if operation.kind in PRODUCTS]


def _bias(operation: Operation) -> Any:
    return operation.inputs[2] if len(operation.inputs) > 2 else None


def _values(model: Any, tensor: Any) -> NDArray[Any]:
    """A constant, brought back to float where it is quantised."""
    from tensorflow.lite.python import schema_py_generated as schema

    types = {schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32, schema.TensorType.FLOAT32: np.float32}
    values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), types[tensor.type]).reshape(tensor.shape)
    if tensor.type == schema.TensorType.FLOAT32:
        return values
    along = [1] * values.ndim
    along[tensor.quantization.quantizedDimension] = -1
    return np.asarray(values * np.reshape(tensor.quantization.scale, along))


def _by_channel(weights: NDArray[Any], kind: str) -> NDArray[Any]:
    """Weights as `mean_error` takes them: (channels out, channels in by group, taps)."""
    if kind == "DEPTHWISE_CONV_2D":  # (1, height, width, channels out)
        return weights.reshape(-1, 1, weights.shape[-1]).T
    # (channels out, height, width, channels in by group), or (channels out, channels in)
    return weights.reshape(len(weights), -1, weights.shape[-1]).swapaxes(1, 2)


def _means(
    plain: bytes, tensors: list[tuple[int, Any]], pictures: Iterable[NDArray[Any]]
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """The means of the channels of tensors of the float32 file, given by their places, as they are and as the int8
    file's tensors beside them would hold them."""
    import tensorflow as tf

    with quiet():
        interpreter = tf.lite.Interpreter(
            model_content=plain,
            num_threads=os.cpu_count(),
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    sums: list[list[Any]] = [[0.0, 0.0] for _ in tensors]
    count = 0
    for picture in pictures:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
        interpreter.invoke()
        for (place, tensor), sum_ in zip(tensors, sums, strict=True):
            exact = interpreter.get_tensor(place)
            exact = exact.reshape(-1, exact.shape[-1])
            sum_[0] += exact.mean(0, np.float64)
            sum_[1] += _rounded(exact, tensor).mean(0, np.float64)
        count += 1
    return [(exact / count, rounded / count) for exact, rounded in sums]


def _rounded(values: NDArray[Any], tensor: Any) -> NDArray[Any]:
    """What is left of float32 values in an int8 tensor."""
    (scale,), (zero,) = tensor.quantization.scale, tensor.quantization.zeroPoint
    steps = np.rint(values * np.float32(1 / scale))
    return np.asarray(np.clip(steps, -128 - zero, 127 - zero, out=steps) * np.float32(scale))


class _Biases:
    """Changes biases one by one: tensors share a place in the file where they were the same."""

    def __init__(self, model: Any) -> None:
        self.model, self.graph = model, model.subgraphs[0]
        self.readers = Counter(index for operator in self.graph.operators for index in operator.inputs)
        self.holders = Counter(tensor.buffer for tensor in self.graph.tensors)

    def add(self, operation: Operation, error: NDArray[Any]) -> None:
        """Adds to the bias of one operation."""
        place = operation.operator.inputs[2]
        tensor = self.graph.tensors[place]
        if self.readers[place] > 1:
            self.readers[place] -= 1
            self.holders[tensor.buffer] += 1
            tensor = copy.copy(tensor)
            operation.operator.inputs[2] = len(self.graph.tensors)
            self.graph.tensors.append(tensor)
        buffer = self.model.buffers[tensor.buffer]
        if self.holders[tensor.buffer] > 1:
            self.holders[tensor.buffer] -= 1
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(copy.copy(buffer))
        steps = np.frombuffer(bytes(buffer.data), np.int32) + np.rint(error / tensor.quantization.scale)
        self.model.buffers[tensor.buffer].data = np.frombuffer(steps.astype(np.int32).tobytes(), np.uint8)
