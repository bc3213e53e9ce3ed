"""Reads the weights in a `.caffemodel`: Caffe's NetParameter in protobuf's wire format, without protobuf.

A message is a row of fields. Each begins with a number, 8 times the field's own plus its form: 0 a number of variable
length, 1 eight bytes, 2 a length and so many bytes, 5 four bytes. What is needed here, by the field's number:

    NetParameter         2 layers (V1LayerParameter, before 2015), 100 layer (LayerParameter)
    LayerParameter       1 name, 7 blobs (BlobProto)
    V1LayerParameter     4 name, 6 blobs
    BlobProto            1-4 num, channels, height, width (of old), 5 data (float), 7 shape (BlobShape), 8 double_data
    BlobShape            1 dim

All other fields are passed over. The arrays are read-only views into a memory map of the file.

References: `caffe.proto` of BVLC Caffe; Protocol Buffers, Encoding.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kzoo.convert.errors import CheckpointError, reading
from kzoo.convert.zip_reader import map_file

_EXPECTED = "a network's weights from Caffe (.caffemodel)"
_FETCH_ANEW = "Fetch it anew and compare its SHA-256 with its publisher's."
_BLOBS = ("weight", "bias")

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_SIZES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
# A network has some thousand fields outside of what is passed over; reading one takes microseconds.
_MAX_FIELDS = 30_000
_MAX_AXES = 8


def read_caffemodel(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The weights in a `.caffemodel`, in the order of its layers.

    Args:
        path: the file, of any version of Caffe since layers have names.

    Returns:
        Read-only arrays by `<layer>.weight` and `<layer>.bias`, in Caffe's axis order, which is PyTorch's.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: it is no such file, damaged, holds one layer twice, or a layer with other weights than a kernel
            and a bias.
    """
    with reading(path, _EXPECTED) as file:
        weights = _Reader(map_file(file)).weights()
    if not weights:
        raise CheckpointError(
            f"Cannot read {str(path)!r}: it has no layer with weights; expected {_EXPECTED}, not a network's "
            "description (.prototxt) or a solver's state."
        )
    return weights


@dataclass(slots=True)
class _Field:
    """One field of a message.

    A row of fields of one number with four or eight bytes each, as unpacked arrays are, is one.

    Attributes:
        number, form: which field, and how it is written.
        value: the number, where the form is that; else 0.
        start, stop: the bytes that it holds.
        step: the distance between the values of a row.
    """

    number: int
    form: int
    value: int
    start: int
    stop: int
    step: int = 0


