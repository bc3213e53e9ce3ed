"""ONNX operators that TensorRT's parser takes, by the version of `VERSIONS` that first has them.

Reference: `docs/operators.md` and `docs/Changelog.md` of onnx/onnx-tensorrt: the tables of 8.4, 8.5, 9.2 and 10.15, and
what changed between them. `Reciprocal` is in the parser's code all along, though 8.4's table denies it.
"""

from __future__ import annotations

from kzoo.export.tensorrt.versions import VERSIONS, TensorRT

_FIRST = {
    "8.2": """
        Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
        Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
        Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool
        GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GRU HardSigmoid Identity If ImageScaler
        InstanceNormalization IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool
        MatMul Max MaxPool Mean Min Mul Neg NonMaxSuppression Not Or Pad ParametricSoftplus Pow PRelu QuantizeLinear
        RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
        ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RNN Round
        ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice Softmax Softplus
        Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze
        Upsample Where
    """,
    "8.4": "HardSwish Shrink Xor",
    "8.5": """
        GridSample MeanVarianceNormalization Mod NonZero OneHot RandomNormal RandomNormalLike RoiAlign Trilu
    """,
    "8.6": "GroupNormalization IsInf LayerNormalization",
    "10.3": "CastLike DeformConv Hardmax",
    # Gelu and Mish: from 10.15's table; when between 9.2 and 10.15 they came is not told.
    "10.13": "BlackmanWindow Gelu HammingWindow HannWindow Mish STFT",
    "10.16": "Attention RMSNormalization RotaryEmbedding TensorScatter",
}
FIRST_VERSION = {operator: version for version, names in _FIRST.items() for operator in names.split()}

_QUANTIZE = "quantise with QuantizeLinear/DequantizeLinear pairs (`kzoo export --precision int8`)"
_MENDS = {
    "ConvInteger": _QUANTIZE,
    "DynamicQuantizeLinear": f"calibrate the scales before: {_QUANTIZE}",
    "MatMulInteger": _QUANTIZE,
    "QLinearConv": _QUANTIZE,
    "QLinearMatMul": _QUANTIZE,
    "Gelu": "export it as x * (1 + Erf(x / sqrt(2))) / 2",
    "HardSwish": "export it as x * HardSigmoid(x)",
    "LayerNormalization": "export it as ReduceMean, Sub, Mul, Sqrt, Div",
    "Mod": "compute x - y * Floor(x / y)",
    "NonZero": "keep shapes static: multiply by a mask instead of choosing by one",
    "OneHot": "compare with a constant vector of the classes (Equal, Cast)",
}


def unsupported(operator: str, version: TensorRT) -> tuple[str, str] | None:
    """What TensorRT of this version lacks of an operator of ONNX' own domain, and how to mend it; None if nothing."""
    first = FIRST_VERSION.get(operator)
    if first is not None and not version.before(first):
        return None
    mend = _MENDS.get(operator, "compose it of supported operators, or leave it to code after the network")
    if first is None:
        return f"no version of TensorRT up to {VERSIONS[-1].name} has this operator", mend
    jetpack = next(known.jetpacks[0] for known in VERSIONS if known.name == first)
    return f"TensorRT has this operator since {first} only (JetPack {jetpack})", mend
