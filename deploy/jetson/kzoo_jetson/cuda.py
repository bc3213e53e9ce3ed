"""CUDA's runtime through ctypes: there on every JetPack, where pycuda and cuda-python are not.

Device attributes are asked for one by one, because the layout of `cudaDeviceProp` changes between CUDA versions.
"""

import ctypes
import os
from ctypes import POINTER, c_float, c_int, c_size_t, c_uint, c_void_p
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np

from .errors import CudaError, GpuError, MemoryShortageError, SoftwareError

# The unversioned name comes with CUDA's development package only; JetPack 7, 6, 5 and 4 have one of the others.
LIBRARIES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2")
FOLDERS = ("", "/usr/local/cuda/lib64")  # "": where the loader looks

MODEL_FILE = Path("/proc/device-tree/model")

# Of CUDA's driver_types.h
_OUT_OF_MEMORY = 2
_MULTIPROCESSORS, _INTEGRATED, _MAJOR, _MINOR = 16, 18, 75, 76
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_PINNED, _MAPPED = 0, 2

_SIGNATURES = {
    "cudaGetDeviceCount": [POINTER(c_int)],
    "cudaDeviceGetAttribute": [POINTER(c_int), c_int, c_int],
    "cudaMemGetInfo": [POINTER(c_size_t), POINTER(c_size_t)],
    "cudaMalloc": [POINTER(c_void_p), c_size_t],
    "cudaFree": [c_void_p],
    "cudaHostAlloc": [POINTER(c_void_p), c_size_t, c_uint],
    "cudaFreeHost": [c_void_p],
    "cudaHostGetDevicePointer": [POINTER(c_void_p), c_void_p, c_uint],
    "cudaMemcpyAsync": [c_void_p, c_void_p, c_size_t, c_int, c_void_p],
    "cudaStreamCreate": [POINTER(c_void_p)],
    "cudaStreamSynchronize": [c_void_p],
    "cudaStreamDestroy": [c_void_p],
    "cudaEventCreate": [POINTER(c_void_p)],
    "cudaEventRecord": [c_void_p, c_void_p],
    "cudaEventElapsedTime": [POINTER(c_float), c_void_p, c_void_p],
    "cudaEventDestroy": [c_void_p],
}


class Gpu(NamedTuple):
    """What an engine depends on, and whether GPU and CPU share their memory."""

    compute_capability: str  # e.g. "8.7"
    multiprocessors: int
    integrated: bool
    board: str  # e.g. "NVIDIA Jetson Orin Nano Developer Kit"; empty where the system does not tell

    def __str__(self) -> str:
        parts = ["sm_" + self.compute_capability.replace(".", ""), f"{self.multiprocessors} multiprocessors"]
        return ", ".join(parts + ([self.board] if self.board else []))


class Cuda:
    """The first GPU."""

    def __init__(self) -> None:
        self._library = _load()
        for name, types in _SIGNATURES.items():
            getattr(self._library, name).argtypes = types
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        count = c_int(0)
        code = self._library.cudaGetDeviceCount(ctypes.byref(count))
        if code or not count.value:
            reason = self._message(code) if code else "no device"
            raise GpuError(f"CUDA finds no GPU: {reason}. In a container, start it with --runtime nvidia.")

    def gpu(self) -> Gpu:
        """Describes the GPU."""
        board = MODEL_FILE.read_text().strip("\0 \n") if MODEL_FILE.exists() else ""
        capability = f"{self._attribute(_MAJOR)}.{self._attribute(_MINOR)}"
        return Gpu(capability, self._attribute(_MULTIPROCESSORS), bool(self._attribute(_INTEGRATED)), board)

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the runtime.

        Raises:
            MemoryShortageError: it answered that memory does not suffice.
            CudaError: it failed otherwise.
        """
        code = getattr(self._library, name)(*arguments)
        if code == _OUT_OF_MEMORY:
            raise MemoryShortageError(
                f"CUDA is out of memory ({name}){self._free_memory()}. "
                "Close other programs, or take a network of a smaller size."
            )
        if code:
            raise CudaError(f"{name} failed: {self._message(code)} (CUDA error {code}).")

    def pointer(self, name: str, *arguments: Any) -> int:
        """Calls a function whose first argument is where it writes a pointer or a handle; returns that."""
        result = c_void_p()
        self.call(name, ctypes.byref(result), *arguments)
        return result.value or 0

    def release(self, name: str, pointer: int) -> None:
        """Gives a resource back. What the call answers is left out: after an error, it is that error once more."""
        getattr(self._library, name)(pointer)

    def milliseconds(self, start: int, end: int) -> float:
        """The time between two recorded events of a synchronised stream."""
        result = c_float()
        self.call("cudaEventElapsedTime", ctypes.byref(result), start, end)
        return result.value

    def _attribute(self, attribute: int) -> int:
        value = c_int()
        self.call("cudaDeviceGetAttribute", ctypes.byref(value), attribute, 0)
        return value.value

    def _message(self, code: int) -> str:
        return self._library.cudaGetErrorString(code).decode()

    def _free_memory(self) -> str:
        free, total = c_size_t(), c_size_t()
        if self._library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)):
            return ""
        return f": {free.value >> 20} of {total.value >> 20} MiB are free"


class Buffer:
    """An array on the host and the memory on the device that belongs to it.

    Mapped, both are the same memory, and nothing is copied: faster where GPU and CPU share their memory, as on every
    Jetson, and slower over PCI Express. Otherwise the host's side is pinned, so that copies run in the stream.
    """

    def __init__(self, cuda: Cuda, shape: Sequence[int], dtype: str, mapped: bool) -> None:
        self._cuda, self._mapped = cuda, mapped
        self._host = self.device = 0
        self._bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            self._host = cuda.pointer("cudaHostAlloc", self._bytes, _MAPPED if mapped else _PINNED)
            if mapped:
                self.device = cuda.pointer("cudaHostGetDevicePointer", self._host, 0)
            else:
                self.device = cuda.pointer("cudaMalloc", self._bytes)
        except Exception:
            self.free()
            raise
        memory = (ctypes.c_byte * self._bytes).from_address(self._host)
        self.array = np.frombuffer(memory, dtype).reshape(shape)

    def to_device(self, stream: int) -> None:
        """Queues the copy of `array` to the device."""
        if not self._mapped:
            self._cuda.call("cudaMemcpyAsync", self.device, self._host, self._bytes, _HOST_TO_DEVICE, stream)

    def to_host(self, stream: int) -> None:
        """Queues the copy of the device's memory to `array`."""
        if not self._mapped:
            self._cuda.call("cudaMemcpyAsync", self._host, self.device, self._bytes, _DEVICE_TO_HOST, stream)

    def free(self) -> None:
        """Gives the memory back; `array` must not be used any more."""
        if self.device and not self._mapped:
            self._cuda.release("cudaFree", self.device)
        if self._host:
            self._cuda.release("cudaFreeHost", self._host)
        self._host = self.device = 0


def _load() -> Any:
    tried = [os.path.join(folder, name) for folder in FOLDERS for name in LIBRARIES]
    for path in tried:
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise SoftwareError("CUDA's runtime library is missing; looked for {}.".format(", ".join(tried)))
