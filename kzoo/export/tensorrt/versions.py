"""Which TensorRT a Jetson has: versions, JetPacks, boards, and what each takes at a network's ends.

References: NVIDIA's JetPack archive; "Migrating TensorRT from 10.x to 11.x on Jetson/JetPack" and the "ONNX Opset
Guide" of TensorRT 11.4.1; `docs/operators.md` of onnx/onnx-tensorrt for 8.2 to 10.15. What was not found in such a
source is told in `TensorRT.inferred`.
"""

from __future__ import annotations

from dataclasses import dataclass

# TensorFlow exports are converted by tf2onnx up to opset 18, whose reductions take their axes as inputs. Nothing that
# kzoo's networks need came after 17.
_NEWEST_ADVISED_OPSET = 17

# The modules with accelerators; NVIDIA's data sheets.
_XAVIERS = ("AGX Xavier", "Xavier NX")
_ORINS = ("AGX Orin", "Orin NX")

_FLOATS_AND_INTS = frozenset({"float32", "float16", "int32", "int8", "bool"})
_WITH_UINT8 = _FLOATS_AND_INTS | {"uint8"}
_WITH_INT64 = _WITH_UINT8 | {"int64", "bfloat16"}


@dataclass(frozen=True)
class Board:
    """A family of Jetson boards and what its hardware computes in.

    Attributes:
        name: the family.
        compute_capability: of its GPU.
        int8: whether the GPU has INT8 arithmetic; all of them have FP16.
    """

    name: str
    compute_capability: str
    int8: bool


# NVIDIA's support matrices ("Hardware and Precision").
BOARDS = {
    board.name: board
    for board in (
        Board("Nano", "5.3", int8=False),
        Board("TX2", "6.2", int8=False),
        Board("Xavier", "7.2", int8=True),
        Board("Orin", "8.7", int8=True),
        Board("Thor", "11.0", int8=True),
    )
}


@dataclass(frozen=True)
class TensorRT:
    """One version of TensorRT, as far as a JetPack brings it.

    Attributes:
        name: major and minor version, which operators and types depend on.
        release: the release in the JetPack.
        jetpacks: the JetPacks that have it, oldest first.
        l4t: their Jetson Linux.
        cuda: their CUDA.
        python: the Python that its `tensorrt` module is for.
        boards: names of `BOARDS` that these JetPacks run on.
        opset: the newest ONNX opset that its parser takes.
        advised_opset: the one to export with.
        io_types: element types that a network's inputs and outputs may have.
        dla: modules whose deep-learning accelerators (DLA) it reaches.
        inferred: what of the above is not documented, and why it is believed.
    """

    name: str
    release: str
    jetpacks: tuple[str, ...]
    l4t: str
    cuda: str
    python: str
    boards: tuple[str, ...]
    opset: int
    advised_opset: int
    io_types: frozenset[str]
    dla: tuple[str, ...] = ()
    inferred: tuple[str, ...] = ()

    @property
    def number(self) -> tuple[int, int]:
        """Major and minor version, to compare by."""
        return _number(self.name)

    def before(self, name: str) -> bool:
        """Whether this version is older than `name`, e.g. `"10.12"`."""
        return self.number < _number(name)

    @property
    def types(self) -> frozenset[str]:
        """Element types of tensors inside a network.

        INT64 is taken by every version (8.x turns it into INT32), UINT8 by none except at the ends.
        """
        quantised = frozenset() if self.before("10.3") else frozenset({"float8e4m3fn", "int4"})
        return (self.io_types - {"uint8"}) | {"int64"} | quantised


def _number(name: str) -> tuple[int, int]:
    major, minor = name.split(".")
    return int(major), int(minor)


