"""Writing and strictly reading `.weights.h5` files, Keras' own format.

A file written here is an ordinary Keras weights file, `model.load_weights` reads it too. It differs in what it holds:
no optimizer, and float16 where that is enough. Reading compares the file with the network dataset by dataset first,
so that no weight can stay at its random start unnoticed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from kzoo.files import atomic_write

# A float16 rounds to 2^-11 = 4.9e-4 of its value, until it leaves its range (6e-5 to 65504).
_RELATIVE_ERROR = 1e-3
# Entries this far below a kernel's largest may round coarsely: they do not show in its products.
_NEGLIGIBLE = 1e-5

_SUFFIX = ".weights.h5"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _Entry:
    """One dataset of a weights file."""

    layer: str
    shape: Shape


def save_weights(model: Any, path: str | os.PathLike[str], dtype: Literal["float16", "float32"] = "float16") -> None:
    """Writes all weights of a built Keras model to a `.weights.h5` file, atomically and without the optimizer.

    Args:
        model: a built `keras.Model`.
        path: ends in `.weights.h5`.
        dtype: with `"float16"`, kernels and codewords are rounded to it. Vectors (biases, BatchNorm, scales: about
            3 % of a file, and BatchNorm divides by the square root of one of them) and depthwise kernels stay float32
            (nine products do not average their roundings away: the logits of a MobileNetV2 differed by 1.5 % of their
            range, by 0.5 % without), and so does an array that float16 cannot hold to 1e-3 of each value or 1e-5 of
            the largest.

    Raises:
        ValueError: the path's ending, an unknown dtype, or a weight that is not finite.
    """
    path = checked_suffix(path)
    if dtype not in ("float16", "float32"):
        raise ValueError(f"dtype must be 'float16' or 'float32'. Received: dtype={dtype!r}")
    with atomic_write(path) as temporary:
        with tempfile.TemporaryDirectory() as folder:
            full = Path(folder) / f"full{_SUFFIX}"
            model.save_weights(full)
            with h5py.File(full) as source, h5py.File(temporary, "w") as target:
                _copy(source, target, dtype)


def load_weights(
    model: Any,
    path: str | os.PathLike[str],
    may_be_fresh: Callable[[str, Shape, Shape], bool] | None = None,
    optional: Callable[[str], bool] = lambda layer: False,
) -> tuple[str, ...]:
    """Sets all weights of a built Keras model from a `.weights.h5` file; nothing is left out silently.

    Args:
        model: a built `keras.Model`.
        path: a file that `save_weights` or Keras wrote. An optimizer's state in it is passed over.
        may_be_fresh: called with the layer's path ("" for the model's own weights) and the shapes in the file and in
            the model where they differ; True leaves that weight as it is. By default every difference is an error.
        optional: called with a layer's path; True for one that the file or the model may lack, and whose weights stay
            as they are where they do not fit.

    Returns:
        The names of the layers that were left fresh.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no `.weights.h5`, or weights are missing in the file, unknown to the model or of another shape; the
            message names the layers. The model is unchanged then.
    """
    path = checked_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weights file at {str(path)!r}; expected a `.weights.h5` file.")
    with tempfile.TemporaryDirectory() as folder:
        # The model's own file says, by public means, under which key Keras looks for each weight.
        own_path = Path(folder) / f"own{_SUFFIX}"
        model.save_weights(own_path)
        own, found = _entries(own_path), _entries(path)
        differing = [key for key in own.keys() & found.keys() if own[key].shape != found[key].shape]
        fresh = {
            key for key in differing if may_be_fresh and may_be_fresh(own[key].layer, found[key].shape, own[key].shape)
        }
        fresh |= {key for key in {*differing, *(own.keys() - found.keys())} if optional(own[key].layer)}
        problems = [f"missing in the file: {_name(own, key)}" for key in own if key not in found and key not in fresh]
        problems += [
            f"unknown to the network: {_name(found, key)}"
            for key in found
            if key not in own and not optional(found[key].layer)
        ]
        problems += [
            f"{_name(own, key)} has shape {own[key].shape}, in the file {found[key].shape}"
            for key in sorted(differing)
            if key not in fresh
        ]
        if problems:
            more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
            raise ValueError(
                f"{str(path)!r} does not fit the network {model.name!r}: {'; '.join(problems[:4])}{more}. "
                "Expected a file of the same architecture, arguments and number of classes."
            )
        if fresh:
            merged = Path(folder) / f"merged{_SUFFIX}"
            shutil.copyfile(path, merged)
            with h5py.File(merged, "r+") as target, h5py.File(own_path) as source:
                for key in fresh:
                    if key in target:
                        del target[key]
                    target.create_dataset(key, data=source[key][()])
            model.load_weights(merged)
        else:
            model.load_weights(path)
    # The file has no names of weights that belong to the network itself and to no layer, as class embeddings do.
    bare = {
        tuple(weight.shape): weight.path.partition("/")[2] for weight in model.weights if weight.path.count("/") == 1
    }
    return tuple(sorted({own[key].layer or bare[own[key].shape] for key in fresh}))


def _entries(path: Path) -> dict[str, _Entry]:
    """All weights in a file by their key, the optimizer's left out."""
    entries: dict[str, _Entry] = {}

    def visit(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not key.startswith("optimizer/"):
            entries[key] = _Entry(_layer_path(key, item), tuple(item.shape))

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except OSError as error:
        raise ValueError(f"{str(path)!r} is not a readable HDF5 file: {error}") from error
    return entries


def _layer_path(key: str, dataset: Any) -> str:
    """`backbone/conv1` for `backbone/layers/conv2d_7/vars/0`, `aux/classifier` for `aux/classifier/vars/0`."""
    group = key.rpartition("/vars/")[0]
    parent = group.rpartition("/")[0]
    if parent != "layers" and not parent.endswith("/layers"):
        return group
    # Keras numbers the layers of a functional model by class; it notes a layer's own name beside its variables.
    name = dataset.parent.attrs.get("name", group.rpartition("/")[2])
    return f"{parent.removesuffix('layers')}{name}"


def _name(entries: dict[str, _Entry], key: str) -> str:
    return f"{entries[key].layer!r} (weight {key.rpartition('/')[2]})"


def _copy(source: h5py.Group, target: h5py.Group, dtype: str) -> None:
    # A layer's name, which messages use. The names of what has no weights are left out: Keras numbers the unnamed
    # ones through a process, and the same weights are to give the same file.
    if any(isinstance(item, h5py.Dataset) for item in source.values()):
        for key, value in source.attrs.items():
            target.attrs[key] = value
    for key, item in source.items():
        if source.name == "/" and key == "optimizer":
            continue
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(key), dtype)
            continue
        values = item[()]
        if np.issubdtype(values.dtype, np.floating) and not np.all(np.isfinite(values)):
            layer = source.attrs.get("name", source.name)
            raise ValueError(f"The weights of {layer!r} are not all finite (NaN or infinity); they are not written.")
        target.create_dataset(key, data=_rounded(values) if dtype == "float16" else values)
        for name, value in item.attrs.items():  # Keras marks bfloat16 here
            target[key].attrs[name] = value


def _rounded(values: np.ndarray) -> np.ndarray:
    """`values` as float16 if that is float32 and float16 can hold it, else `values`."""
    if values.dtype != np.float32 or values.ndim < 2 or values.shape[-1] == 1:
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    error = np.abs(half.astype(np.float32) - values)
    tolerance = np.maximum(_RELATIVE_ERROR * np.abs(values), _NEGLIGIBLE * np.abs(values).max(initial=0.0))
    return half if np.all(error <= tolerance) else values


def checked_suffix(path: str | os.PathLike[str]) -> Path:
    """`path`, if it ends in `.weights.h5`; else raises `ValueError`."""
    path = Path(path)
    if not path.name.endswith(_SUFFIX):
        raise ValueError(f"Weights files end in `{_SUFFIX}`. Received: {str(path)!r}")
    return path
