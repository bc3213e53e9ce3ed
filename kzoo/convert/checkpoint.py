"""Reads a checkpoint of any kind that a table is known for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kzoo.convert.caffemodel import read_caffemodel
from kzoo.convert.keras_h5 import read_keras_h5
from kzoo.convert.torch_file import read_torch, state_dict

_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_checkpoint(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> dict[str, Any]:
    """The tensors of a checkpoint.

    A weights file of Keras 1 or 2 is told by its first bytes, Caffe's, whose bytes say nothing, by its name; anything
    else is taken for PyTorch's.

    Args:
        path: the file.
        max_bytes: see `read_torch` and `read_keras_h5`.

    Returns: arrays by the file's own keys.
    Raises: `FileNotFoundError`, `CheckpointError`: as the readers do.
    """
    path = Path(path)
    if path.suffix == ".caffemodel":
        return read_caffemodel(path)
    if path.is_file():
        with path.open("rb") as file:
            is_hdf5 = file.read(len(_HDF5)) == _HDF5
        if is_hdf5:
            return read_keras_h5(path, max_bytes=max_bytes)
    return state_dict(read_torch(path, max_bytes=max_bytes), path)
