"""ONNX in symmetric int8: quantisation, ranges, and the biases that take off what it adds on average."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from kzoo.export.bias_correction import mean_error
from kzoo.export.onnx_file import PRODUCTS, check, drop_unread, only_from
from kzoo.export.sensitive import operations_of

RANGES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Parts of the largest value in any picture that are tried as the range of what goes into a product."""

RANGE_BATCHES = 16
"""How many of the calibration batches the ranges are fitted to: each trial passes over all tensors of the network."""

Pictures = Callable[[], Iterable[NDArray[Any]]]
"""Gives, as often as it is called, calibration pictures in the model's input shape and type."""


def to_int8(model: onnx.ModelProto, pictures: Pictures, float_layers: Sequence[str], folder: Path) -> onnx.ModelProto:
    """The model with int8 convolutions and matrix products, with fitted ranges and corrected biases.

    Args:
        model: float32.
        pictures: to calibrate with.
        float_layers: names of layers that stay as they are.
        folder: for the quantiser's files.
    """
    result = quantise(model, pictures, float_layers, folder)
    _fit_ranges(result, pictures)
    _correct_biases(result, pictures)
    check(result)
    return result


def quantise(model: onnx.ModelProto, pictures: Pictures, float_layers: Sequence[str], folder: Path) -> onnx.ModelProto:
    """The model with pairs of QuantizeLinear and DequantizeLinear in front of convolutions and matrix products.

    What TensorRT takes: zero points are 0, weights are quantised by output channel, biases not at all. Only what goes
    into a product is quantised. What comes out of it is not: in front of a ReLU its range would be wasted on values
    that the ReLU drops, which cost MobileNetV2 four points of mIoU. Args are those of `to_int8`.
    """
    from onnxruntime import quantization

    source, result = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(model, source)
    with only_from(logging.ERROR):
        quantization.quantize_static(
            source,
            result,
            _calibration_reader(model.graph.input[0].name, pictures()),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(PRODUCTS),
            nodes_to_exclude=operations_of(float_layers, [node.name for node in model.graph.node]),
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                # Weights in float32 with a pair of their own: TensorRT 8 knows no int8 constants.
                "AddQDQPairToWeight": True,
                "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
            },
        )
    return onnx.load(result)


def with_only(quantised: onnx.ModelProto, name: str | None) -> onnx.ModelProto:
    """The result of `quantise` with the product `name` alone quantised, or none; all pairs are still there."""
    model = onnx.ModelProto()
    model.CopyFrom(quantised)
    makers = _makers(model)
    for node in model.graph.node:
        if node.op_type in PRODUCTS and node.name != name:
            for place, source in enumerate(node.input):
                pair = makers.get(source)
                if pair is not None and pair.op_type == "DequantizeLinear":
                    node.input[place] = makers[pair.input[0]].input[0]
    return model


def _fit_ranges(quantised: onnx.ModelProto, pictures: Pictures) -> None:
    """Narrows the ranges of what goes into products to where the mean squared error is least.

    A few pixels reach far beyond all others, which are told apart badly by 127 steps up to the largest of them.
    """
    constants = {constant.name: constant for constant in quantised.graph.initializer}
    scales = {
        node.input[1]: node
        for node in quantised.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }
    probed = with_only(quantised, None)
    probes = {
        (scale, part): _probe_error(probed, node, part * numpy_helper.to_array(constants[scale]), f"{scale}_{part}")
        for scale, node in scales.items()
        for part in RANGES
    }
    errors = _averages(probed, list(probes.values()), itertools.islice(pictures(), RANGE_BATCHES))
    for scale in scales:
        best = min(RANGES, key=lambda part: float(errors[probes[scale, part]]))
        fitted = best * numpy_helper.to_array(constants[scale])
        constants[scale].CopyFrom(numpy_helper.from_array(fitted.astype(np.float32), scale))


def _probe_error(model: onnx.ModelProto, quantiser: Any, scale: NDArray[Any], name: str) -> str:
    """Adds to the model the mean squared error of what the QuantizeLinear reads, at another scale; its name."""
    values, zero = quantiser.input[0], quantiser.input[2]
    steps, rounded, error, square, mean = (f"{name}_{step}" for step in ("steps", "rounded", "error", "square", "mean"))
    model.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), name))
    model.graph.node.extend(
        [
            onnx.helper.make_node("QuantizeLinear", [values, name, zero], [steps]),
            onnx.helper.make_node("DequantizeLinear", [steps, name, zero], [rounded]),
            onnx.helper.make_node("Sub", [rounded, values], [error]),
            onnx.helper.make_node("Mul", [error, error], [square]),
            onnx.helper.make_node("ReduceMean", [square], [mean], keepdims=0),
        ]
    )
    return mean


