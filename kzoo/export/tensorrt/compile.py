"""A trial compilation of an ONNX model by TensorRT for RTX, whose builder works without a GPU.

It is the newest ONNX parser and a real compiler: what it refuses, no TensorRT takes, but for `NonZero` and
`NonMaxSuppression`, whose plugins it lacks. What it takes, an older TensorRT may refuse (see `lint`), and its engine
runs on no Jetson: its targets are desktop GPUs of compute capability 7.5 to 12.1.
"""

from __future__ import annotations

import importlib
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSTALL = "pip install tensorrt-rtx==1.7.1.116"

# A batch of unknown size is compiled for 1 to 4 pictures, tuned for 1.
_BATCHES = (1, 1, 4)


@dataclass(frozen=True)
class ParseError:
    """Why a node was refused: its name (or the tensor it makes), its operator, the parser's reason."""

    node: str
    operator: str
    reason: str


@dataclass(frozen=True)
class CompileReport:
    """What came of a trial compilation.

    Attributes:
        accepted: whether an engine was built.
        errors: what the parser or the builder refused; the builder names no node.
        layers: layers of the network that the parser made.
        kernels: layers of the engine, after fusion; None where the builder's log has no list of them.
        reorders: those of them that only move data into another order: transposes that could not be fused, and what the
            compiler put in around operators that want another order; None likewise.
        engine_bytes: the size of the engine, 0 without one.
        seconds: parsing and building together.
        version: of TensorRT for RTX.
        log: warnings and errors, in order.
    """

    accepted: bool
    errors: tuple[ParseError, ...]
    layers: int
    kernels: int | None
    reorders: int | None
    engine_bytes: int
    seconds: float
    version: str
    log: tuple[str, ...]

    def check(self) -> None:
        """Raises `ValueError` with all errors if no engine was built."""
        if not self.accepted:
            listed = "\n".join(f"- {error.operator} {error.node}: {error.reason}".rstrip() for error in self.errors)
            raise ValueError(f"TensorRT for RTX {self.version} does not take this model:\n{listed}")


def compile_onnx(model: str | Path | bytes, compute_capability: str | None = None) -> CompileReport:
    """Parses and compiles a model on the CPU.

    Args:
        model: the path of an ONNX file, or its bytes. A dynamic batch is compiled for 1 to 4.
        compute_capability: of the GPU to compile for, e.g. `"8.6"`; by default an engine for all from 8.0 on.

    Returns:
        A report, also for a model that is refused.

    Raises: `ImportError` without `tensorrt-rtx`; `FileNotFoundError`; `ValueError` for an unknown compute capability,
        or an input whose height or width is dynamic.
    """
    trt = _tensorrt_rtx()
    logger = _logger(trt)
    builder = trt.Builder(logger)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if compute_capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(trt, compute_capability), 0)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    start = time.perf_counter()
    if isinstance(model, bytes):
        parsed = parser.parse(model)
    elif Path(model).is_file():
        parsed = parser.parse_from_file(str(model))
    else:
        raise FileNotFoundError(2, "No such ONNX file", str(model))
    errors = [_parse_error(parser.get_error(index)) for index in range(parser.num_errors)]
    plan = None
    if parsed:
        _set_batch(builder, config, network)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            errors += [ParseError("", "builder", message) for message in logger.errors]
    seconds = time.perf_counter() - start
    kernels = logger.kernels() if plan is not None else None
    return CompileReport(
        accepted=plan is not None,
        errors=tuple(dict.fromkeys(errors)),
        layers=network.num_layers,
        kernels=None if kernels is None else len(kernels),
        reorders=None if kernels is None else sum(1 for name, kind in kernels if _is_reorder(name, kind)),
        engine_bytes=0 if plan is None else plan.nbytes,
        seconds=seconds,
        version=trt.__version__,
        log=tuple(logger.kept),
    )


def _tensorrt_rtx() -> Any:
    try:
        return importlib.import_module("tensorrt_rtx")
    except ImportError as error:
        if platform.machine().lower() not in ("x86_64", "amd64"):
            reason = f"It exists for x86-64 only, this machine is {platform.machine()}: compile on another one."
        else:
            reason = f"Install it with `{INSTALL}`."
        raise ImportError(f"The trial compilation needs the package tensorrt-rtx. {reason}") from error


def _capability(trt: Any, name: str) -> Any:
    """TensorRT's constant for a compute capability, e.g. SM86 for "8.6"."""
    known = {f"{text[2:-1]}.{text[-1]}": text for text in dir(trt.ComputeCapability) if re.fullmatch(r"SM\d+", text)}
    if name not in known:
        listed = ", ".join(sorted(known, key=float))
        raise ValueError(f"Unknown compute capability {name!r}. Expected one of: {listed}.")
    return getattr(trt.ComputeCapability, known[name])


def _is_reorder(name: str, kind: str) -> bool:
    """Whether an engine's layer only moves data; a fused one names all its operations, e.g. `__myl_TranMul_...`."""
    return "reformat" in kind.lower() or re.match(r"__myl_(Tran|Move)+_", name) is not None


def _parse_error(error: Any) -> ParseError:
    node = error.node_name() or f"number {error.node()}"
    # The last lines tell that there is no GPU, whatever was wrong.
    lines = [line for line in error.desc().splitlines() if "cudaError" not in line]
    return ParseError(node, error.node_operator(), " ".join(" ".join(lines).split()))


def _set_batch(builder: Any, config: Any, network: Any) -> None:
    """A profile for inputs whose batch is dynamic."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if all(-1 not in tuple(tensor.shape) for tensor in inputs):
        return
    profile = builder.create_optimization_profile()
    for tensor in inputs:
        shape = tuple(tensor.shape)
        if -1 in shape[1:]:
            raise ValueError(
                f"Input {tensor.name!r} has the shape {shape}: only the first axis, the batch, may be dynamic. Export "
                "with a fixed height and width."
            )
        profile.set_shape(tensor.name, *((batch, *shape[1:]) if shape[:1] == (-1,) else shape for batch in _BATCHES))
    config.add_optimization_profile(profile)


def _logger(trt: Any) -> Any:
    """A logger that prints nothing; its base class exists only where the package does."""
    severity = trt.ILogger.Severity

    class Collector(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []
            self.kept: list[str] = []
            self._layers = ""

        def log(self, level: Any, message: str) -> None:
            if "cudaError" in message:  # there is no GPU, which the builder wonders at after every failure
                return
            if level in (severity.ERROR, severity.INTERNAL_ERROR, severity.WARNING):
                self.kept.append(message)
                if level != severity.WARNING:
                    self.errors.append(message)
            elif message.startswith("Layers:\n"):
                self._layers += message

        def kernels(self) -> list[tuple[str, str]] | None:
            """Names and types of the engine's layers."""
            return re.findall(r"^Name: (.*?), LayerType: ([^,]*),", self._layers, re.MULTILINE) or None

    return Collector()
