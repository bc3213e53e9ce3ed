"""Strict reading of YAML into frozen dataclasses: what is not understood is an error, never ignored."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from kzoo.errors import near_matches

T = TypeVar("T")

# YAML 1.1 reads `1e-4` (no dot, or no sign in the exponent) as a string; everybody who writes it means a number.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class _StrictLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses a key written twice (plain YAML silently keeps the last one)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # a list or mapping as a key: the base class refuses it
            if key_node.value in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Args:
        where: what the text is, for the error message, e.g. the file's name.

    Raises:
        ValueError: the text is no valid YAML, or gives a key twice.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise ValueError(f"{where}: not valid YAML: {detail}") from error


def read_yaml(path: str | os.PathLike[str], kind: str = "YAML file") -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not valid YAML, a key given twice, or not a mapping at the top.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        raise FileNotFoundError(f"The {kind} {str(path)!r} is {what}; expected the path of a YAML file.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error}).") from error
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected `key: value` lines at the top level, got {_show(value)}.")
    return value


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """A dataclass instance from a mapping, checked field by field.

    Args:
        cls: a dataclass. Its fields may be bool, int, float, str, `Literal`, `Any`, dataclasses, and
            `X | None`, unions, `tuple` and `dict` of these.
        mapping: the values. A field without a default must be there.
        where: dotted path of `mapping` itself, put before the field names in messages, e.g. `"data.augment"`.

    Raises:
        ValueError: an unknown key (with the near matches), a missing key, or a value of the wrong type; the message
            gives the dotted path of the key, what was expected and the value received. A `ValueError` of the
            dataclass's own `__post_init__` is passed on with `where` in front; let it begin with `field: `.
    """
    if not isinstance(mapping, Mapping):
        raise ValueError(f"{where or 'top level'}: expected a mapping of keys to values, got {_show(mapping)}.")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            near = near_matches(str(key), fields)
            hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known keys: {', '.join(fields)}."
            raise ValueError(f"{_join(where, key)}: unknown key. {hint}")
    missing = [
        name
        for name, field in fields.items()
        if name not in mapping and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{where or 'top level'}: missing {', '.join(map(repr, missing))}.")
    hints = typing.get_type_hints(cls)
    values = {key: convert(hints[key], value, _join(where, key)) for key, value in mapping.items()}
    try:
        return cls(**values)
    except ValueError as error:
        message = str(error)
        # A message that begins with a field's name continues the dotted path.
        separator = "." if re.match(r"\w+[:.\[]", message) else ": "
        raise ValueError(f"{where}{separator}{message}" if where else message) from error


def convert(kind: Any, value: Any, where: str) -> Any:
    """`value` as the type `kind`, or a `ValueError` naming `where`, the expectation and the value."""
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return from_mapping(typing.cast(type, kind), value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(kind, arguments, value, where)
    if origin is Literal:
        # `type` too, because True == 1 in Python.
        if any(value == option and type(value) is type(option) for option in arguments):
            return value
        near = near_matches(str(value), [str(option) for option in arguments])
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(_mismatch(kind, value, where) + hint)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    elif origin is dict and isinstance(value, Mapping):
        return {
            convert(arguments[0], key, f"the keys of {where}"): convert(arguments[1], item, _join(where, key))
            for key, item in value.items()
        }
    elif kind is float:
        number = _as_float(value)
        if number is not None:
            return number
    elif kind in (bool, int, str, type(None)) and type(value) is kind:
        return value
    raise ValueError(_mismatch(kind, value, where))


def check_arguments(owner: str, hints: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Whether a function takes these arguments, as far as they are of the kinds that YAML holds.

    Args:
        owner: the function's name, for the message.
        hints: its arguments' names and type hints.
        arguments: names and values.

    Raises:
        ValueError: an unknown name (with the near matches), or a value of the wrong type.
    """
    for key, value in arguments.items():
        if key not in hints:
            near = near_matches(str(key), hints)
            hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"It has: {', '.join(sorted(hints))}."
            raise ValueError(f"{owner} has no argument {key!r}. {hint}")
        if _is_convertible(hints[key]):
            convert(hints[key], value, f"{owner}'s argument {key!r}")


def _is_convertible(kind: Any) -> bool:
    if typing.get_origin(kind) in (Union, types.UnionType):
        return all(_is_convertible(argument) for argument in typing.get_args(kind))
    return kind in (bool, int, float, str, type(None)) or typing.get_origin(kind) is dict


def describe(kind: Any) -> str:
    """A type in words, for messages: `tuple[int, int]` is "a list of 2: (whole number, whole number)"."""
    simple = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}
    if kind in simple:
        return simple[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(repr(option) for option in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"a list, each item {describe(arguments[0])}"
        return f"a list of {len(arguments)}: [{', '.join(describe(argument) for argument in arguments)}]"
    return "a mapping of keys to values"


def to_plain(value: Any) -> Any:
    """Dataclasses and tuples as the dicts and lists that YAML and JSON write."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def _convert_union(kind: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    others = [argument for argument in arguments if argument is not type(None)]
    if len(others) == 1 and (dataclasses.is_dataclass(others[0]) or isinstance(value, list | Mapping)):
        return convert(others[0], value, where)  # its message names the inner key
    for argument in others:
        try:
            return convert(argument, value, where)
        except ValueError:
            continue
    raise ValueError(_mismatch(kind, value, where))


def _as_float(value: Any) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _mismatch(kind: Any, value: Any, where: str) -> str:
    return f"{where}: expected {describe(kind)}, got {_show(value)}."


def _show(value: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", bool: "true/false", list: "list", dict: "mapping"}
    return "nothing (null)" if value is None else f"{value!r} ({names.get(type(value), type(value).__name__)})"


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)