def _correct_biases(quantised: onnx.ModelProto, pictures: Pictures) -> None:
    """Adds to the bias of each int8 convolution what it lacks on average (`kzoo.export.bias_correction`)."""
    constants = {constant.name: numpy_helper.to_array(constant) for constant in quantised.graph.initializer}
    convolutions = list(_int8_convolutions(quantised))
    read = [tensor for node, source, _ in convolutions for tensor in (source, node.input[0])]
    means = _means(with_only(quantised, None), list(dict.fromkeys(read)), pictures())
    for node, source, quantiser in convolutions:
        weights, scale = (constants[name] for name in quantiser.input[:2])
        taps = (*weights.shape[:2], -1)
        rounded = _rounded(weights, scale).reshape(taps)
        error = mean_error(weights.reshape(taps), rounded, means[source], means[node.input[0]])
        bias = constants[node.input[2]] if len(node.input) > 2 else 0.0
        corrected = numpy_helper.from_array((bias + error).astype(np.float32), f"{node.name}/corrected_bias")
        quantised.graph.initializer.append(corrected)
        node.input[:] = [*node.input[:2], corrected.name]
    drop_unread(quantised)


def _int8_convolutions(model: onnx.ModelProto) -> Iterator[tuple[Any, str, Any]]:
    """Each with the tensor that its operand is quantised from, and its weights' QuantizeLinear."""
    makers = _makers(model)
    for node in model.graph.node:
        if node.op_type == "Conv":
            pairs = [makers.get(source) for source in node.input[:2]]
            quantisers = [makers[pair.input[0]] for pair in pairs if pair and pair.op_type == "DequantizeLinear"]
            if len(quantisers) == 2:
                operand, weights = quantisers
                yield node, operand.input[0], weights


def _rounded(weights: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
    """The weights after QuantizeLinear and DequantizeLinear; `scale` is a number, or one for each output channel."""
    step = scale.astype(np.float64).reshape(-1, *[1] * (weights.ndim - 1))
    return np.asarray(np.clip(np.rint(weights / step), -128, 127) * step)


def _means(
    model: onnx.ModelProto, tensors: Sequence[str], pictures: Iterable[NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    """The mean of each channel of the tensors (B, C, H, W) over all pictures and pixels."""
    probes = [f"mean_{place}" for place in range(len(tensors))]
    for tensor, probe in zip(tensors, probes, strict=True):
        model.graph.node.append(onnx.helper.make_node("GlobalAveragePool", [tensor], [probe]))
    found = _averages(model, probes, pictures)
    return {tensor: found[probe].mean(0).ravel() for tensor, probe in zip(tensors, probes, strict=True)}


def _averages(
    model: onnx.ModelProto, probes: Sequence[str], pictures: Iterable[NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    """The averages over all pictures of tensors that are no outputs of the model."""
    import onnxruntime

    for probe in probes:
        model.graph.output.append(onnx.helper.make_tensor_value_info(probe, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    # Optimised, a pair of QuantizeLinear and DequantizeLinear may be merged into what stands beside it.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    sums: list[Any] = [0.0] * len(probes)
    count = 0
    for picture in pictures if probes else ():
        answers = session.run(probes, {model.graph.input[0].name: picture})
        sums = [sum_ + answer.astype(np.float64) for sum_, answer in zip(sums, answers, strict=True)]
        count += 1
    return {probe: sum_ / count for probe, sum_ in zip(probes, sums, strict=True)}


def _makers(model: onnx.ModelProto) -> dict[str, Any]:
    """The node that each tensor comes from."""
    return {output: node for node in model.graph.node for output in node.output}


def _calibration_reader(name: str, pictures: Iterable[NDArray[Any]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Pictures(CalibrationDataReader):
        def __init__(self) -> None:
            self.remaining = iter(pictures)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            picture = next(self.remaining, None)
            return None if picture is None else {name: picture}

    return Pictures()
