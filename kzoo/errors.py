"""Errors and their messages that several rooms share."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


class FetchError(OSError):
    """A file that is not in the cache could not be fetched; the message names all that was tried and what helps."""


class MissingPackageError(ImportError):
    """A package of one of kzoo's extras is not installed; the message tells which extra brings it."""


def need(module: str, extra: str) -> Any:
    """The module, imported; raises `MissingPackageError` where it is not installed.

    Args:
        module: its name, e.g. `"onnxruntime"`.
        extra: the extra of kzoo that brings it, e.g. `"onnx"`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(f"{module} is not installed: pip install 'kzoo[{extra}]'.") from error


def near_matches(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """The up to `count` options that look most like `name`, best first."""
    options = list(options)
    by_lower = {option.lower(): option for option in options}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=count, cutoff=0.5)
    return [by_lower[match] for match in found]


def unknown_name(kind: str, name: object, options: Iterable[str], how_to_list: str = "") -> ValueError:
    """A `ValueError` for a name that is none of `options`, with the near matches.

    Args:
        kind: what was looked up, e.g. `"model"`.
        name: the name received.
        options: the names that exist.
        how_to_list: how the user can list them, e.g. "`kzoo list` shows all".
    """
    options = sorted(options)
    near = near_matches(str(name), options)
    if near:
        hint = "Did you mean " + " or ".join(repr(match) for match in near) + "?"
    else:
        hint = f"Expected one of: {', '.join(options)}." if len(options) <= 20 else ""
    parts = [f"Unknown {kind} {name!r}.", hint, how_to_list]
    return ValueError(" ".join(part for part in parts if part))
