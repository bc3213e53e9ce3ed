"""A TensorRT for the CPU: with exactly the names of one version, and ONNX Runtime to compute.

`make_tensorrt("8.2.1")` is such a module. A name that the version does not have raises AttributeError, read or
written. An "engine" is a line of JSON that tells how it was built, followed by the ONNX file. Copied beside
`tensorrt_names.json` as `tensorrt.py`, this file is the module of the version that FAKE_TENSORRT names.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import sys
import types
import weakref
from pathlib import Path
from typing import Any

import numpy as np

DOCUMENT = json.loads(Path(__file__).with_name("tensorrt_names.json").read_text())
VERSIONS = DOCUMENT["versions"]
TYPES = {"tensor(float)": "FLOAT", "tensor(int32)": "INT32", "tensor(uint8)": "UINT8"}
NUMPY = {"FLOAT": np.float32, "INT32": np.int32, "UINT8": np.uint8}
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def names_of(version: str) -> dict[str, set[str]]:
    """Each class of a version, and its attributes."""
    names: dict[str, set[str]] = {}
    for name, steps in DOCUMENT["classes"].items():
        for step in VERSIONS[: VERSIONS.index(version) + 1]:
            if step in steps:
                added, removed = (set(steps[step].get(change, ())) for change in ("add", "remove"))
                names[name] = (names.get(name, set()) | added) - removed
    return names


class Limited:
    """Has the attributes that `allowed` names; those that begin with an underscore are the fake's own."""

    allowed: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in type(self).allowed:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in type(self).allowed:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        object.__setattr__(self, name, value)


