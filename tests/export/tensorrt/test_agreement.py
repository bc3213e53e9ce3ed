"""The newest row of the tables against TensorRT for RTX, which has the newest parser and a real builder.

Left out, because the two are meant to differ: float64, which TensorRT turns into float32 and `lint` refuses; uint8 with
a zero point of 0; NonZero and NonMaxSuppression, whose plugins TensorRT for RTX lacks.
"""

from __future__ import annotations

import platform

import numpy as np
import onnx
import pytest

from kzoo.export.tensorrt import compile_onnx, lint
from kzoo.export.tensorrt.versions import NEWEST
from tests.export.tensorrt.graphs import (
    BOOL,
    FLOAT,
    HALF,
    INT8,
    INT32,
    INT64,
    PICTURE,
    UINT8,
    branches,
    loop,
    model,
    node,
    quantized,
    single,
)

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="tensorrt-rtx exists for x86-64 only"
)

FOUR = np.linspace(0.5, 1.5, 4, dtype=np.float32)
RANDOM = np.random.default_rng(0)


def weights(*shape, dtype=np.float32):
    return RANDOM.standard_normal(shape).astype(dtype)


def conv(operator="Conv", shape=(5, 4, 3, 3), **attributes):
    return single(operator, "x w", {"w": weights(*shape)}, **attributes)


def resize(scale=2, **attributes):
    return single(
        "Resize", "x - s", {"s": np.float32([1, 1, scale, scale])}, opset=attributes.pop("opset", 13), **attributes
    )


def pad(mode):
    return single("Pad", "x p", {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, mode=mode, opset=19)


def einsum(equation, *shapes):
    more = {f"x{index}": (FLOAT, shape) for index, shape in enumerate(shapes)}
    return model([node("Einsum", " ".join(more), equation=equation)], x=None, more=more)


def top_k(k):
    return single("TopK", "x k", {"k": np.array([k])}, x=(FLOAT, (1, 6000)), y={"y": FLOAT, "i": INT64})


def int8_conv(axis=None):
    scale, zero = (np.float32(0.1), np.int8(0)) if axis is None else (np.full(5, 0.1, np.float32), np.zeros(5, np.int8))
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("DequantizeLinear", "w t o", "v", **({} if axis is None else {"axis": axis})),
        node("Conv", "d v"),
    ]
    for index, each in enumerate(nodes):
        each.name += str(index)  # TensorRT wants names of their own for these
    kernel = RANDOM.integers(-127, 128, (5, 4, 3, 3)).astype(np.int8)
    return model(nodes, {"s": np.float32(0.1), "z": np.int8(0), "w": kernel, "t": scale, "o": zero})


def int32_bias():
    nodes = [node("DequantizeLinear", "b s", "d"), node("Add", "x d")]
    return model(nodes, {"b": np.int32([[[[1]]]]), "s": np.float32(0.1)})


def lstm():
    constants = {"w": weights(1, 12, 4), "r": weights(1, 12, 3)}
    return model([node("LSTM", "x w r", hidden_size=3)], constants, x=(FLOAT, (2, 1, 4)))


GRID = {"more": {"g": (FLOAT, (1, 5, 5, 2))}, "opset": 16}
INDEX = {"i": np.array([1, 0])}
POINTS = {"i": np.array([[0], [2]]), "u": np.float32([7, 8])}
ONE_HOT = {"d": np.array([5]), "v": np.float32([0, 1])}
SIZE = {"s": np.array([1, 4, 12, 20])}
VECTOR = {"x": (FLOAT, (4,))}

