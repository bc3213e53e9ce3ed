"""A network from its architecture's name and a mapping of arguments, as recipes and cards hold them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from kzoo.errors import unknown_name
from kzoo.models.deeplab_v1 import DeepLabV1
from kzoo.models.deeplab_v2 import DeepLabV2
from kzoo.models.deeplab_v3plus import DeepLabV3Plus
from kzoo.models.encnet import EncNet
from kzoo.models.fcn import FCN
from kzoo.models.fcn8s import FCN8s
from kzoo.models.sanet import SANet
from kzoo.models.segmenter import Segmenter
from kzoo.models.zero_shot import CaGNet, SPNet, ZS3Net
from kzoo.strict_yaml import check_arguments

ARCHITECTURES: dict[str, type[Segmenter]] = {
    "cagnet": CaGNet,
    "deeplab_v1": DeepLabV1,
    "deeplab_v2": DeepLabV2,
    "deeplab_v3plus": DeepLabV3Plus,
    "encnet": EncNet,
    "fcn": FCN,
    "fcn8s": FCN8s,
    "sanet": SANet,
    "spnet": SPNet,
    "zs3net": ZS3Net,
}


def create_model(architecture: str, num_classes: int, args: Mapping[str, Any]) -> Segmenter:
    """A fresh network `kzoo.models.ARCHITECTURES[architecture](num_classes=num_classes, **args)`.

    Raises:
        ValueError: no such architecture, or it has no argument of such a name (with the near matches), or a value of
            the wrong type, or the architecture's own error for a value.
    """
    if architecture not in ARCHITECTURES:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    build = ARCHITECTURES[architecture]
    check_arguments(build.__name__, _constructor_arguments(build), args)
    return build(num_classes=num_classes, **args)


def _constructor_arguments(build: type) -> dict[str, Any]:
    """Type hints of all keyword arguments of a constructor, and of those that its `**kwargs` pass to the base class."""
    hints: dict[str, Any] = {}
    for base in inspect.getmro(build):
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        types = typing.get_type_hints(vars(base)["__init__"])
        for parameter in parameters:
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                hints.setdefault(parameter.name, types[parameter.name])
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    del hints["num_classes"]
    return hints
