"""Reads the pickles inside torch checkpoints without ever running what they say.

Python's own unpickler calls what a file names, sets attributes, and hashes and grows what it is told to. This one is a
small machine for the few dozen instructions that `torch.save` writes. The names that it admits stand for functions of
`pickle_names.py`, which make inert descriptions (`Tensor`, `Storage`) and plain Python values; every other name and
every other instruction is an error.

Reference: `pickletools.py` in Python's standard library describes the instructions.
"""

from __future__ import annotations

import mmap
import pickle
import struct
from collections.abc import Callable
from typing import Any

from kzoo.convert.errors import CheckpointError
from kzoo.convert.pickle_names import (
    ADMITTED,
    Function,
    ScalarType,
    Storage,
    Tensor,
    dict_key,
    of_type,
    persistent_storage,
)

# Some 45 instructions and 150 bytes describe a tensor: room for 20,000 tensors. An instruction makes one object, and a
# call goes through as many values as its arguments hold, which are counted too (a shared argument costs a hostile file
# nothing): together they bound memory and time.
MAX_INSTRUCTIONS = 1_000_000
MAX_BYTES = 16 * 2**20

_SIZED = (bytes, dict, list, str, tuple)

_SAVE_ANEW = "Where you trust the file, load it with torch and save its weights alone: torch.save(state_dict, path)."


class PickleReader:
    """Reads one pickle at a place in a buffer.

    Args:
        data: the buffer.
        start: where the pickle starts.

    Attributes:
        position: the place behind the last byte read.
        instructions: how many have been run.
        storages: the storages that the pickle names, by key.
    """

    def __init__(self, data: bytes | mmap.mmap, start: int = 0) -> None:
        self.position = start
        self.instructions = 0
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
            for self.instructions in range(1, MAX_INSTRUCTIONS + 1):
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
        of_type(self._stack[-1], list).extend(items)

    def _set_items(self, marked: bool) -> None:
        items = self._marked() if marked else [self._stack.pop(), self._stack.pop()][::-1]
        target = of_type(self._stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[dict_key(key)] = value

    def _put(self, width: int) -> None:
        self._memo[int.from_bytes(self._take(width), "little")] = self._stack[-1]

    def _memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, width: int) -> None:
        self._stack.append(self._memo[int.from_bytes(self._take(width), "little")])

    def _global(self, on_stack: bool) -> None:
        if on_stack:
            name, module = of_type(self._stack.pop(), str), of_type(self._stack.pop(), str)
        else:
            module, name = self._line(), self._line()
        if (module, name) not in ADMITTED:
            raise CheckpointError(
                f"its pickle asks for {f'{module}.{name}'[:200]!r}. kzoo reads tensors and plain values, and runs "
                f"nothing that a file names. {_SAVE_ANEW}"
            )
        self._stack.append(ADMITTED[module, name])

    def _reduce(self, _: None) -> None:
        arguments = of_type(self._stack.pop(), tuple)
        self._arguments += len(arguments) + sum(len(value) for value in arguments if type(value) in _SIZED)
        if self._arguments > MAX_INSTRUCTIONS:
            raise CheckpointError(f"its pickle has over {MAX_INSTRUCTIONS:,} arguments of calls, more than kzoo reads.")
        self._stack.append(of_type(self._stack.pop(), Function).call(*arguments))

    def _build(self, _: None) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if type(target) is ScalarType:
            if of_type(state, tuple)[1] not in ("<", "|"):
                raise CheckpointError(f"it holds a big-endian NumPy scalar; expected little-endian. {_SAVE_ANEW}")
        elif type(target) not in (dict, Tensor):
            raise TypeError(f"a state for a {type(target).__name__}")
        # Attributes of a state_dict (`_metadata`) or of a parameter (its hooks) say nothing about weights.

    def _persistent(self, _: None) -> None:
        storage = persistent_storage(*of_type(self._stack.pop(), tuple))
        first = self.storages.setdefault(storage.key, storage)
        if first.total * first.type.dtype.itemsize != storage.total * storage.type.dtype.itemsize:
            raise ValueError("a storage of two sizes")
        self._stack.append(storage)


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
