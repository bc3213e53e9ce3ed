"""kzoo: semantic-segmentation networks for Keras 3. See README.md.

`import kzoo` costs nothing: rooms and functions are imported when they are first used, TensorFlow with them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kzoo import backbones, crf, data, export, inference, layers, losses, metrics, models, training, zoo
    from kzoo.zoo import get_card, is_model, list_models, load, open_model

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "backbones",
    "crf",
    "data",
    "export",
    "get_card",
    "inference",
    "is_model",
    "layers",
    "list_models",
    "load",
    "losses",
    "metrics",
    "models",
    "open_model",
    "training",
    "zoo",
]

_FROM_ZOO = ("get_card", "is_model", "list_models", "load", "open_model")


def __getattr__(name: str) -> Any:
    if name in _FROM_ZOO:
        return getattr(importlib.import_module("kzoo.zoo"), name)
    if name in __all__:
        return importlib.import_module(f"kzoo.{name}")
    raise AttributeError(f"module 'kzoo' has no attribute {name!r}; it has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return sorted(__all__)
