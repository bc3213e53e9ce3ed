"""Reads the pickles inside torch checkpoints without ever running what they say.

Python's own unpickler calls what a file names, sets attributes, and hashes and grows what it is told to. This one is a
small machine for the few dozen instructions that `torch.save` writes. The names that it admits stand for functions of
this module, which make inert descriptions (`Tensor`, `Storage`) and plain Python values; every other name and every
other instruction is an error.

Reference: `pickletools.py` in Python's standard library describes the instructions.
"""

from __future__ import annotations

import math
import mmap
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kzoo.convert.errors import CheckpointError

# Some 45 instructions and 150 bytes describe a tensor: room for 20,000 tensors. An instruction makes one object, and a
# call goes through as many values as its arguments hold, which are counted too (a shared argument costs a hostile file
# nothing): together they bound memory and time.
MAX_INSTRUCTIONS = 1_000_000
MAX_BYTES = 16 * 2**20

_SIZED = (bytes, dict, list, str, tuple)
_MAX_DIMENSIONS = 32
# Python hashes smaller integers to themselves; larger ones can be chosen to fall together in a dict.
_MAX_KEY = 2**60

_SAVE_ANEW = "Where you trust the file, load it with torch and save its weights alone: torch.save(state_dict, path)."


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
class _Function:
    """What an admitted name stands for."""

    call: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class _ScalarType:
    """The dtype of a pickled NumPy scalar."""

    dtype: np.dtype


class PickleReader:
    """Reads one pickle at a place in a buffer.

    Args:
        data: the buffer.
        start: where the pickle starts.

    Attributes:
        position: the place behind the last byte read.
        storages: the storages that the pickle names, by key.
    """

    def __init__(self, data: bytes | mmap.mmap, start: int = 0) -> None:
        self.position = start
        self.storages: dict[str, Storage] = {}
        self._data = data
        self._end = min(len(data), start + MAX_BYTES)
        self._stack: list[Any] = []
        self._outer_stacks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._arguments = 0

    def load(self) -> Any:
        """The pickle's value: plain values, `Tensor`s, and lists, tuples and dicts of them, possibly shared or cyclic.

        Raises: `CheckpointError` if the pickle is damaged, or asks for anything but tensors and plain values.
        """
        try:
            for _ in range(MAX_INSTRUCTIONS):
                if self.position >= self._end:
                    self._take(1)
                code = self._data[self.position]
                self.position += 1
                instruction = _INSTRUCTIONS.get(code)
                if instruction is not None:
                    method, argument = instruction
                    method(self, argument)
                elif code == pickle.STOP[0]:
                    (value,) = self._stack
                    return value
                else:
                    raise CheckpointError(
                        f"its pickle holds the instruction {bytes([code])!r} at byte {self.position - 1}, which "
                        f"torch.save does not write. {_SAVE_ANEW}"
                    )
        except CheckpointError:
            raise
        except (LookupError, TypeError, ValueError, OverflowError, struct.error) as error:
            raise CheckpointError(
                f"its pickle is damaged before byte {self.position} ({error}). Fetch it anew."
            ) from error
        raise CheckpointError(f"its pickle has over {MAX_INSTRUCTIONS:,} instructions, more than kzoo reads.")

    def _take(self, count: int) -> bytes:
        stop = self.position + count
        if stop > self._end:
            if self._end < len(self._data):
                raise CheckpointError(f"its pickle has over {MAX_BYTES:,} bytes, more than kzoo reads.")
            raise CheckpointError(f"its pickle is cut off at byte {self._end}. Fetch it anew.")
        taken = self._data[self.position : stop]
        self.position = stop
        return taken

    def _take_counted(self, width: int) -> bytes:
        return self._take(int.from_bytes(self._take(width), "little"))

    def _line(self) -> str:
        stop = self._data.find(b"\n", self.position, min(self._end, self.position + 256))
        if stop < 0:
            raise ValueError("a name without an end")
        return self._take(stop + 1 - self.position)[:-1].decode("ascii")

    def _marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        items = self._stack
        self._stack = self._outer_stacks.pop()
        return items

    # One method an instruction or a family of them; the second argument comes from _INSTRUCTIONS.

    def _protocol(self, highest: int) -> None:
        if self._take(1)[0] > highest:
            raise ValueError("an unknown protocol")

    def _skip(self, width: int) -> None:
        self._take(width)

    def _constant(self, value: Any) -> None:
        self._stack.append(value)

    def _empty(self, kind: Callable[[], Any]) -> None:
        self._stack.append(kind())

    def _unsigned(self, width: int) -> None:
        self._stack.append(int.from_bytes(self._take(width), "little"))

    def _signed(self, width: int) -> None:
        self._stack.append(int.from_bytes(self._take(width), "little", signed=True))

    def _long(self, width: int) -> None:
        self._stack.append(int.from_bytes(self._take_counted(width), "little", signed=True))

    def _float(self, width: int) -> None:
        self._stack.append(struct.unpack(">d", self._take(width))[0])

    def _text(self, width: int) -> None:
        self._stack.append(self._take_counted(width).decode("utf-8"))

    def _bytes(self, width: int) -> None:
        self._stack.append(self._take_counted(width))

    def _python2_string(self, width: int) -> None:
        taken = self._take_counted(width)
        try:
            self._stack.append(taken.decode("utf-8"))
        except UnicodeDecodeError:  # Python 2 has one type for text and for bytes
            self._stack.append(taken)

    def _mark(self, _: None) -> None:
        self._outer_stacks.append(self._stack)
        self._stack = []

    def _tuple(self, count: int | None) -> None:
        if count is None:
            items = self._marked()
        else:
            items = [self._stack.pop() for _ in range(count)][::-1]
        self._stack.append(tuple(items))

    def _append(self, marked: bool) -> None:
        items = self._marked() if marked else [self._stack.pop()]
        _of_type(self._stack[-1], list).extend(items)

    def _set_items(self, marked: bool) -> None:
        items = self._marked() if marked else [self._stack.pop(), self._stack.pop()][::-1]
        target = _of_type(self._stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _put(self, width: int) -> None:
        self._memo[int.from_bytes(self._take(width), "little")] = self._stack[-1]

    def _memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, width: int) -> None:
        self._stack.append(self._memo[int.from_bytes(self._take(width), "little")])

    def _global(self, on_stack: bool) -> None:
        if on_stack:
            name, module = _of_type(self._stack.pop(), str), _of_type(self._stack.pop(), str)
        else:
            module, name = self._line(), self._line()
        if (module, name) not in _ADMITTED:
            raise CheckpointError(
                f"its pickle asks for {f'{module}.{name}'[:200]!r}. kzoo reads tensors and plain values, and runs "
                f"nothing that a file names. {_SAVE_ANEW}"
            )
        self._stack.append(_ADMITTED[module, name])

    def _reduce(self, _: None) -> None:
        arguments = _of_type(self._stack.pop(), tuple)
        self._arguments += len(arguments) + sum(len(value) for value in arguments if type(value) in _SIZED)
        if self._arguments > MAX_INSTRUCTIONS:
            raise CheckpointError(f"its pickle has over {MAX_INSTRUCTIONS:,} arguments of calls, more than kzoo reads.")
        self._stack.append(_of_type(self._stack.pop(), _Function).call(*arguments))

    def _build(self, _: None) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if type(target) is _ScalarType:
            if _of_type(state, tuple)[1] not in ("<", "|"):
                raise CheckpointError(f"it holds a big-endian NumPy scalar; expected little-endian. {_SAVE_ANEW}")
        elif type(target) not in (dict, Tensor):
            raise TypeError(f"a state for a {type(target).__name__}")
        # Attributes of a state_dict (`_metadata`) or of a parameter (its hooks) say nothing about weights.

    def _persistent(self, _: None) -> None:
        storage = _storage(*_of_type(self._stack.pop(), tuple))
        first = self.storages.setdefault(storage.key, storage)
        if first.total * first.type.dtype.itemsize != storage.total * storage.type.dtype.itemsize:
            raise ValueError("a storage of two sizes")
        self._stack.append(storage)