ACCEPTED = {
    "conv": conv(pads=[1, 1, 1, 1]),
    "conv dilated": conv(dilations=[2, 2], pads=[2, 2, 2, 2]),
    "conv depthwise": conv(shape=(4, 1, 3, 3), group=4),
    "conv grouped": conv(shape=(6, 2, 3, 3), group=2),
    "conv asymmetric": conv(pads=[0, 0, 1, 1], strides=[2, 2]),
    "conv same": conv(auto_pad="SAME_UPPER", strides=[2, 2]),
    "transposed conv": conv("ConvTranspose", (4, 5, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    "transposed conv dilated": conv("ConvTranspose", (4, 5, 3, 3), dilations=[2, 2]),
    "max pool": single("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average pool": single("AveragePool", kernel_shape=[2, 2]),
    "global average pool": single("GlobalAveragePool"),
    "batch norm": single("BatchNormalization", "x c c c c", {"c": FOUR}),
    "resize nearest": resize(mode="nearest"),
    "resize linear": resize(mode="linear"),
    "resize align": resize(mode="linear", coordinate_transformation_mode="align_corners"),
    "resize asymmetric": resize(mode="linear", coordinate_transformation_mode="asymmetric"),
    "resize pytorch": resize(mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
    "resize to a size": single("Resize", "x - - s", SIZE, mode="linear"),
    "relu": single("Relu"),
    "sigmoid": single("Sigmoid"),
    "clip": single("Clip", "x a b", {"a": np.float32(0), "b": np.float32(6)}),
    "softmax": single("Softmax", axis=1),
    "gemm": single("Gemm", "x w", {"w": weights(4, 3)}, x=(FLOAT, (2, 4))),
    "matmul": single("MatMul", "x w", {"w": weights(8, 3)}),
    "argmax": single("ArgMax", axis=1, keepdims=0, y=INT64),
    "argmax uint8": model([node("ArgMax", "x", "a", axis=1), node("Cast", "a", to=UINT8)], y=UINT8),
    "top k": top_k(5),
    "gather": single("Gather", "x i", INDEX, axis=1),
    "one hot": single("OneHot", "x d v", ONE_HOT, x=(INT64, (4,))),
    "where": single("Where", "c x x", more={"c": (BOOL, PICTURE)}),
    "einsum": einsum("nchw,kc->nkhw", PICTURE, (3, 4)),
    "pad": pad("constant"),
    "concat": single("Concat", "x x", axis=1),
    "split": single("Split", y={"y": FLOAT, "z": FLOAT}, axis=1),
    "transpose": single("Transpose", perm=[0, 2, 3, 1]),
    "reduce mean": single("ReduceMean", axes=[2, 3]),
    "uint8 input": single("Cast", x=(UINT8, PICTURE), to=FLOAT),
    "half": single("Add", "x c", {"c": np.float16(1)}, x=(HALF, (4,)), y=HALF),
    "int8 pair": quantized(),
    "int8 conv": int8_conv(),
}
ACCEPTED_LONG = {
    "conv dilated 36": conv(dilations=[36, 36], pads=[36, 36, 36, 36]),
    "int8 conv, a scale a channel": int8_conv(0),
    "resize cubic": resize(mode="cubic"),
    "upsample": single("Upsample", "x s", {"s": np.float32([1, 1, 2, 2])}, opset=9),
    **{
        name.lower(): single(name)
        for name in "Abs Elu Erf Exp HardSigmoid LeakyRelu Neg Selu Softplus Sqrt Tanh".split()
    },
    **{name: single(name, opset=20) for name in ("Gelu", "HardSwish", "Mish")},
    **{
        name.lower(): single(name, axes=[1])
        for name in "ReduceL2 ReduceLogSumExp ReduceMax ReduceMin ReduceProd".split()
    },
    "hardmax": single("Hardmax", axis=1),
    "log softmax": single("LogSoftmax", axis=1),
    "top k, 3840": top_k(3840),
    "gather elements": single("GatherElements", "x i", {"i": np.array([0, 2])}, **VECTOR),
    "gather nd": single("GatherND", "x i", {"i": np.array([[0], [2]])}, **VECTOR),
    "scatter nd": single("ScatterND", "x i u", POINTS, **VECTOR),
    "cumsum": single("CumSum", "x a", {"a": np.array(1)}),
    "einsum, an ellipsis": einsum("...c,kc->...k", (2, 3, 4), (5, 4)),
    "einsum, a diagonal": einsum("ii->i", (4, 4)),
    "einsum, three": einsum("ij,jk,kl->il", (3, 4), (4, 5), (5, 6)),
    "layer norm": single("LayerNormalization", "x c", {"c": weights(8)}, opset=17),
    "group norm": single("GroupNormalization", "x c c", {"c": FOUR}, num_groups=2, opset=21),
    "instance norm": single("InstanceNormalization", "x c c", {"c": FOUR}),
    **{f"pad {mode}": pad(mode) for mode in ("reflect", "edge", "wrap")},
    "grid sample": single("GridSample", "x g", **GRID),
    "if": branches("Abs"),
    "loop": loop(True),
    "lstm": model(
        [node("LSTM", "x w r", hidden_size=3)], {"w": weights(1, 12, 4), "r": weights(1, 12, 3)}, x=(FLOAT, (2, 1, 4))
    ),
    "scatter, int32": single("ArgMax", x=(INT32, (4, 4)), y=INT64),
    "depth to space": single("DepthToSpace", blocksize=2),
}
REJECTED = {
    "max pool dilated": single("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    "max pool with places": single("MaxPool", kernel_shape=[2, 2], y={"y": FLOAT, "i": INT64}),
    "average pool dilated": single("AveragePool", kernel_shape=[2, 2], dilations=[2, 2], opset=19),
    "resize symmetric": resize(mode="linear", coordinate_transformation_mode="half_pixel_symmetric", opset=19),
    "resize antialias": resize(0.5, mode="linear", antialias=1, opset=18),
    "resize crop": single(
        "Resize",
        "x r s",
        {"r": np.zeros(8, np.float32), "s": np.float32([1, 1, 2, 2])},
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
    "resize nearest, TensorFlow's floor": resize(
        coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor"
    ),
    "resize int32": single("Resize", "x - s", {"s": np.float32([1, 1, 2, 2])}, x=(INT32, PICTURE), y=INT32),
    "top k, 5000": top_k(5000),
    "scatter nd, add": single("ScatterND", "x i u", POINTS, reduction="add", opset=16, **VECTOR),
    "einsum, upper case": einsum("IJ,JK->IK", (3, 4), (4, 5)),
    "det": single("Det", x=(FLOAT, (4, 4))),
    "unique": single("Unique", x=(FLOAT, (4,))),
    "bernoulli": single("Bernoulli", opset=15),
    "bitwise and": single("BitwiseAnd", "x x", x=(INT32, (4,)), y=INT32, opset=18),
    "a domain of its own": model([node("Mine", "x", domain="mine")], domain="mine"),
    "half and float": single("Add", "x z", more={"z": (HALF, PICTURE)}),
    "half kernel": single("Conv", "x w", {"w": weights(5, 4, 3, 3, dtype=np.float16)}),
    "matmul int32": single("MatMul", "x x", x=(INT32, (4, 4)), y=INT32),
    "conv integer": single("ConvInteger", "x w", {"w": np.ones((5, 4, 3, 3), np.int8)}, x=(INT8, PICTURE), y=INT32),
    "dynamic quantisation": single("DynamicQuantizeLinear", y={"y": UINT8, "s": FLOAT, "z": UINT8}),
    "zero point 1": quantized(np.int8(1)),
    "uint8, zero point 128": quantized(np.uint8(128)),
    "scale 0": quantized(scale=np.float32(0)),
    "int32 bias": int32_bias(),
    "uint8 transposed": model([node("Transpose", "x", "t"), node("Cast", "t", to=FLOAT)], x=(UINT8, PICTURE)),
    "uint8 inside": model([node("Cast", "x", "t", to=UINT8), node("Cast", "t", to=FLOAT)]),
    "int16": model([node("Cast", "x", "t", to=onnx.TensorProto.INT16), node("Cast", "t", to=FLOAT)]),
    "axes computed": model([node("Cast", "m", "a", to=INT64), node("ReduceSum", "x a")], more={"m": (INT32, (1,))}),
    "training": single("BatchNormalization", "x c c c c", {"c": FOUR}, training_mode=1, opset=15),
    "layer norm with mean": single(
        "LayerNormalization", "x c", {"c": weights(8)}, y={"y": FLOAT, "m": FLOAT}, opset=17
    ),
    "branches of two ranks": branches("ReduceSum"),
}


def agree(graph, accepted):
    report = compile_onnx(graph.SerializeToString())
    assert report.accepted is accepted, report.errors
    assert (lint(graph, NEWEST.name) == []) is accepted, lint(graph, NEWEST.name)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name):
    agree(ACCEPTED[name], True)


@pytest.mark.long
@pytest.mark.parametrize("name", ACCEPTED_LONG)
def test_accepted_long(name):
    agree(ACCEPTED_LONG[name], True)


@pytest.mark.parametrize("name", REJECTED)
def test_rejected(name):
    agree(REJECTED[name], False)