def make_tensorrt(version: str) -> types.ModuleType:
    """The module of a version."""
    names = names_of(version)
    module = types.ModuleType("tensorrt")
    module.__version__ = version
    for name in ("BuilderFlag", "DataType", "DeviceType", "MemoryPoolType", "NetworkDefinitionCreationFlag"):
        if name in names:
            setattr(module, name, enum.IntEnum(name, sorted(names[name]), start=0))

    def limited(cls: type) -> type:
        cls.allowed = names[cls.__name__]
        if cls.__name__ in ("Builder", "Logger", "OnnxParser", "Runtime"):  # the others are made by these
            setattr(module, cls.__name__, cls)
        return cls

    @limited
    class Logger(Limited):
        VERBOSE, WARNING = "VERBOSE", "WARNING"

        def __init__(self, severity: str) -> None:
            self._severity = severity

    @limited
    class ITensor(Limited):
        def __init__(self, tensor: Any) -> None:
            self.name = tensor.name
            self.shape = tuple(side if isinstance(side, int) else -1 for side in tensor.shape)
            self.dtype = getattr(module.DataType, TYPES[tensor.type])

    @limited
    class INetworkDefinition(Limited):
        def __init__(self) -> None:
            self._parser: Any = lambda: None
            self.num_inputs = self.num_outputs = self.num_layers = 0

        def get_input(self, index: int) -> ITensor:
            return ITensor(self._session.get_inputs()[index])

        def get_output(self, index: int) -> ITensor:
            return ITensor(self._session.get_outputs()[index])

        def get_layer(self, index: int) -> int:
            return index

    @limited
    class IOptimizationProfile(Limited):
        def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
            self._shapes = {name: [list(shape) for shape in shapes]}

    @limited
    class IHostMemory(Limited):
        def __init__(self, data: bytes) -> None:
            self._data = data

        def __bytes__(self) -> bytes:
            return self._data

    @limited
    class ITimingCache(Limited):
        def __init__(self, data: bytes) -> None:
            self._data = data

        def serialize(self) -> IHostMemory:
            return IHostMemory(self._data + b"measured.")

    @limited
    class IBuilderConfig(Limited):
        def __init__(self) -> None:
            self._built: dict[str, Any] = {"flags": [], "profiles": []}

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if not name.startswith("_"):
                self._built[name] = getattr(value, "name", value)

        def set_flag(self, flag: Any) -> None:
            self._built["flags"].append(flag.name)

        def set_memory_pool_limit(self, pool: Any, size: int) -> None:
            self._built["pool " + pool.name] = size

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            self._built["profiles"].append(profile._shapes)
            return len(self._built["profiles"]) - 1

        def can_run_on_DLA(self, layer: int) -> bool:  # noqa: N802
            return layer < int(os.environ.get("FAKE_DLA_LAYERS", "1"))

        def create_timing_cache(self, data: bytes) -> ITimingCache:
            return ITimingCache(data)

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            if ignore_mismatch or cache._data.startswith(b"of another GPU"):
                return False
            self._cache = cache
            return True

        def get_timing_cache(self) -> ITimingCache:
            return self._cache

    @limited
    class ParserError(Limited):
        def node(self) -> int:
            return 3

        def node_operator(self) -> str:
            return "NonZero"

        def desc(self) -> str:
            return "no importer registered"

    @limited
    class OnnxParser(Limited):
        def __init__(self, network: INetworkDefinition, logger: Logger) -> None:
            self._network = network
            self.num_errors = 0

        def parse_from_file(self, path: str) -> bool:
            import onnxruntime

            try:
                session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            except Exception:
                self.num_errors = 1
                return False
            network = self._network
            network._session, network._onnx = session, Path(path).read_bytes()
            network.num_inputs, network.num_outputs = len(session.get_inputs()), len(session.get_outputs())
            network.num_layers = 3
            network._parser = weakref.ref(self)
            return True

        def get_error(self, index: int) -> ParserError:
            return ParserError()

    @limited
    class Builder(Limited):
        def __init__(self, logger: Logger) -> None:
            self._logger = logger
            self.num_DLA_cores = int(os.environ.get("FAKE_DLA_CORES", "2"))
            if "platform_has_fast_int8" in type(self).allowed:
                self.platform_has_fast_int8 = os.environ.get("FAKE_INT8") != "0"

        def create_network(self, flags: int) -> INetworkDefinition:
            network = INetworkDefinition()
            network._flags = [flag.name for flag in module.NetworkDefinitionCreationFlag if flags & 1 << flag]
            return network

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Any:
            if network._parser() is None:
                raise SystemError("the parser that owns the network's weights is gone")
            dynamic = -1 in network.get_input(0).shape
            if os.environ.get("FAKE_BUILD") == "fails" or dynamic != bool(config._built["profiles"]):
                return None
            built = dict(config._built, version=version, network_flags=network._flags, severity=self._logger._severity)
            return IHostMemory(json.dumps(built).encode() + b"\n" + network._onnx)

    @limited
    class Runtime(Limited):
        def __init__(self, logger: Logger) -> None:
            self.DLA_core = 0

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            header, _, onnx = plan.partition(b"\n")
            try:
                built = json.loads(header)
            except ValueError:
                return None
            if built["version"] != version or built.get("DLA_core", 0) != self.DLA_core:
                return None
            return ICudaEngine(built, onnx)

    @limited
    class ICudaEngine(Limited):
        def __init__(self, built: dict[str, Any], onnx: bytes) -> None:
            import onnxruntime

            self._session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
            self._built = built
            # Outputs first: an engine's order is its own.
            self._tensors = [ITensor(t) for t in [*self._session.get_outputs(), *self._session.get_inputs()]]
            for count in {"num_io_tensors", "num_bindings"} & type(self).allowed:
                setattr(self, count, len(self._tensors))

        def _by_name(self, name: str) -> ITensor:
            return next(tensor for tensor in self._tensors if tensor.name == name)

        def create_execution_context(self) -> Any:
            return None if os.environ.get("FAKE_CONTEXT") == "fails" else IExecutionContext(self)

        # 8.5 and newer
        def get_tensor_name(self, index: int) -> str:
            return self._tensors[index].name

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return self._by_name(name).shape

        def get_tensor_dtype(self, name: str) -> Any:
            return self._by_name(name).dtype

        # 8.2 to 8.6
        get_binding_name = get_tensor_name

        def get_binding_index(self, name: str) -> int:
            return self._tensors.index(self._by_name(name))

        def get_binding_shape(self, index: int) -> tuple[int, ...]:
            return self._tensors[index].shape

        def get_binding_dtype(self, index: int) -> Any:
            return self._tensors[index].dtype

    @limited
    class IExecutionContext(Limited):
        def __init__(self, engine: ICudaEngine) -> None:
            self._engine = engine
            self._addresses: dict[str, int] = {}
            self._batch = None if engine._built["profiles"] else 1
            self._cuda = ctypes.CDLL(os.environ["FAKE_CUDART"])
            self._cuda.fakeDeviceMemory.restype = ctypes.c_void_p
            self._cuda.fakeDeviceMemory.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
            self._kernel = KERNEL(lambda _: self._compute())

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            ((smallest, _, largest),) = (profile[name] for profile in self._engine._built["profiles"])
            self._batch = shape[0]
            return all(low <= side <= high for low, side, high in zip(smallest, shape, largest, strict=True))

        def set_binding_shape(self, index: int, shape: tuple[int, ...]) -> bool:
            return IExecutionContext.set_input_shape(self, self._engine.get_binding_name(index), shape)

        def set_tensor_address(self, name: str, address: int) -> bool:
            self._addresses[name] = address
            return True

        def execute_async_v3(self, stream: int) -> bool:
            if os.environ.get("FAKE_EXECUTE") == "fails" or not stream or self._batch is None:
                return False
            self._cuda.fakeLaunch(self._kernel, None)
            return True

        def execute_async_v2(self, bindings: list[int], stream: int) -> bool:
            names = [tensor.name for tensor in self._engine._tensors]
            self._addresses = dict(zip(names, bindings, strict=True))
            return IExecutionContext.execute_async_v3(self, stream)

        def _compute(self) -> None:
            session = self._engine._session
            name = session.get_inputs()[0].name
            (output,) = session.run(None, {name: self._array(name)})
            self._array(session.get_outputs()[0].name)[...] = output

        def _array(self, name: str) -> np.ndarray:
            tensor = self._engine._by_name(name)
            shape = [self._batch if side == -1 else side for side in tensor.shape]
            dtype = np.dtype(NUMPY[tensor.dtype.name])
            size = int(np.prod(shape)) * dtype.itemsize
            address = self._cuda.fakeDeviceMemory(self._addresses[name], size)
            if not address:
                os.write(2, f"{name} lies where the device has no {size} bytes\n".encode())
                os._exit(99)
            return np.frombuffer((ctypes.c_byte * size).from_address(address), dtype).reshape(shape)

    return module


if __name__ == "tensorrt":
    sys.modules["tensorrt"] = make_tensorrt(os.environ["FAKE_TENSORRT"])
