"""Runs an engine: pictures in, logits or class maps out, with the times of each step taken on the GPU.

TensorRT 8.5 and newer know tensors by name (`set_tensor_address`, `execute_async_v3`), 8.2 and 8.4 by number
(`execute_async_v2` with a list of addresses); `hasattr(engine, "num_io_tensors")` tells them apart.
"""

from pathlib import Path
from typing import Any, List, NamedTuple, Tuple

import numpy as np

from .build import import_tensorrt
from .cuda import Buffer, Cuda
from .engine import Key, read_engine
from .errors import CudaError, EngineError, MemoryShortageError
from .sidecar import Sidecar, Tensor

MEMORY = ("auto", "mapped", "copied")


class Times(NamedTuple):
    """Milliseconds on the GPU."""

    copy_in: float
    compute: float
    copy_out: float


class Runner:
    """An engine in the GPU's memory, and the buffers that it reads and writes."""

    def __init__(self, trt: Any, cuda: Cuda, plan: bytes, key: Key, sidecar: Sidecar, batch: int, mapped: bool) -> None:
        self.sidecar, self.key, self.batch, self.mapped = sidecar, key, batch, mapped
        self.tensorrt = trt.__version__
        self._cuda = cuda
        self._logger = trt.Logger(trt.Logger.WARNING)
        runtime = trt.Runtime(self._logger)
        if key.dla_core is not None:
            runtime.DLA_core = key.dla_core
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(
                "TensorRT cannot load the engine; its messages stand above. If they speak of memory, close other "
                "programs, else run build_engine.py again."
            )
        _check(trt, engine, sidecar)
        self._context = engine.create_execution_context()
        if self._context is None:
            raise MemoryShortageError("TensorRT could not set up the engine: most often the GPU's memory is too small.")
        self._runtime, self._engine = runtime, engine
        self._buffers = []  # type: List[Buffer]
        self._handles = []  # type: List[Tuple[str, int]]
        try:
            self._stream = self._handle("cudaStreamCreate", "cudaStreamDestroy")
            self._events = [self._handle("cudaEventCreate", "cudaEventDestroy") for _ in range(4)]
            self._input, self._output = (self._buffer(said) for said in (sidecar.input, sidecar.output))
            self._bind()
        except Exception:
            self.close()
            raise

    @property
    def input(self) -> np.ndarray:
        """Where the pictures are written before `run`; the sidecar says in which layout and type."""
        return self._input.array

    def run(self) -> Tuple[np.ndarray, Times]:
        """Computes the output for what `input` holds. The result is overwritten by the next call."""
        before, copied, computed, after = self._events
        self._record(before)
        self._input.to_device(self._stream)
        self._record(copied)
        if not self._enqueue():
            raise CudaError("TensorRT could not start the network; its messages stand above.")
        self._record(computed)
        self._output.to_host(self._stream)
        self._record(after)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        steps = ((before, copied), (copied, computed), (computed, after))
        return self._output.array, Times(*(self._cuda.milliseconds(start, end) for start, end in steps))

    def close(self) -> None:
        """Gives the engine's and the buffers' memory back."""
        self._context = self._engine = self._runtime = None
        for buffer in self._buffers:
            buffer.free()
        for destroy, handle in self._handles:
            self._cuda.release(destroy, handle)
        self._buffers, self._handles = [], []

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bind(self) -> None:
        """Tells the context the input's shape, where that is open, and where input and output lie."""
        shape = (self.batch, *self.sidecar.input.shape[1:])
        addresses = {self.sidecar.input.name: self._input.device, self.sidecar.output.name: self._output.device}
        if hasattr(self._engine, "num_io_tensors"):
            taken = not self.sidecar.dynamic or self._context.set_input_shape(self.sidecar.input.name, shape)
            for name, address in addresses.items():
                self._context.set_tensor_address(name, address)
        else:
            number = self._engine.get_binding_index(self.sidecar.input.name)
            taken = not self.sidecar.dynamic or self._context.set_binding_shape(number, shape)
            self._addresses = [addresses[name] for name in _names(self._engine)]
        if not taken:
            raise EngineError(f"The engine takes no batch of {self.batch}: it was built for {self.key.shapes}.")

    def _enqueue(self) -> bool:
        if hasattr(self._engine, "num_io_tensors"):
            return self._context.execute_async_v3(self._stream)
        return self._context.execute_async_v2(self._addresses, self._stream)

    def _record(self, event: int) -> None:
        self._cuda.call("cudaEventRecord", event, self._stream)

    def _handle(self, create: str, destroy: str) -> int:
        handle = self._cuda.pointer(create)
        self._handles.append((destroy, handle))
        return handle

    def _buffer(self, said: Tensor) -> Buffer:
        self._buffers.append(Buffer(self._cuda, (self.batch, *said.shape[1:]), said.type, self.mapped))
        return self._buffers[-1]


def open_runner(engine: Path, batch: int = 1, memory: str = "auto") -> Runner:
    """Loads an engine file, after it has been checked against this machine and its network's sidecar.

    Args:
        engine: what build_engine.py wrote.
        batch: pictures in one run.
        memory: "mapped" is one memory for GPU and CPU, "copied" two, "auto" mapped where the GPU is integrated.

    Raises:
        DeployError: one of its classes for each thing that is missing or does not fit.
    """
    trt = import_tensorrt()
    cuda = Cuda()
    gpu = cuda.gpu()
    key, sidecar, plan = read_engine(engine, trt.__version__, str(gpu))
    fits = 1 <= batch <= key.max_batch if sidecar.dynamic else batch == sidecar.input.shape[0]
    if not fits:
        raise EngineError("{} takes {} picture(s) at a time, not {}.".format(engine, key.shapes.split("x")[0], batch))
    mapped = gpu.integrated if memory == "auto" else memory == "mapped"
    return Runner(trt, cuda, plan, key, sidecar, batch, mapped)


def _names(engine: Any) -> List[str]:
    if hasattr(engine, "num_io_tensors"):
        return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return [engine.get_binding_name(index) for index in range(engine.num_bindings)]


def _check(trt: Any, engine: Any, sidecar: Sidecar) -> None:
    """Checks that an engine has the tensors that the sidecar tells of, and no others."""
    found = {}  # type: Dict[str, Tuple[Tuple[int, ...], Any]]
    for name in _names(engine):
        if hasattr(engine, "num_io_tensors"):
            found[name] = tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name)
        else:
            number = engine.get_binding_index(name)
            found[name] = tuple(engine.get_binding_shape(number)), engine.get_binding_dtype(number)
    types = {"float32": "FLOAT", "int32": "INT32", "uint8": "UINT8"}
    expected = {t.name: (t.shape, getattr(trt.DataType, types[t.type], None)) for t in (sidecar.input, sidecar.output)}
    if found != expected:
        raise EngineError(f"The engine has the tensors {found}, the sidecar says {expected}.")
