"""Reads `NAME.onnx.json`, in which `kzoo export` says what the network takes and gives."""

import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

from .errors import NetworkFileError
from .files import sha256_of

VERSION = 1
PRECISIONS = ("fp32", "fp16", "int8")
INPUT_TYPES = ("float32", "uint8")
OUTPUT_TYPES = {"logits": ("float32",), "classes": ("int32", "uint8")}
OUTPUT_LAYOUTS = {"logits": ("NHWC", "NCHW"), "classes": ("NHW",)}


class Tensor(NamedTuple):
    """What goes in, or comes out; the first side of the shape is -1 where the number of pictures is open."""

    name: str
    shape: Tuple[int, ...]
    layout: str
    type: str


class Sidecar(NamedTuple):
    """A network's file, what goes in and out of it, and what its classes are called and coloured."""

    onnx: Path
    sha256: str
    precision: str
    input: Tensor
    output: Tensor
    kind: str  # "logits" or "classes"
    classes: List[str]
    palette: List[Tuple[int, int, int]]
    ignore_label: int

    @property
    def size(self) -> Tuple[int, int]:
        """Height and width of the pictures that the network takes."""
        shape = self.input.shape
        return (shape[1], shape[2]) if self.input.layout == "NHWC" else (shape[2], shape[3])

    @property
    def dynamic(self) -> bool:
        """Whether the number of pictures is left open."""
        return self.input.shape[0] == -1


def read_sidecar(onnx: Path) -> Sidecar:
    """The sidecar of an ONNX file, which itself need not be there.

    Raises:
        NetworkFileError: the sidecar is missing, is no JSON, or says what these scripts cannot do.
    """
    path = onnx.with_name(onnx.name + ".json")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NetworkFileError(f"{path} is missing: copy it from where `kzoo export` wrote it.") from None
    except ValueError as error:
        raise NetworkFileError(f"{path} is no JSON ({error}): copy it again.") from None
    try:
        return _checked(onnx, fields)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise NetworkFileError(f"{path} is no sidecar that these scripts know: {what}.") from None


def check_onnx(sidecar: Sidecar) -> None:
    """Checks that the ONNX file is the one that the sidecar was written for.

    Raises:
        NetworkFileError: it is missing or another.
    """
    if not sidecar.onnx.is_file():
        raise NetworkFileError(f"There is no network {sidecar.onnx}.")
    found = sha256_of(sidecar.onnx)
    if found != sidecar.sha256:
        raise NetworkFileError(
            f"{sidecar.onnx} is not the file that its sidecar was written for (SHA-256 {found[:12]}..., "
            f"expected {sidecar.sha256[:12]}...): copy both again."
        )


def _checked(onnx: Path, fields: Dict[str, Any]) -> Sidecar:
    _expect("kzoo_sidecar", fields["kzoo_sidecar"], (VERSION,))
    _expect("format", fields["format"], ("onnx",))
    _expect("precision", fields["precision"], PRECISIONS)
    kind = fields["output"]["kind"]
    _expect("output.kind", kind, tuple(OUTPUT_TYPES))
    _expect("input.layout", fields["input"]["layout"], ("NHWC", "NCHW"))
    _expect("input.type", fields["input"]["type"], INPUT_TYPES)
    _expect("input.color", fields["input"]["color"], ("RGB",))
    _expect("input.range", fields["input"]["range"], ([0, 255],))
    _expect("output.layout", fields["output"]["layout"], OUTPUT_LAYOUTS[kind])
    _expect("output.type", fields["output"]["type"], OUTPUT_TYPES[kind])
    sidecar = Sidecar(
        onnx=onnx,
        sha256=str(fields["sha256"]),
        precision=fields["precision"],
        input=_tensor(fields["input"]),
        output=_tensor(fields["output"]),
        kind=kind,
        classes=[str(name) for name in fields["classes"]],
        palette=[(int(r), int(g), int(b)) for r, g, b in fields["palette"]],
        ignore_label=int(fields["ignore_label"]),
    )
    classes = len(sidecar.classes)
    if not 1 <= classes <= 255 or len(sidecar.palette) != classes:
        raise ValueError(f"{classes} classes and {len(sidecar.palette)} colours")
    pictures, (height, width) = sidecar.input.shape[0], sidecar.size
    sizes = {"H": height, "W": width, "N": pictures}
    for tensor, channels in ((sidecar.input, 3), (sidecar.output, classes)):
        expected = tuple(dict(sizes, C=channels)[letter] for letter in tensor.layout)
        if tensor.shape != expected:
            raise ValueError(f"{tensor.name} has shape {list(tensor.shape)}, expected {list(expected)}")
    if height < 1 or width < 1 or (pictures < 1 and pictures != -1):
        raise ValueError(f"{sidecar.input.name} has shape {list(sidecar.input.shape)}")
    return sidecar


def _tensor(fields: Dict[str, Any]) -> Tensor:
    shape = tuple(int(side) for side in fields["shape"])
    if len(shape) != len(fields["layout"]):
        raise ValueError("shape {} does not fit layout {}".format(list(shape), fields["layout"]))
    return Tensor(str(fields["name"]), shape, fields["layout"], fields["type"])


def _expect(field: str, value: Any, known: Tuple[Any, ...]) -> None:
    if value not in known:
        raise ValueError("{} is {!r}, expected {}".format(field, value, " or ".join(map(repr, known))))