class _Reader:
    """A file, and how many fields may still be read from it."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._bytes = np.frombuffer(data, "u1")
        self._fields_left = _MAX_FIELDS

    def weights(self) -> dict[str, np.ndarray]:
        weights: dict[str, np.ndarray] = {}
        for field in self._fields(0, len(self._data)):
            if field.number in (2, 100):
                name, blobs = self._layer(field, *((4, 6) if field.number == 2 else (1, 7)))
                if len(blobs) > len(_BLOBS):
                    raise CheckpointError(
                        f"its layer {name[:80]!r} has {len(blobs)} arrays; kzoo reads layers with a kernel and a bias."
                    )
                for blob, array in zip(_BLOBS, blobs, strict=False):
                    key = f"{name}.{blob}"
                    if key in weights:
                        raise CheckpointError(f"it has two layers {name[:80]!r} with weights. {_FETCH_ANEW}")
                    weights[key] = array
        return weights

    def _layer(self, layer: _Field, name_field: int, blobs_field: int) -> tuple[str, list[np.ndarray]]:
        name, blobs = "", []
        for field in self._message(layer, "a layer"):
            if field.number == name_field:
                self._check(field, _LENGTH, "a layer's name")
                name = self._data[field.start : field.stop].decode("utf-8")
            elif field.number == blobs_field:
                blobs.append(self._blob(field))
        if blobs and not name:
            raise CheckpointError(f"it has a layer with weights and without a name. {_FETCH_ANEW}")
        if len(blobs) > 1 and blobs[1].ndim == 4 and blobs[1].shape[:3] == (1, 1, 1):
            blobs[1] = blobs[1].reshape(-1)  # in old files every array has four axes
        return name, blobs

    def _blob(self, blob: _Field) -> np.ndarray:
        old: dict[int, int] = {}
        shape: list[int] = []
        parts: list[np.ndarray] = []
        for field in self._message(blob, "an array"):
            if field.number in (1, 2, 3, 4):
                self._check(field, _VARINT, "an array's side")
                old[field.number] = field.value
            elif field.number in (5, 8):
                parts.append(self._values(field, "<f4" if field.number == 5 else "<f8"))
            elif field.number == 7:
                shape += self._dims(field)
        if old:
            shape = [old.get(number, 0) for number in (1, 2, 3, 4)]
        count = sum(part.size for part in parts)
        if not shape or len(shape) > _MAX_AXES or min(shape) < 1 or math.prod(shape) != count:
            raise CheckpointError(
                f"it has an array of shape {str(shape[: _MAX_AXES + 1])[:200]} with {count:,} values. {_FETCH_ANEW}"
            )
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        array = values.reshape(shape)
        array.flags.writeable = False
        return array

    def _values(self, field: _Field, dtype: str) -> np.ndarray:
        """Floating-point numbers, packed or one field each."""
        size = np.dtype(dtype).itemsize
        if field.form == _LENGTH and (field.stop - field.start) % size == 0:
            step = size
        elif field.form in _SIZES and _SIZES[field.form] == size:
            step = field.step
        else:
            raise CheckpointError(f"its values are not written as {dtype[1:]}. {_FETCH_ANEW}")
        count = -(-(field.stop - field.start) // step)
        return np.ndarray(count, dtype, self._data, field.start, (step,))

    def _dims(self, shape: _Field) -> list[int]:
        dims: list[int] = []
        for field in self._message(shape, "a shape"):
            if field.number == 1 and field.form == _VARINT:
                dims.append(field.value)
            elif field.number == 1:
                self._check(field, _LENGTH, "a shape's side")
                place = field.start
                while place < field.stop and len(dims) <= _MAX_AXES:
                    dim, place = self._varint(place, field.stop)
                    dims.append(dim)
        return dims

    def _message(self, field: _Field, what: str) -> Iterator[_Field]:
        self._check(field, _LENGTH, what)
        return self._fields(field.start, field.stop)

    def _check(self, field: _Field, form: int, what: str) -> None:
        if field.form != form:
            raise CheckpointError(f"it has {what} of the wrong type. {_FETCH_ANEW}")

    def _fields(self, place: int, end: int) -> Iterator[_Field]:
        """The fields of the message between two places."""
        while place < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise CheckpointError(
                    f"it has more than {_MAX_FIELDS:,} fields; it is damaged, or no network's weights."
                )
            start = place
            tag, place = self._varint(place, end)
            number, form = tag >> 3, tag & 7
            if number < 1 or form not in (_VARINT, _LENGTH, *_SIZES):
                raise CheckpointError(f"it does not begin, or go on, as {_EXPECTED} does. {_FETCH_ANEW}")
            if form == _VARINT:
                value, place = self._varint(place, end)
                yield _Field(number, form, value, place, place)
                continue
            if form == _LENGTH:
                length, place = self._varint(place, end)
            else:
                length = _SIZES[form]
            if not 0 <= length <= end - place:
                raise CheckpointError(f"it is cut off, or damaged: a field's end is past its message's. {_FETCH_ANEW}")
            field = _Field(number, form, 0, place, place + length)
            if form in _SIZES:
                field.step = length + place - start
                if place - start == 1:
                    field.stop += self._alike(start, field.step, end) * field.step
            place = field.stop
            yield field

    def _alike(self, start: int, step: int, end: int) -> int:
        """How many fields follow that begin with the same byte, each `step` bytes after the other."""
        first = self._data[start]
        found, most, block = 0, (end - start) // step - 1, 16
        if most < 1 or self._data[start + step] != first:
            return 0
        while found < most:  # in growing blocks, so that many short rows cost no more than one long one
            begin = start + (found + 1) * step
            same = self._bytes[begin : begin + min(block, most - found) * step : step] == first
            if not same.all():
                return found + int(same.argmin())
            found += same.size
            block *= 4
        return found

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        """A number of variable length, as a signed one of 64 bits, and the place behind it."""
        value = 0
        for shift in range(0, 70, 7):
            if place >= end:
                raise CheckpointError(f"it is cut off, or damaged: a number has no end. {_FETCH_ANEW}")
            byte = self._data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                value &= 2**64 - 1
                return value - 2**64 if value >= 2**63 else value, place
        raise CheckpointError(f"it is damaged: a number is longer than 64 bits. {_FETCH_ANEW}")
