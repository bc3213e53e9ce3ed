"""The sidecar inside a .tflite file: an entry of its `metadata`, which every runtime that does not know it skips.

A .tflite file is a flatbuffer: tables whose fields point forward, each to a place counted from its own. So the entry
is added by a new root in front of the file, which points into it: not a byte of the file itself changes, and the
weights keep their alignment. The schema's Python objects would write every buffer aligned to one byte, where the schema
asks for 16.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

METADATA_NAME = "kzoo_sidecar"
_OF_THE_FINISHED_FILE = ("sha256", "bytes")
_VERSION, _BUFFERS, _METADATA, _FIELDS = 0, 4, 6, 8  # the fields of the schema's table Model, and their number


def embed_sidecar(tflite: bytes, sidecar: dict[str, Any]) -> bytes:
    """The file with `sidecar` inside, all but its `sha256` and `bytes`, which only the finished file has.

    Args:
        tflite: a .tflite file without a sidecar inside.
        sidecar: what JSON can hold.

    Returns:
        The file, longer by the JSON and some hundred bytes.

    Raises:
        ValueError: no .tflite file, a sidecar inside already, or weights that lie outside of the flatbuffer.
    """
    if read_sidecar(tflite) is not None:
        raise ValueError("The .tflite file has a sidecar inside already. Embed into what the converter wrote.")
    fields = _fields(tflite, _u32(tflite, 0))
    buffers, entries = _elements(tflite, fields[_BUFFERS]), _elements(tflite, fields[_METADATA])
    # Weights of 2 GB and more lie behind the flatbuffer, at offsets from the file's beginning, which would move.
    if any(fields[_FIELDS:]) or any(_fields(tflite, buffer)[1] for buffer in buffers):
        raise ValueError("The .tflite file keeps weights outside of its flatbuffer: no sidecar can be put before them.")
    text = json.dumps({key: value for key, value in sidecar.items() if key not in _OF_THE_FINISHED_FILE}).encode()

    front = _Front()
    root, model = front.table([field in (_BUFFERS, _METADATA) or bool(fields[field]) for field in range(_FIELDS)])
    front.point(0, root)
    targets: dict[int, int] = {}  # from places in `front` to places in the file that they point to
    for field in range(_FIELDS):
        if field in (_BUFFERS, _METADATA):
            old = buffers if field == _BUFFERS else entries
            vector, elements = front.vector(len(old) + 1)
            front.point(model[field], vector)
            targets |= dict(zip(elements, old, strict=False))
            added, places = front.table([True] if field == _BUFFERS else [True, True])
            front.point(elements[-1], added)
            front.point(places[0], front.string(text if field == _BUFFERS else METADATA_NAME.encode()))
            if field == _METADATA:
                front.write(places[1], len(buffers))  # the index of the new buffer
        elif field == _VERSION and fields[field]:
            front.write(model[field], _u32(tflite, fields[field]))
        elif fields[field]:
            targets[model[field]] = fields[field] + _u32(tflite, fields[field])
    front.align()
    for place, target in targets.items():
        front.point(place, len(front.data) + target)
    return bytes(front.data) + tflite


def read_sidecar(tflite: bytes) -> dict[str, Any] | None:
    """The sidecar inside a .tflite file, or None.

    Raises:
        ValueError: no .tflite file, or a damaged one.
    """
    if tflite[4:8] != b"TFL3":
        raise ValueError(f"This is no .tflite file: its bytes 4 to 8 are {tflite[4:8]!r}, expected b'TFL3'.")
    try:
        model = _fields(tflite, _u32(tflite, 0))
        for entry in _elements(tflite, model[_METADATA]):
            name, index = _fields(tflite, entry)[:2]
            if _bytes(tflite, name) == METADATA_NAME.encode():
                buffer = _elements(tflite, model[_BUFFERS])[_u32(tflite, index) if index else 0]
                sidecar: dict[str, Any] = json.loads(_bytes(tflite, _fields(tflite, buffer)[0]))
                return sidecar
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"The .tflite file is damaged: its metadata cannot be read ({error}).") from error
    return None


def _u32(data: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", data, place)[0])


def _fields(data: bytes, table: int) -> list[int]:
    """Where a table's fields lie, in the schema's order; 0 for those it leaves out."""
    layout = table - struct.unpack_from("<i", data, table)[0]
    count = struct.unpack_from("<H", data, layout)[0] // 2 - 2
    offsets = struct.unpack_from(f"<{count}H", data, layout + 4)
    return [table + offset if offset else 0 for offset in offsets] + [0] * (_FIELDS - count)


def _elements(data: bytes, field: int) -> list[int]:
    """The tables that a field's vector points to."""
    if not field:
        return []
    vector = field + _u32(data, field)
    places = range(vector + 4, vector + 4 + 4 * _u32(data, vector), 4)
    return [place + _u32(data, place) for place in places]


def _bytes(data: bytes, field: int) -> bytes:
    """A field's string or vector of bytes."""
    start = field + _u32(data, field)
    return data[start + 4 : start + 4 + _u32(data, start)]


class _Front:
    """The bytes put in front of a file; what a place points to is filled in when it is known."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0\0\0\0TFL3")

    def align(self, multiple: int = 64, rest: int = 0) -> None:
        """Zeros up to a length of `rest` modulo `multiple`."""
        self.data += bytes((rest - len(self.data)) % multiple)

    def point(self, place: int, target: int) -> None:
        self.write(place, target - place)

    def write(self, place: int, value: int) -> None:
        struct.pack_into("<I", self.data, place, value)

    def table(self, present: Sequence[bool]) -> tuple[int, list[int]]:
        """A table of fields of four bytes: its place and theirs."""
        self.align(4, rest=2 * (len(present) % 2))  # so that the table behind its layout is aligned to four
        size = 4 + 4 * sum(present)
        offsets = [4 + 4 * sum(present[:field]) if there else 0 for field, there in enumerate(present)]
        layout = struct.pack(f"<{2 + len(present)}H", 4 + 2 * len(present), size, *offsets)
        self.data += layout
        start = len(self.data)
        self.data += struct.pack("<i", len(layout)) + bytes(size - 4)
        return start, [start + offset for offset in offsets]

    def vector(self, length: int) -> tuple[int, list[int]]:
        """A vector of offsets: its place and theirs."""
        self.align(4)
        start = len(self.data)
        self.data += struct.pack("<I", length) + bytes(4 * length)
        return start, [start + 4 + 4 * index for index in range(length)]

    def string(self, content: bytes) -> int:
        """The bytes behind their number, aligned to 16, with a zero at the end: its place."""
        self.align(16, rest=12)
        start = len(self.data)
        self.data += struct.pack("<I", len(content)) + content + b"\0"
        return start
