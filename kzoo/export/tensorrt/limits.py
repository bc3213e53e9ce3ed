"""What TensorRT takes of an operator's attributes, inputs, outputs and types: rules that are rows of a table.

Reference: the column of restrictions in `docs/operators.md` of onnx/onnx-tensorrt (8.4, 8.5, 9.2, 10.15), its change
log, and the assertions in the parser's code of 8.4. `until` is the version of `VERSIONS` that ends a restriction, None
if the newest has it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attribute:
    """An attribute whose value must be one of `allowed`; of a list, each element must."""

    operators: tuple[str, ...]
    name: str
    default: Any
    allowed: tuple[Any, ...]
    mend: str
    until: str | None = None


@dataclass(frozen=True)
class ConstantInput:
    """An input that must be an initializer."""

    operators: tuple[str, ...]
    index: int
    name: str
    mend: str
    until: str | None = None
    since_opset: int = 0


@dataclass(frozen=True)
class ExtraOutput:
    """Outputs from `index` on that TensorRT does not make."""

    operators: tuple[str, ...]
    index: int
    name: str
    mend: str


@dataclass(frozen=True)
class InputType:
    """Element types that an input must not have."""

    operators: tuple[str, ...]
    index: int
    refused: tuple[str, ...]
    mend: str
    until: str | None = None


_POOLS = ("AveragePool", "LpPool", "MaxPool")
_INTEGERS = ("int32", "int64")
_REDUCTIONS = tuple(
    f"Reduce{kind}" for kind in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()
)  # fmt: skip
_FOLD = "fold constants before the export, so that it becomes an initializer"

ATTRIBUTES = (
    Attribute(_POOLS, "dilations", (), (1,), "pool without dilation"),
    Attribute(("Resize",), "antialias", 0, (0,), "resize without antialiasing"),
    Attribute(("Resize",), "keep_aspect_ratio_policy", "stretch", ("stretch",), "give the size that comes out of it"),
    Attribute(
        ("Resize",),
        "coordinate_transformation_mode",
        "half_pixel",
        ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"),
        "use half_pixel or align_corners",
    ),
    # 8.4's parser refuses cubic; 10.15's table does not name it, but the newest parser takes it. Since 8.5 is inferred.
    Attribute(("Resize",), "mode", "nearest", ("nearest", "linear"), "interpolate bilinearly", until="8.5"),
    Attribute(
        ("Pad",), "mode", "constant", ("constant", "reflect", "edge"), "concatenate slices instead", until="10.3"
    ),
    Attribute(("ScatterND",), "reduction", "none", ("none",), "scatter and reduce in separate operators"),
    Attribute(
        ("ScatterElements",), "reduction", "none", ("none",), "multiply by a one-hot matrix instead", until="10.3"
    ),
    Attribute(("BatchNormalization",), "training_mode", 0, (0,), "export the network for inference (training=False)"),
)

CONSTANT_INPUTS = (
    ConstantInput(("TopK",), 1, "K", _FOLD, until="8.6", since_opset=10),
    ConstantInput(_REDUCTIONS, 1, "axes", _FOLD),
    ConstantInput(("Squeeze", "Unsqueeze"), 1, "axes", _FOLD, until="10.13"),
    ConstantInput(("Slice",), 3, "axes", _FOLD, until="10.3"),
    ConstantInput(("CumSum",), 1, "axis", _FOLD, until="10.13"),
    ConstantInput(("OneHot",), 1, "depth", _FOLD),
    ConstantInput(("InstanceNormalization",), 1, "scale", _FOLD, until="8.6"),
    ConstantInput(("InstanceNormalization",), 2, "B", _FOLD, until="8.6"),
    ConstantInput(("Dropout",), 2, "training_mode", "export the network for inference (training=False)"),
)

EXTRA_OUTPUTS = (
    ExtraOutput(("MaxPool",), 1, "Indices", "leave out what needs the places of the maxima"),
    ExtraOutput(("LayerNormalization",), 1, "Mean", "compute mean and deviation by ReduceMean"),
    ExtraOutput(("BatchNormalization",), 1, "running_mean", "export the network for inference (training=False)"),
)

INPUT_TYPES = (
    InputType(("Gather", "GatherElements", "GatherND"), 0, ("bool",), "cast to int32 before and back after", "8.5"),
    InputType(("ArgMax", "ArgMin", "TopK"), 0, _INTEGERS, "cast to float32 before", "8.6"),
    InputType(("Pow",), 0, _INTEGERS, "cast to float32 before, or multiply", "10.13"),
    InputType(
        ("Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul", "Resize"), 0, (*_INTEGERS, "bool"), "cast to float32"
    ),
)
