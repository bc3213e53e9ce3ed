"""Reads the HDF5 weight files of Keras 1 and 2 (`.h5`): names and arrays, without a network to put them into.

Such a file, or its group `model_weights` where a whole model was saved, has the attribute `layer_names`; the group of
each layer has the attribute `weight_names`, and the weights under these names. A list too long for one attribute is
split into `layer_names0`, `layer_names1`, ...

HDF5 can lead a reader into other files, run filters that unpack without a bound, and hold objects of any kind. What
Keras writes needs none of that, and all of it is refused before a weight is read.

Reference: `keras/src/legacy/saving/legacy_h5_format.py` of Keras 3.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kzoo.convert.errors import CheckpointError, reading
from kzoo.convert.zip_reader import map_file

_EXPECTED = "a weights file of Keras 1 or 2 (.h5)"
# In a very small file, descriptions take more than weights.
_SPARE_BYTES = 2**20
# HDF5 keeps texts in heaps. Each begins so; its size follows, and then its items: number, length, bytes.
_HEAP = b"GCOL\1"
# A text's length is known only when it is read, and a hostile list can name one long text over and over. Whole models
# of Keras keep a description of a megabyte in such a heap, and list a thousand names.
_MAX_NAMES = 100_000
_MAX_NAMES_BYTES = 2**30

_REPACK = "Where you trust the file, load and save it with Keras, or write its weights anew with h5py."


def read_keras_h5(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> dict[str, np.ndarray]:
    """The weights in a Keras 1 or 2 `.h5` file, in the order of its layers and of each layer's weights.

    Args:
        path: the file: weights alone, or a whole model, of which the weights are read and nothing else.
        max_bytes: the most that all weights together may have; by default twice the file's size.

    Returns:
        Arrays by `<layer>/<weight's name>`, e.g. `"conv1/conv1/kernel:0"`; those of no layer come last, as
        `"top_level_model_weights/..."`.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: it is no such file, damaged, too large, or leads out of itself.
    """
    with reading(path, _EXPECTED) as file_path:
        limit = 2 * file_path.stat().st_size + _SPARE_BYTES if max_bytes is None else max_bytes
        largest_text = _largest_text(file_path)
        with h5py.File(file_path, "r") as file:
            return _Reader(file, limit, largest_text).weights()


class _Reader:
    """An open file, and how many bytes may still be read from it."""

    def __init__(self, file: h5py.File, limit: int, largest_text: int) -> None:
        self._file = file
        self._limit = self._left = limit
        self._largest_text = largest_text

    def weights(self) -> dict[str, np.ndarray]:
        root = self._file
        if not self._names(root, "layer_names") and _is_hard_link(root, "model_weights"):
            root = _member(root, "model_weights", h5py.Group)
        layers = self._names(root, "layer_names")
        if not layers:
            raise CheckpointError(
                f"it has no attribute 'layer_names', so it is not {_EXPECTED}. A file of Keras 3 (.weights.h5) is "
                "loaded by the network that wrote it."
            )
        if _is_hard_link(root, "top_level_model_weights"):
            layers.append("top_level_model_weights")
        weights = {}
        for layer in layers:
            group = _member(root, layer, h5py.Group)
            for name in self._names(group, "weight_names"):
                weights[f"{layer}/{name}"] = self._array(_member(group, name, h5py.Dataset))
        return weights

    def _names(self, group: h5py.Group, attribute: str) -> list[str]:
        """The names in an attribute, whole or split; none if it is not there."""
        split = itertools.takewhile(group.attrs.__contains__, (f"{attribute}{index}" for index in itertools.count()))
        parts = [attribute] if attribute in group.attrs else list(split)
        count = size = 0
        for part in parts:
            described = group.attrs.get_id(part)
            text = h5py.check_string_dtype(described.dtype)
            entries = math.prod(described.shape)
            if text is None and entries > 0:  # Keras writes an empty list as numbers
                raise CheckpointError(f"the attribute {part!r} of {group.name[:200]!r} is no list of names. {_REPACK}")
            count += entries
            size += entries * (text.length or self._largest_text if text else 0)
        if count > _MAX_NAMES or size > _MAX_NAMES_BYTES:
            raise CheckpointError(f"{attribute!r} of {group.name[:200]!r} lists too much to be names. {_REPACK}")
        values = [value for part in parts for value in np.ravel(group.attrs[part])]
        names = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
        if len(set(names)) < len(names):
            raise CheckpointError(f"{group.name[:200]!r} lists a name twice in {attribute!r}. Fetch the file anew.")
        return names

    def _array(self, dataset: h5py.Dataset) -> np.ndarray:
        stored = dataset.id.get_create_plist()
        if dataset.dtype.kind not in "fiub" or dataset.shape is None:
            problem = "holds no numbers"
        elif stored.get_layout() == h5py.h5d.VIRTUAL or stored.get_external_count():
            problem = "lies in another file"
        elif stored.get_nfilters():
            problem = "is compressed or filtered"
        else:
            self._take(math.prod(dataset.shape) * dataset.dtype.itemsize)
            return np.asarray(dataset[()])
        raise CheckpointError(f"its weight {dataset.name[:200]!r} {problem}, which Keras does not write. {_REPACK}")

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise CheckpointError(f"it holds more than {self._limit:,} bytes. If that is right, raise max_bytes.")


def _is_hard_link(group: h5py.Group, name: str) -> bool:
    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def _member(group: h5py.Group, path: str, kind: type) -> Any:
    """What lies under a path of names, each of them in the file itself: soft and external links are not followed."""
    item: Any = group
    for name in path.split("/"):
        if name in ("", ".") or not isinstance(item, h5py.Group) or not _is_hard_link(item, name):
            raise CheckpointError(f"{path[:200]!r}, which it lists in {group.name[:200]!r}, is not in it. {_REPACK}")
        item = item[name]
    if not isinstance(item, kind):
        raise CheckpointError(f"{path[:200]!r} in {group.name[:200]!r} is no {kind.__name__.lower()}. {_REPACK}")
    return item


def _largest_text(path: Path) -> int:
    """The most bytes that one text in the file can have. Checks the heaps that texts lie in.

    HDF5's library never ends reading a heap with a free space of size 0. Heaps are looked for in the whole file, also
    inside of others, as one of those might be none.
    """
    data = map_file(path)
    if len(data) < 16 or data[:8] != b"\x89HDF\r\n\x1a\n":
        raise CheckpointError(f"it begins with {data[:12]!r}, not as {_EXPECTED} does. Fetch it anew.")
    widths = data[13:15] if data[8] < 2 else data[9:11]
    if widths != b"\x08\x08":
        raise CheckpointError(f"it is HDF5 with addresses of {widths[0]} bytes, expected 8. {_REPACK}")
    largest, place = 0, data.find(_HEAP)
    items_left = len(data) // 16  # an item takes as many bytes or more, and heaps do not overlap
    while place >= 0:
        size = int.from_bytes(data[place + 8 : place + 16], "little")
        stop = place + size
        # Others are weights that happen to look so, or refused by the library.
        if 4096 <= size and stop <= len(data):
            item = place + 16
            while item + 16 <= stop:
                index, length = struct.unpack_from("<H6xQ", data, item)
                if index == 0 and length == 0:
                    raise CheckpointError("its heap of texts is damaged. Fetch it anew.")
                largest = max(largest, length if index else 0)
                items_left -= 1
                if items_left < 0:
                    raise CheckpointError("its heaps of texts overlap. Fetch it anew.")
                item += 16 + -8 * (-length // 8) if index else length
        place = data.find(_HEAP, place + 1)
    return largest
