"""Reads checkpoints that `torch.save` wrote, in both of its formats, without torch and without running what they say.

The arrays are read-only views into a memory map of the file: opening takes milliseconds, and only what is used is read.

- Since torch 1.6: a zip archive whose member `<name>/data.pkl` describes the tensors, `<name>/data/<key>` their bytes.
- Before: five pickles (a magic number, a version, the machine, the content, the storages' keys), then the storages in
  that order, each as its number of elements in eight bytes and its bytes.

Reference: `torch/serialization.py` of PyTorch.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from kzoo.convert.errors import CheckpointError, reading
from kzoo.convert.pickle_names import Storage, Tensor
from kzoo.convert.pickle_reader import MAX_BYTES, PickleReader
from kzoo.convert.zip_reader import list_members, locate_member, map_file, read_member

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

# Nested deeper than any checkpoint, and still printed and compared without a RecursionError.
_MAX_DEPTH = 32
# Room for a small file's tensors that overlap.
_SPARE_BYTES = 2**20

_EXPECTED = "a checkpoint that torch.save wrote (.pth, .pt)"
_BIG_ENDIAN = "its tensors are big-endian. Load and save it on a little-endian machine with torch."
_FETCH_ANEW = "Fetch it anew and compare its SHA-256 with its publisher's."


def read_torch(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Any:
    """What a file that `torch.save` wrote holds, with a NumPy array for each tensor.

    Args:
        path: the file.
        max_bytes: the most that all tensors together may have, and that may be unpacked if the file is compressed. By
            default twice the file's size: views of one storage can make much of little.

    Returns:
        The file's content as plain dicts, lists, tuples, numbers, texts and arrays. bfloat16 becomes float32; the
        other arrays are read-only and stay valid as long as the file's bytes do.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: it is no such file, damaged, too large, or holds anything but tensors and plain values.
    """
    with reading(path, _EXPECTED) as file:
        data = map_file(file)
        limit = 2 * len(data) + _SPARE_BYTES if max_bytes is None else max_bytes
        if data[:4] == b"PK\3\4":
            return _read_zip(data, limit)
        return _read_legacy(data, limit)


def state_dict(content: Any, path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The weights by name in what `read_torch` returned.

    Args:
        content: weights by name, or a dict that holds them as `state_dict` or `model`.
        path: the file, for messages.

    Returns:
        A new dict in the file's order. `module.`, which `DataParallel` sets before every name, is taken away.

    Raises: `CheckpointError` if there are no weights by name.
    """
    weights = content
    if isinstance(content, dict):
        nested = (content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict))
        weights = next(nested, content)
    other = (
        [name for name, value in weights.items() if not _is_weight(name, value)] if isinstance(weights, dict) else []
    )
    if not isinstance(weights, dict) or not weights or other:
        found = f"entries that are none ({_names(other)})" if other else f"an empty or unnamed {type(weights).__name__}"
        raise CheckpointError(
            f"{str(path)!r} holds no weights by name, but {found}. Expected a state_dict, alone or under the key "
            "'state_dict' or 'model'; read_torch returns all that the file holds."
        )
    common = "module." if all(name.startswith("module.") for name in weights) else ""
    return {name.removeprefix(common): value for name, value in weights.items()}


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, np.ndarray)


