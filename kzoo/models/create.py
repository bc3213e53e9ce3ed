"""A network from its architecture's name and a mapping of arguments, as recipes and cards hold them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from kzoo.errors import near_matches, unknown_name
from kzoo.models.encnet import EncNet
from kzoo.models.fcn import FCN
from kzoo.models.segmenter import Segmenter

ARCHITECTURES: dict[str, type[Segmenter]] = {"encnet": EncNet, "fcn": FCN}


def create_model(architecture: str, num_classes: int, args: Mapping[str, Any]) -> Segmenter:
    """A fresh network `kzoo.models.ARCHITECTURES[architecture](num_classes=num_classes, **args)`.

    Raises:
        ValueError: no such architecture, or it has no argument of such a name (with the near matches), or the
            architecture's own error for a value.
    """
    if architecture not in ARCHITECTURES:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    build = ARCHITECTURES[architecture]
    known = _constructor_arguments(build)
    for key in args:
        if key not in known:
            near = near_matches(key, known)
            hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"It has: {', '.join(sorted(known))}."
            raise ValueError(f"{build.__name__} has no argument {key!r}. {hint}")
    return build(num_classes=num_classes, **args)


def _constructor_arguments(build: type) -> set[str]:
    """Names of all keyword arguments of a constructor, those that its `**kwargs` pass to the base class included."""
    names: set[str] = set()
    for base in inspect.getmro(build):
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        names |= {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names - {"num_classes"}