def _of_type(value: Any, kind: type) -> Any:
    # Messages name types, not values: a list that holds another twice, and so on, would print for ever.
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _key(key: Any) -> Any:
    if type(key) is not str and not (type(key) is int and abs(key) < _MAX_KEY):
        raise TypeError(f"a {type(key).__name__} as the key of a dict; expected a text or a small integer")
    return key


def _count(value: Any) -> int:
    if not 0 <= _of_type(value, int) < 2**63:
        raise ValueError(f"{value} where a size, stride or offset belongs")
    return value


def _storage(kind: Any, storage_type: Any, key: Any, location: Any, total: Any, view: Any = None) -> Storage:
    """A storage from its persistent id; the legacy format's has a sixth part, None or (view's key, offset, count)."""
    del location  # the device that it was saved from
    if kind != "storage" or (view is not None and (type(view) is not tuple or len(view) != 3)):
        raise TypeError("the persistent id of something else than a storage")
    start, count = (0, total) if view is None else view[1:]
    if _count(start) + _count(count) > _count(total):
        raise ValueError(f"a view of elements {start} to {start + count} in a storage of {total}")
    return Storage(_of_type(storage_type, StorageType), _of_type(key, str), total, start, count)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """A tensor's strided view. What may follow says whether it takes gradients, and names hooks."""
    last = _count(offset)
    if len(_of_type(shape, tuple)) != len(_of_type(strides, tuple)) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"a tensor of {len(shape)} sizes and {len(strides)} strides")
    for size, stride in zip(shape, strides, strict=True):
        last += (_count(size) - 1) * _count(stride)
    if math.prod(shape) and last >= _of_type(storage, Storage).count:
        raise ValueError(f"a tensor that reaches element {last} of a storage of {storage.count}")
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Any, *_: Any) -> Tensor:
    return _of_type(tensor, Tensor)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    # Python 3 sets the items afterwards, Python 2 gives them here.
    return {_key(key): value for key, value in pairs}


def _size(sizes: Any) -> tuple[int, ...]:
    for size in _of_type(sizes, tuple):
        _count(size)
    return sizes