def _names(names: Collection[Any]) -> str:
    shown = ", ".join(str(name)[:80] for name in list(names)[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _read_zip(data: mmap.mmap, limit: int) -> Any:
    members = list_members(data)
    prefixes = [
        name.removesuffix("data.pkl") for name in members if name.count("/") == 1 and name.endswith("/data.pkl")
    ]
    if len(prefixes) != 1:
        raise CheckpointError(
            f"it is a zip archive without a tensors' description (`<name>/data.pkl`). It has: {_names(members)}. If "
            "one of them is a checkpoint, unpack that and give its path."
        )
    prefix = prefixes[0]
    if f"{prefix}constants.pkl" in members:
        raise CheckpointError("it is a TorchScript program, not weights. Save its state_dict() with torch.save.")
    order = members.get(f"{prefix}byteorder")
    if order is not None and read_member(data, order, 16) != b"little":
        raise CheckpointError(_BIG_ENDIAN)

    unpacked = 0

    def storage_bytes(storage: Storage) -> memoryview:
        nonlocal unpacked
        member = members.get(f"{prefix}data/{storage.key}")
        if member is None or member.size != storage.total * storage.type.dtype.itemsize:
            raise CheckpointError(f"the bytes of its storage {storage.key[:80]!r} are not all there. {_FETCH_ANEW}")
        if not member.compressed:
            start, stop = locate_member(data, member)
            return memoryview(data)[start:stop]
        unpacked += member.size
        if unpacked > limit:
            raise _too_large(limit)
        return memoryview(read_member(data, member, limit))

    description = PickleReader(read_member(data, members[f"{prefix}data.pkl"], MAX_BYTES))
    content = description.load()
    return _Arrays(storage_bytes, limit, description.instructions).of(content)


def _too_large(limit: int) -> CheckpointError:
    return CheckpointError(
        f"its tensors have more than {limit:,} bytes, the limit. Save the weights alone, without an optimizer's state, "
        "or read it with kzoo.convert.read_torch and a larger max_bytes."
    )


def _read_legacy(data: mmap.mmap, limit: int) -> Any:
    try:
        magic = PickleReader(data)
        found = magic.load()
    except CheckpointError:
        found = None
    if found != _MAGIC:
        raise CheckpointError(f"it begins with {data[:12]!r}, not as {_EXPECTED} does. {_FETCH_ANEW}")
    version = PickleReader(data, magic.position)
    if version.load() != _PROTOCOL:
        raise CheckpointError("it is of an unknown version of the format. Load and save it with a recent torch.")
    machine = PickleReader(data, version.position)
    system = machine.load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError(_BIG_ENDIAN)
    description = PickleReader(data, machine.position)
    content = description.load()
    order = PickleReader(data, description.position)
    places = _legacy_places(data, order.load(), order.position, description.storages)
    view = memoryview(data)
    return _Arrays(lambda storage: view[slice(*places[storage.key])], limit, description.instructions).of(content)


def _legacy_places(
    data: mmap.mmap, keys: Any, place: int, storages: Mapping[str, Storage]
) -> dict[str, tuple[int, int]]:
    """Where each storage's bytes start and stop, by its key."""
    places: dict[str, tuple[int, int]] = {}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise CheckpointError(f"its list of storages is not that of its tensors. {_FETCH_ANEW}")
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack_from("<q", data, place)
        start = place + 8
        place = start + storage.total * storage.type.dtype.itemsize
        if count != storage.total or place > len(data):
            raise CheckpointError(f"the bytes of its storage {key[:80]!r} are not all there. {_FETCH_ANEW}")
        places[key] = start, place
    return places


class _Arrays:
    """Turns a pickle's value into plain containers with arrays.

    The result is a tree: what a pickle shares is made twice, and a cycle is an error, so that no list can hold itself,
    or the same list twice, and so on, up to a value that nobody can print or compare.
    """

    def __init__(self, storage_bytes: Callable[[Storage], memoryview], max_bytes: int, max_values: int) -> None:
        self._storage_bytes = storage_bytes
        self._max_bytes = max_bytes
        self._bytes = 0
        self._values_left = max_values  # each value that is not shared takes an instruction or more
        self._storages: dict[str, memoryview] = {}
        self._arrays: dict[int, np.ndarray] = {}

    def of(self, value: Any, depth: int = 0) -> Any:
        self._values_left -= 1
        if self._values_left < 0 or depth > _MAX_DEPTH:
            raise CheckpointError(f"its values are nested deeper than {_MAX_DEPTH}, or hold each other over and over.")
        if isinstance(value, Tensor):
            if id(value) not in self._arrays:
                self._arrays[id(value)] = self._array(value)
            return self._arrays[id(value)]
        if isinstance(value, dict):
            return {key: self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.of(item, depth + 1) for item in value)
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        raise CheckpointError(f"it holds a bare {type(value).__name__} where a tensor or a plain value belongs.")

    def _array(self, tensor: Tensor) -> np.ndarray:
        storage = tensor.storage
        dtype = storage.type.dtype
        self._bytes += math.prod(tensor.shape) * (4 if storage.type.bfloat16 else dtype.itemsize)
        if self._bytes > self._max_bytes:
            raise _too_large(self._max_bytes)
        if storage.key not in self._storages:
            self._storages[storage.key] = self._storage_bytes(storage)
        start = storage.start * dtype.itemsize
        array = np.ndarray(
            tensor.shape,
            dtype,
            # NumPy checks once more that no element lies outside.
            self._storages[storage.key][start : start + storage.count * dtype.itemsize],
            tensor.offset * dtype.itemsize,
            [stride * dtype.itemsize for stride in tensor.strides],
        )
        if storage.type.bfloat16:  # float32 without its lower half
            array = array.astype("<u4")
            array <<= 16
            array = array.view("<f4")
        return array
