"""Checkpoints of DeepLab v1 as its authors released them, LargeFOV and MSc, and the VGG-16s that they start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kzoo.convert.caffemodel import read_caffemodel
from kzoo.convert.errors import CheckpointError
from kzoo.convert.key_map import KeyMap, keras_array, keras_shape

if TYPE_CHECKING:
    from kzoo.layers import LargeFOV

_VGG16 = (("conv*_*", "block{}_conv{}"),)
# What the MSc branches are called by where they start.
_BRANCHES = {"data": "image", "pool1": "c0", "pool2": "c1", "pool3": "c2", "pool4": "c3"}

DEEPLAB = KeyMap(
    "DeepLab v1's authors",
    (
        *_VGG16,
        ("fc6", "large_fov/fc6"),
        ("fc7", "large_fov/fc7"),
        ("fc8_voc12", "classifier"),
        *((f"{theirs}_conv", f"msc_{ours}/conv") for theirs, ours in _BRANCHES.items()),
        *((f"{theirs}_fc", f"msc_{ours}/fc") for theirs, ours in _BRANCHES.items()),
        *((f"{theirs}_ms", f"msc_{ours}/score") for theirs, ours in _BRANCHES.items()),
    ),
)

VGG16 = KeyMap("VGG's or DeepLab v1's authors", _VGG16, dropped=("fc*",))


def set_large_fov(head: LargeFOV, path: str) -> None:
    """Sets DeepLab's first two head layers to those of a `.caffemodel` made for it (`vgg16_20M.caffemodel`).

    Raises: `CheckpointError` if `fc6` and `fc7` are not there, of other shapes, with biases where the head has
        BatchNorm, or not finite.
    """
    variables = {
        f"{layer.name}.{'weight' if variable.name == 'kernel' else variable.name}": variable
        for layer in (head.fc6, head.fc7)
        for variable in layer.weights
    }
    tensors = {key: tensor for key, tensor in read_caffemodel(path).items() if key.startswith(("fc6.", "fc7."))}
    expected = {key: tuple(variable.shape) for key, variable in variables.items()}
    found = {
        key: keras_shape(tensor.shape, "/kernel" if key.endswith(".weight") else key) for key, tensor in tensors.items()
    }
    for key in sorted(expected.keys() | found.keys()):
        if found.get(key) != expected.get(key):
            raise CheckpointError(
                f"{path!r} does not fit the head: {key} has shape {found.get(key)} in Keras' order, expected "
                f"{expected.get(key)}. Give the backbone's weights as `.weights.h5`, or build the head that the file "
                "is of."
            )
    for key, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"{path!r} is damaged: {key} holds NaN or infinity. Fetch the file anew.")
    for key, tensor in tensors.items():
        variables[key].assign(keras_array(tensor, f"/{variables[key].name}"))
