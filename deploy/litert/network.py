"""A .tflite network on LiteRT: threads, delegates, and the tensors' own scales and zero points."""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from errors import COMMAND_LINE, DELEGATE, NETWORK, SIDECAR, DeviceError
from sidecar import open_sidecar

DELEGATES = "xnnpack (the default, on the CPU), none, gpu, or a library's path such as libedgetpu.so.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every script needs to open a network."""
    parser.add_argument("network", metavar="FILE.tflite", help="what `kzoo export --format litert` wrote")
    parser.add_argument("--sidecar", metavar="JSON", help="by default FILE.tflite.json, or what is inside the file")
    parser.add_argument(
        "--threads", type=int, default=min(4, os.cpu_count() or 1), metavar="N", help="CPU threads (%(default)s)"
    )
    parser.add_argument("--delegate", default="xnnpack", metavar="NAME", help=DELEGATES)


def open_network(args: argparse.Namespace) -> tuple[Network, dict[str, Any]]:
    """The network and its sidecar; raises as `open_sidecar` and `Network` do."""
    sidecar = open_sidecar(args.network, args.sidecar)
    return Network(args.network, sidecar, args.threads, args.delegate), sidecar


class Network:
    """Takes pictures (H, W, 3) uint8 RGB at the network's size; returns logits or classes.

    Args:
        path: the .tflite file.
        sidecar: what `open_sidecar` returned for it.
        threads: of the CPU.
        delegate: one of `DELEGATES`.

    Attributes:
        size: (height, width) of the pictures.
        seconds: of the last call: `copy` into and out of the tensors, with quantisation, and `invoke`.

    Raises:
        DeviceError: `NETWORK`: LiteRT refuses the file. `SIDECAR`: the file's tensors are not the sidecar's.
            `DELEGATE`: the delegate does not load, or refuses the network. `COMMAND_LINE`: threads below 1.
    """

    def __init__(
        self, path: str | os.PathLike[str], sidecar: dict[str, Any], threads: int, delegate: str = "xnnpack"
    ) -> None:
        if threads < 1:
            raise DeviceError(COMMAND_LINE, f"--threads is at least 1, received {threads}.")
        delegates = [] if delegate in ("xnnpack", "none", "gpu") else [_library(delegate)]
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if delegate == "none" else OpResolverType.AUTO
        try:
            self._interpreter = Interpreter(
                model_path=os.fspath(path),
                num_threads=threads,
                experimental_delegates=delegates,
                experimental_op_resolver_type=resolver,
            )
            self._input, self._output = _tensors(self._interpreter, sidecar)
            if delegate != "gpu":
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            if delegates:
                raise DeviceError(DELEGATE, f"{delegate} does not take the network {str(path)!r}: {error}") from None
            hint = " It is compiled for a Coral: use --delegate libedgetpu.so.1." if "edgetpu" in str(error) else ""
            raise DeviceError(NETWORK, f"LiteRT refuses {str(path)!r}: {error}.{hint}") from None
        self._gpu = _Gpu(path) if delegate == "gpu" else None
        self.size: tuple[int, int] = tuple(self._input["shape"][1:3].tolist())
        self.seconds: dict[str, float] = {}
        self._values = _quantised_values(self._input)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Runs one picture.

        Args:
            picture: (H, W, 3) uint8, RGB, of `size`.

        Returns:
            Logits (H, W, C) float32, or classes (H, W) of the network's own integer type.
        """
        start = time.perf_counter()
        # 256 values are quantised once, not every pixel of every picture. `take` is faster than indexing.
        tensor = self._values.take(picture)[np.newaxis]
        if self._gpu is None:
            self._interpreter.set_tensor(self._input["index"], tensor)
            copied = time.perf_counter()
            self._interpreter.invoke()
            invoked = time.perf_counter()
            result = self._interpreter.get_tensor(self._output["index"])
        else:
            self._gpu.write(tensor)
            copied = time.perf_counter()
            self._gpu.invoke()
            invoked = time.perf_counter()
            result = self._gpu.read(self._output)
        result = _real_values(result[0], self._output)
        self.seconds = {"copy": copied - start + time.perf_counter() - invoked, "invoke": invoked - copied}
        return result


class _Gpu:
    """LiteRT's compiled model on the GPU (WebGPU over Vulkan on Linux), which has another API than the interpreter."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            from ai_edge_litert.compiled_model import CompiledModel
            from ai_edge_litert.hardware_accelerator import HardwareAccelerator

            # The GPU alone: with the CPU allowed, too, a missing driver would go unnoticed.
            self._model = CompiledModel.from_file(os.fspath(path), hardware_accel=HardwareAccelerator.GPU)
            self._inputs, self._outputs = self._model.create_input_buffers(0), self._model.create_output_buffers(0)
        except (ImportError, RuntimeError, ValueError) as error:
            raise DeviceError(
                DELEGATE,
                "The GPU delegate does not load, or does not take the whole network: it needs a Vulkan driver "
                "(Debian: apt install libvulkan1 mesa-vulkan-drivers) and ai-edge-litert 2.3 or newer. "
                f"What LiteRT printed above tells more. {error}",
            ) from None

    def write(self, tensor: np.ndarray) -> None:
        self._inputs[0].write(tensor)

    def invoke(self) -> None:
        self._model.run_by_index(0, self._inputs, self._outputs)

    def read(self, details: dict[str, Any]) -> np.ndarray:
        shape = details["shape"]
        return self._outputs[0].read(int(np.prod(shape)), details["dtype"]).reshape(shape)


def _library(path: str) -> Any:
    """A delegate's shared library; looked at before LiteRT loads it, whose own errors come with a traceback."""
    try:
        is_delegate = hasattr(ctypes.CDLL(path), "tflite_plugin_create_delegate")
    except OSError as error:
        raise DeviceError(DELEGATE, f"The delegate {path!r} does not load: {error}. Expected {DELEGATES}.") from None
    if not is_delegate:
        raise DeviceError(DELEGATE, f"{path!r} is no delegate: it has no function tflite_plugin_create_delegate.")
    try:
        return load_delegate(path)
    except ValueError as error:  # e.g. no Edge TPU is plugged in
        raise DeviceError(DELEGATE, f"The delegate {path!r} does not start: is its device there? {error}") from None


def _tensors(interpreter: Any, sidecar: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The details of the input and the output, if they are what the sidecar says."""
    found = []
    for side, tensors in (("input", interpreter.get_input_details()), ("output", interpreter.get_output_details())):
        expected = [(list(sidecar[side]["shape"]), sidecar[side]["type"])]
        received = [(tensor["shape"].tolist(), np.dtype(tensor["dtype"]).name) for tensor in tensors]
        if received != expected:
            raise DeviceError(SIDECAR, f"The network's {side} is {received}, its sidecar says {expected}.")
        found.append(tensors[0])
    return found[0], found[1]


def _quantised_values(tensor: dict[str, Any]) -> np.ndarray:
    """The 256 values of a picture as the input tensor holds them."""
    values, dtype = np.arange(256, dtype=np.float32), np.dtype(tensor["dtype"])
    scale, zero_point = tensor["quantization"]
    if scale:
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values / scale + zero_point), limits.min, limits.max)
    return values.astype(dtype)


def _real_values(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """What the output tensor's values stand for; classes and floats are themselves."""
    scale, zero_point = tensor["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values
