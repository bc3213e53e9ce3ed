"""Tables from the keys of a foreign checkpoint to the layers of a kzoo network, and the transfer of the weights.

A table is ordered and read line by line: `("pretrained.layer*.*.conv*", "layer{}_{}_conv{}")` says that the module
`pretrained.layer1.0.conv2` of the checkpoint is kzoo's layer `layer1_0_conv2`. `*` stands for a number.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo.convert.errors import CheckpointError

if TYPE_CHECKING:
    import keras

# What PyTorch calls the tensors of a layer, and what Keras calls them, for BatchNorm and for all others.
_BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_OTHERS = {"weight": "kernel", "bias": "bias"}


@dataclass(frozen=True)
class KeyMap:
    """The table of one source.

    Attributes:
        source: who publishes files of this layout, for messages.
        modules: (the checkpoint's module, kzoo's layer path below the network's name), `*` for numbers.
        dropped: patterns of keys that are left out on purpose, each of which may be present or absent.
        kept: patterns of the weights that no file of this layout has, and that stay as the network has them.
        prepare: brings the tensors of a layout that is not PyTorch's own to its names and axes; None changes nothing.
    """

    source: str
    modules: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    prepare: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    def layer(self, module: str) -> str | None:
        """kzoo's layer path for a module of the checkpoint; None if the table does not know it."""
        for pattern, target in self.modules:
            found = _compiled(pattern).fullmatch(module)
            if found:
                return target.format(*found.groups())
        return None

    def is_dropped(self, key: str) -> bool:
        """Whether a key is left out on purpose."""
        return any(fnmatch.fnmatchcase(key, pattern) for pattern in self.dropped)

    def is_kept(self, path: str) -> bool:
        """Whether a weight of the network is none that files of this layout have."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.kept)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", r"(\d+)"))


def set_weights(model: keras.Model, tensors: Mapping[str, Any], key_map: KeyMap, path: str) -> None:
    """Sets every weight of a network but those that the table keeps from a checkpoint's tensors, all of which it needs
    but an auxiliary head's.

    Everything is compared first: the network is unchanged when an error is raised.

    Args:
        model: the network, or a backbone of one.
        tensors: the checkpoint, key -> array in PyTorch's axis order, or as the table's `prepare` takes them; arrays
            may be mapped files.
        key_map: the table of the checkpoint's source.
        path: the checkpoint's file, for messages.

    Raises:
        CheckpointError: a key that the table does not know, a weight of the network that no key sets, or that two
            set, a shape that differs, or values that are not real floating-point numbers or not finite.
    """
    if key_map.prepare is not None:
        tensors = key_map.prepare(tensors)
    variables = _variables(model)
    pairs: dict[str, str] = {}
    problems: list[str] = []
    for key in tensors:
        if key_map.is_dropped(key) or _of_absent_aux_head(key, key_map, variables):
            continue
        target = _variable(key, key_map, variables)
        if target is None:
            problems.append(f"{key} is unknown to the network")
        elif target in pairs:
            problems.append(f"{key} and {pairs[target]} are both {target}")
        else:
            pairs[target] = key
            expected, found = tuple(variables[target].shape), keras_shape(tensors[key].shape, target)
            if expected != found:
                problems.append(f"{key} ({target}) has shape {found} in Keras' order, expected {expected}")
            if tensors[key].dtype.kind != "f":
                problems.append(f"{key} ({target}) holds {tensors[key].dtype}, expected floating-point numbers")
    problems += [
        f"nothing sets {target}" for target in variables if target not in pairs and not key_map.is_kept(target)
    ]
    if problems:
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(
            f"{path!r} does not fit the network {model.name!r} as a file of {key_map.source}: "
            f"{'; '.join(problems[:4])}{more}. Expected a checkpoint of the same architecture, depth, stem, lateral "
            "connections and number of classes."
        )
    for target, key in pairs.items():
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.asarray(tensors[key], "float32")).all()
        if not finite:
            raise CheckpointError(
                f"{path!r} is damaged, or of a training that diverged: {key} ({target}) holds NaN or infinity, or more "
                "than float32 can. Expected finite weights; fetch the file anew, or take an earlier checkpoint."
            )
    for target, key in pairs.items():
        variables[target].assign(keras_array(tensors[key], target))


def keras_shape(shape: Sequence[int], target: str) -> tuple[int, ...]:
    """The shape in Keras' axis order: (O, I, H, W) -> (H, W, I, O), (out, in) -> (in, out) for kernels."""
    if target.endswith("/kernel") and len(shape) == 4:
        return tuple(shape[axis] for axis in (2, 3, 1, 0))
    if target.endswith("/kernel") and len(shape) == 2:
        return (shape[1], shape[0])
    return tuple(shape)


def keras_array(array: np.ndarray, target: str) -> np.ndarray:
    """The values in Keras' axis order, contiguous."""
    if target.endswith("/kernel"):
        array = array.transpose((2, 3, 1, 0) if array.ndim == 4 else (1, 0))
    return np.ascontiguousarray(array)


def _variables(model: keras.Model) -> dict[str, Any]:
    """The network's weights by their path below its name; a backbone's keep the names that they have in any network."""
    prefix = f"{model.name}/"
    return {weight.path.removeprefix(prefix): weight for weight in model.weights if "seed_generator" not in weight.path}


def in_aux_head(path: str) -> bool:
    """Whether a layer or weight is the auxiliary head's. That is for training; a network may be built without it."""
    return path.partition("/")[0] == "aux_head"


def kept_layers(model: keras.Model, key_map: KeyMap) -> tuple[str, ...]:
    """The names of the layers (of a weight of the network's own, its name) that `set_weights` leaves as they are."""
    return tuple(sorted({path.rpartition("/")[0] or path for path in _variables(model) if key_map.is_kept(path)}))


def _of_absent_aux_head(key: str, key_map: KeyMap, variables: Mapping[str, Any]) -> bool:
    """Whether `key` belongs to an auxiliary head that the network does not have."""
    return in_aux_head(key_map.layer(key.rpartition(".")[0]) or "") and not any(map(in_aux_head, variables))


def _variable(key: str, key_map: KeyMap, variables: Mapping[str, Any]) -> str | None:
    """The path of the weight that `key` sets, or None."""
    module, _, tensor = key.rpartition(".")
    layer = key_map.layer(module)
    if layer is None:
        return None
    names = _BATCH_NORM if f"{layer}/gamma" in variables else _OTHERS
    path = f"{layer}/{names.get(tensor, tensor)}".removeprefix("/")
    return path if path in variables else None