VERSIONS = (
    TensorRT(
        name="8.2",
        release="8.2.1",
        jetpacks=("4.6.1", "4.6.2", "4.6.3", "4.6.4", "4.6.5", "4.6.6"),
        l4t="32.7",
        cuda="10.2",
        python="3.6",
        boards=("Nano", "TX2", "Xavier"),
        opset=13,
        advised_opset=13,
        io_types=_FLOATS_AND_INTS,
        dla=_XAVIERS,
    ),
    TensorRT(
        name="8.4",
        release="8.4.1",
        jetpacks=("5.0.2",),
        l4t="35.1",
        cuda="11.4",
        python="3.8",
        boards=("Xavier", "Orin"),
        opset=17,
        advised_opset=13,
        io_types=_FLOATS_AND_INTS,
        dla=(*_XAVIERS, *_ORINS),
        inferred=(
            "opset: 17 is what 8.4's later pages say, 13 what its first said; 8.4.1 lies between, so export with 13",
        ),
    ),
    TensorRT(
        name="8.5",
        release="8.5.2",
        jetpacks=("5.1", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.5", "5.1.6"),
        l4t="35.2 to 35.6",
        cuda="11.4",
        python="3.8",
        boards=("Xavier", "Orin"),
        opset=17,
        advised_opset=_NEWEST_ADVISED_OPSET,
        io_types=_WITH_UINT8,
        dla=(*_XAVIERS, *_ORINS),
    ),
    TensorRT(
        name="8.6",
        release="8.6.2",
        jetpacks=("6.0",),
        l4t="36.3",
        cuda="12.2",
        python="3.10",
        boards=("Orin",),
        opset=17,
        advised_opset=_NEWEST_ADVISED_OPSET,
        io_types=_WITH_UINT8,
        dla=_ORINS,
    ),
    TensorRT(
        name="10.3",
        release="10.3.0",
        jetpacks=("6.1", "6.2", "6.2.1", "6.2.2"),
        l4t="36.4 to 36.5",
        cuda="12.6",
        python="3.10",
        boards=("Orin",),
        opset=20,
        advised_opset=_NEWEST_ADVISED_OPSET,
        io_types=_WITH_INT64,
        dla=_ORINS,
        inferred=("JetPack 6.2.2: that its TensorRT is 6.2.1's", "opset: from TensorRT 10.0's page"),
    ),
    TensorRT(
        name="10.13",
        release="10.13",
        jetpacks=("7.0", "7.1"),
        l4t="38.2 to 38.4",
        cuda="13.0",
        python="3.12",
        boards=("Thor",),
        opset=24,
        advised_opset=_NEWEST_ADVISED_OPSET,
        io_types=_WITH_INT64,
        inferred=("release: from the dates of JetPack and TensorRT", "opset: from third parties"),
    ),
    TensorRT(
        name="10.16",
        release="10.16.1",
        jetpacks=("7.2", "7.2.1"),
        l4t="39.0 to 39.1",
        cuda="13.2",
        python="3.12",
        boards=("Thor", "Orin"),
        opset=24,
        advised_opset=_NEWEST_ADVISED_OPSET,
        io_types=_WITH_INT64,
        inferred=("release: from what jetson-containers builds with", "opset: from TensorRT 10.15's page"),
    ),
    TensorRT(
        name="11.4",
        release="11.4.1",
        jetpacks=("7.2.2",),
        l4t="39.2",
        cuda="13.2",
        python="3.12",
        boards=("Thor", "Orin"),
        opset=25,
        advised_opset=_NEWEST_ADVISED_OPSET,
        io_types=_WITH_INT64,
        dla=("AGX Orin",),
        inferred=("CUDA: that of JetPack 7.2",),
    ),
)
NEWEST = VERSIONS[-1]


def for_jetpack(name: str) -> TensorRT:
    """The TensorRT of a JetPack.

    Args:
        name: e.g. `"6.2"` or `"4.6.1"`.

    Raises: `ValueError` for a JetPack that is not in the table, with those that are.
    """
    for version in VERSIONS:
        if str(name) in version.jetpacks:
            return version
    known = "; ".join(f"{', '.join(version.jetpacks)} (TensorRT {version.name})" for version in VERSIONS)
    raise ValueError(
        f"Unknown JetPack {name!r}. Expected one of: {known}. On a Jetson `apt show nvidia-jetpack` tells."
    )


def for_tensorrt(name: str) -> TensorRT:
    """A version of TensorRT by its number.

    Args:
        name: e.g. `"8.2"`; what follows major and minor (`"8.2.1.9"`) is of no account.

    Raises: `ValueError` for a version that no JetPack of the table has, with those that are known.
    """
    short = ".".join(str(name).split(".")[:2])
    for version in VERSIONS:
        if version.name == short:
            return version
    known = ", ".join(f"{version.name} (JetPack {version.jetpacks[0]})" for version in VERSIONS)
    raise ValueError(f"Unknown TensorRT version {name!r}. Expected one of: {known}.")
