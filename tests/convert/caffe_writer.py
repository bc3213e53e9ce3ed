"""Caffe's files written by hand, in protobuf's wire format: what Caffe writes, and what it does not."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    low = bytearray()
    while value >= 0x80:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def four_bytes(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def blob(array: np.ndarray, *, old: bool = False, packed: bool = True) -> bytes:
    """A BlobProto: the shape as four sides in old files, else as a BlobShape; float64 arrays as `double_data`."""
    if old:
        sides = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(number(index, side) for index, side in enumerate(sides, start=1))
    else:
        shape = block(7, block(1, b"".join(map(varint, array.shape))))
    field, kind = (8, "<f8") if array.dtype == np.float64 else (5, "<f4")
    raw = array.astype(kind).tobytes()
    if packed:
        return shape + block(field, raw)
    size = np.dtype(kind).itemsize
    tag = varint(field << 3 | (1 if size == 8 else 5))
    return shape + b"".join(tag + raw[place : place + size] for place in range(0, len(raw), size))


def layer(name: str, blobs: Sequence[bytes] = (), *, old: bool = False) -> bytes:
    """A layer of a NetParameter, as V1LayerParameter or LayerParameter, with fields that nobody needs."""
    if old:
        content = block(2, b"bottom") + block(4, name.encode()) + number(5, 4)
        content += b"".join(block(6, blob) for blob in blobs) + four_bytes(7, 1.0) + four_bytes(7, 2.0)
        return block(2, content)
    content = block(1, name.encode()) + block(2, b"Convolution") + block(3, b"bottom") + four_bytes(5, 1.0)
    return block(100, content + b"".join(block(7, blob) for blob in blobs) + number(10, 0))


def caffemodel(layers: Mapping[str, Sequence[np.ndarray]], *, old: bool = False, packed: bool = True) -> bytes:
    """A whole file: layers of arrays by their names, between layers that have none."""
    parts = [block(1, b"a network"), layer("data", old=old)]
    for name, arrays in layers.items():
        parts.append(layer(name, [blob(array, old=old, packed=packed) for array in arrays], old=old))
        parts.append(layer(f"relu_{name}", old=old))
    return b"".join([*parts, number(5, 0), layer("data", old=old)])
