"""Checkpoints of DeepLab v1 as its authors released them, LargeFOV and MSc, and the VGG-16s that they start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

    Raises: `CheckpointError` if `fc6` and `fc7` are not there, or of other shapes.
    """
    tensors = read_caffemodel(path)
    found = {}
    for layer in (head.fc6, head.fc7):
        for weight in layer.weights:
            key = f"{layer.name}.{'weight' if weight.name == 'kernel' else weight.name}"
            shape = keras_shape(tensors[key].shape, f"/{weight.name}") if key in tensors else None
            if shape != tuple(weight.shape):
                raise CheckpointError(
                    f"{path!r} does not fit the head: {key} has shape {shape} in Keras' order, expected "
                    f"{tuple(weight.shape)}. Give the backbone's weights as `.weights.h5`, or build the head that the "
                    "file is of."
                )
            found[weight.path] = weight, keras_array(tensors[key], f"/{weight.name}")
    for weight, value in found.values():
        weight.assign(value)
