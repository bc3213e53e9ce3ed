"""Backbones: functional models that return named features at known strides."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from kzoo.backbones.backbone import Backbone, Preprocessing
from kzoo.backbones.efficientnet import (
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
)
from kzoo.backbones.mobilenet_v2 import mobilenet_v2
from kzoo.backbones.resnet import resnet50, resnet101, resnet152
from kzoo.backbones.vgg import vgg16
from kzoo.backbones.vgg_fcn8s import vgg16_fcn8s
from kzoo.backbones.weights import load_backbone_weights, unfold_batch_normalization
from kzoo.errors import unknown_name
from kzoo.strict_yaml import check_arguments

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "efficientnet_b0": efficientnet_b0,
    "efficientnet_b1": efficientnet_b1,
    "efficientnet_b2": efficientnet_b2,
    "efficientnet_b3": efficientnet_b3,
    "efficientnet_b4": efficientnet_b4,
    "efficientnet_b5": efficientnet_b5,
    "efficientnet_b6": efficientnet_b6,
    "efficientnet_b7": efficientnet_b7,
    "mobilenet_v2": mobilenet_v2,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "vgg16": vgg16,
    "vgg16_fcn8s": vgg16_fcn8s,
}


def create(name: str, **kwargs: Any) -> Backbone:
    """The backbone of that name; `kwargs` go to its builder.

    Raises: `ValueError` for an unknown backbone or argument (with the near matches), or an argument of a wrong type.
    """
    if name not in BACKBONES:
        raise unknown_name("backbone", name, BACKBONES)
    hints = typing.get_type_hints(BACKBONES[name])
    del hints["return"]
    check_arguments(name, hints, kwargs)
    return BACKBONES[name](**kwargs)


def names() -> list[str]:
    """The names that `create` takes."""
    return sorted(BACKBONES)


__all__ = [
    "Backbone",
    "Preprocessing",
    "create",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "load_backbone_weights",
    "mobilenet_v2",
    "names",
    "resnet50",
    "resnet101",
    "resnet152",
    "unfold_batch_normalization",
    "vgg16",
    "vgg16_fcn8s",
]
