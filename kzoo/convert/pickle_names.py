"""What the names in torch checkpoints' pickles stand for here: functions that make inert descriptions and plain values.

`ADMITTED` is all of them. Their arguments come from the file: each is checked before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_MAX_DIMENSIONS = 32
# Python hashes smaller integers to themselves; larger ones can be chosen to fall together in a dict.
_MAX_KEY = 2**60


@dataclass(frozen=True, slots=True)
class StorageType:
    """How a storage's bytes are to be read. NumPy has no bfloat16: `dtype` is uint16 there."""

    dtype: np.dtype
    bfloat16: bool = False


@dataclass(slots=True)
class Storage:
    """`count` elements, from element `start`, of the storage named `key`, which has `total`."""

    type: StorageType
    key: str
    total: int
    start: int
    count: int


@dataclass(slots=True, eq=False)
class Tensor:
    """A strided view that lies inside its storage. Offset and strides count elements, none is negative."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """What an admitted name stands for."""

    call: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ScalarType:
    """The dtype of a pickled NumPy scalar."""

    dtype: np.dtype


def of_type(value: Any, kind: type) -> Any:
    """`value` itself; `TypeError` unless its type is exactly this one."""
    # Messages name types, not values: a list that holds another twice, and so on, would print for ever.
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def dict_key(key: Any) -> Any:
    """`key` itself; `TypeError` if a file's dict may not have it."""
    if type(key) is not str and not (type(key) is int and abs(key) < _MAX_KEY):
        raise TypeError(f"a {type(key).__name__} as the key of a dict; expected a text or a small integer")
    return key


def _count(value: Any) -> int:
    if not 0 <= of_type(value, int) < 2**63:
        raise ValueError(f"{value} where a size, stride or offset belongs")
    return value


def persistent_storage(kind: Any, storage_type: Any, key: Any, location: Any, total: Any, view: Any = None) -> Storage:
    """A storage from its persistent id; the legacy format's has a sixth part, None or (view's key, offset, count)."""
    del location  # the device that it was saved from
    if kind != "storage" or (view is not None and (type(view) is not tuple or len(view) != 3)):
        raise TypeError("the persistent id of something else than a storage")
    start, count = (0, total) if view is None else view[1:]
    if _count(start) + _count(count) > _count(total):
        raise ValueError(f"a view of elements {start} to {start + count} in a storage of {total}")
    return Storage(of_type(storage_type, StorageType), of_type(key, str), total, start, count)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """A tensor's strided view. What may follow says whether it takes gradients, and names hooks."""
    last = _count(offset)
    if len(of_type(shape, tuple)) != len(of_type(strides, tuple)) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"a tensor of {len(shape)} sizes and {len(strides)} strides")
    for size, stride in zip(shape, strides, strict=True):
        last += (_count(size) - 1) * _count(stride)
    if math.prod(shape) and last >= of_type(storage, Storage).count:
        raise ValueError(f"a tensor that reaches element {last} of a storage of {storage.count}")
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Any, *_: Any) -> Tensor:
    return of_type(tensor, Tensor)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    # Python 3 sets the items afterwards, Python 2 gives them here.
    return {dict_key(key): value for key, value in pairs}


def _size(sizes: Any) -> tuple[int, ...]:
    for size in of_type(sizes, tuple):
        _count(size)
    return sizes


def _device(kind: Any, index: Any = None) -> str:
    return of_type(kind, str) if index is None else f"{of_type(kind, str)}:{_count(index)}"


def _encode(text: Any, encoding: Any) -> bytes:
    # How Python 3 writes bytes for Python 2.
    if encoding != "latin1":
        raise ValueError("bytes in another encoding than latin1")
    return of_type(text, str).encode("latin1")


def _scalar_type(code: Any, *_: Any) -> ScalarType:
    if code not in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
        raise ValueError("a NumPy scalar that is no number")
    return ScalarType(np.dtype(f"<{code}"))


def _scalar(scalar_type: Any, value: Any) -> bool | int | float:
    raw = value.encode("utf-8") if type(value) is str else of_type(value, bytes)
    dtype = of_type(scalar_type, ScalarType).dtype
    if len(raw) != dtype.itemsize:
        raise ValueError(f"{len(raw)} bytes for a {dtype}")
    return np.frombuffer(raw, dtype)[0].item()


ADMITTED: dict[tuple[str, str], Function | StorageType] = {
    ("collections", "OrderedDict"): Function(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Function(_rebuild_parameter),
    ("torch.nn.parameter", "Parameter"): Function(_rebuild_parameter),
    ("torch", "Size"): Function(_size),
    ("torch", "device"): Function(_device),
    # A best score kept beside the weights is often a NumPy scalar.
    ("numpy.core.multiarray", "scalar"): Function(_scalar),
    ("numpy._core.multiarray", "scalar"): Function(_scalar),
    ("numpy", "dtype"): Function(_scalar_type),
    ("_codecs", "encode"): Function(_encode),
    ("torch", "BFloat16Storage"): StorageType(np.dtype("<u2"), bfloat16=True),
    **{
        ("torch", f"{name}Storage"): StorageType(np.dtype(code))
        for name, code in {
            "Bool": "?", "Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8", "Half": "<f2",
            "Float": "<f4", "Double": "<f8", "ComplexFloat": "<c8", "ComplexDouble": "<c16",
        }.items()
    },
}  # fmt: skip
