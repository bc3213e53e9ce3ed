"""Torch checkpoints put together byte by byte: what torch does not write, or not any more."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

# Instructions without an argument, by what they push or do.
NONE, FALSE, TRUE, STOP = b"N", b"\x89", b"\x88", b"."
EMPTY_LIST, EMPTY_DICT, EMPTY_TUPLE, APPEND, SET_ITEM, CALL, BUILD = b"]", b"}", b")", b"a", b"s", b"R", b"b"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def old_text(value: bytes) -> bytes:
    """A str of Python 2."""
    return b"U" + bytes([len(value)]) + value


def integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def named(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def sequence(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def integers(values: Sequence[int]) -> bytes:
    return sequence(*map(integer, values))


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + sequence(*arguments) + CALL


def put(index: int) -> bytes:
    return b"q" + bytes([index])


def get(index: int) -> bytes:
    return b"h" + bytes([index])


def storage(key: str = "0", count: int = 4, kind: str = "FloatStorage", view: bytes = NONE) -> bytes:
    described = (text("storage"), named("torch", kind), text(key), text("cpu"), integer(count), view)
    return sequence(*described) + b"Q"


def tensor(stored: bytes, shape: Sequence[int] = (2, 2), strides: Sequence[int] = (2, 1), offset: int = 0) -> bytes:
    hooks = call(named("collections", "OrderedDict"))
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, stored, integer(offset), integers(shape), integers(strides), FALSE, hooks)


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + STOP


def legacy_bytes(pickled: bytes, storages: dict[str, tuple[int, bytes]] | None = None, little: bool = True) -> bytes:
    """A file of the format before torch 1.6.

    Args:
        pickled: the content's pickle.
        storages: number of elements, as the file says it, and bytes of each by its key.
        little: whether it says that it is little-endian.
    """
    storages = storages or {}
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [pickled, pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", count) + raw for count, raw in storages.values()]
    return b"".join(parts)


def zip_bytes(pickled: bytes, storages: dict[str, bytes] | None = None, **more: bytes) -> bytes:
    """A file of the format since torch 1.6, with further members by their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
        for key, raw in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", raw)
        for member, raw in more.items():
            archive.writestr(f"archive/{member}", raw)
    return buffer.getvalue()


def write(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path