def _device(kind: Any, index: Any = None) -> str:
    return _of_type(kind, str) if index is None else f"{_of_type(kind, str)}:{_count(index)}"


def _encode(text: Any, encoding: Any) -> bytes:
    # How Python 3 writes bytes for Python 2.
    if encoding != "latin1":
        raise ValueError("bytes in another encoding than latin1")
    return _of_type(text, str).encode("latin1")


def _scalar_type(code: Any, *_: Any) -> _ScalarType:
    if code not in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
        raise ValueError("a NumPy scalar that is no number")
    return _ScalarType(np.dtype(f"<{code}"))


def _scalar(scalar_type: Any, value: Any) -> bool | int | float:
    raw = value.encode("utf-8") if type(value) is str else _of_type(value, bytes)
    dtype = _of_type(scalar_type, _ScalarType).dtype
    if len(raw) != dtype.itemsize:
        raise ValueError(f"{len(raw)} bytes for a {dtype}")
    return np.frombuffer(raw, dtype)[0].item()


_ADMITTED: dict[tuple[str, str], _Function | StorageType] = {
    ("collections", "OrderedDict"): _Function(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    ("torch.nn.parameter", "Parameter"): _Function(_rebuild_parameter),
    ("torch", "Size"): _Function(_size),
    ("torch", "device"): _Function(_device),
    # A best score kept beside the weights is often a NumPy scalar.
    ("numpy.core.multiarray", "scalar"): _Function(_scalar),
    ("numpy._core.multiarray", "scalar"): _Function(_scalar),
    ("numpy", "dtype"): _Function(_scalar_type),
    ("_codecs", "encode"): _Function(_encode),
    ("torch", "BFloat16Storage"): StorageType(np.dtype("<u2"), bfloat16=True),
    **{
        ("torch", f"{name}Storage"): StorageType(np.dtype(code))
        for name, code in {
            "Bool": "?", "Byte": "u1", "Char": "i1", "Short": "<i2", "Int": "<i4", "Long": "<i8", "Half": "<f2",
            "Float": "<f4", "Double": "<f8", "ComplexFloat": "<c8", "ComplexDouble": "<c16",
        }.items()
    },
}  # fmt: skip

_INSTRUCTIONS: dict[int, tuple[Callable[[PickleReader, Any], None], Any]] = {
    pickle.PROTO[0]: (PickleReader._protocol, 5),
    pickle.FRAME[0]: (PickleReader._skip, 8),
    pickle.NONE[0]: (PickleReader._constant, None),
    pickle.NEWTRUE[0]: (PickleReader._constant, True),
    pickle.NEWFALSE[0]: (PickleReader._constant, False),
    pickle.BININT[0]: (PickleReader._signed, 4),
    pickle.BININT1[0]: (PickleReader._unsigned, 1),
    pickle.BININT2[0]: (PickleReader._unsigned, 2),
    pickle.LONG1[0]: (PickleReader._long, 1),
    pickle.BINFLOAT[0]: (PickleReader._float, 8),
    pickle.SHORT_BINUNICODE[0]: (PickleReader._text, 1),
    pickle.BINUNICODE[0]: (PickleReader._text, 4),
    pickle.SHORT_BINSTRING[0]: (PickleReader._python2_string, 1),
    pickle.BINSTRING[0]: (PickleReader._python2_string, 4),
    pickle.SHORT_BINBYTES[0]: (PickleReader._bytes, 1),
    pickle.BINBYTES[0]: (PickleReader._bytes, 4),
    pickle.MARK[0]: (PickleReader._mark, None),
    pickle.EMPTY_TUPLE[0]: (PickleReader._tuple, 0),
    pickle.TUPLE1[0]: (PickleReader._tuple, 1),
    pickle.TUPLE2[0]: (PickleReader._tuple, 2),
    pickle.TUPLE3[0]: (PickleReader._tuple, 3),
    pickle.TUPLE[0]: (PickleReader._tuple, None),
    pickle.EMPTY_LIST[0]: (PickleReader._empty, list),
    pickle.APPEND[0]: (PickleReader._append, False),
    pickle.APPENDS[0]: (PickleReader._append, True),
    pickle.EMPTY_DICT[0]: (PickleReader._empty, dict),
    pickle.SETITEM[0]: (PickleReader._set_items, False),
    pickle.SETITEMS[0]: (PickleReader._set_items, True),
    pickle.BINPUT[0]: (PickleReader._put, 1),
    pickle.LONG_BINPUT[0]: (PickleReader._put, 4),
    pickle.MEMOIZE[0]: (PickleReader._memoize, None),
    pickle.BINGET[0]: (PickleReader._get, 1),
    pickle.LONG_BINGET[0]: (PickleReader._get, 4),
    pickle.GLOBAL[0]: (PickleReader._global, False),
    pickle.STACK_GLOBAL[0]: (PickleReader._global, True),
    pickle.REDUCE[0]: (PickleReader._reduce, None),
    pickle.BUILD[0]: (PickleReader._build, None),
    pickle.BINPERSID[0]: (PickleReader._persistent, None),
}
