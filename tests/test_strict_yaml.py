from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from kzoo.strict_yaml import from_mapping, parse_yaml, read_yaml, to_plain


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] = (1, 2)
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate: must not be negative, got {self.rate}.")
        if self.size[0] > self.size[1]:
            raise ValueError("`size` must not fall.")


@dataclass(frozen=True)
class Outer:
    count: int
    kind: Literal["sgd", "adamw"] = "sgd"
    flag: bool = True
    name: str | None = None
    weights: Literal["auto"] | tuple[float, ...] | None = None
    args: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    many: tuple[Inner, ...] = ()


def test_values_of_every_kind() -> None:
    text = """
    count: 3
    kind: adamw
    flag: false
    name: x
    weights: [1, 2.5]
    args: {a: [1, {b: 2}]}
    scores: {miou: 1}
    inner: {size: [3, 4], rate: 1e-4}
    maybe: {rate: 2}
    many: [{}, {size: [5, 6]}]
    """
    assert from_mapping(Outer, parse_yaml(text, "t")) == Outer(
        count=3,
        kind="adamw",
        flag=False,
        name="x",
        weights=(1.0, 2.5),
        args={"a": [1, {"b": 2}]},
        scores={"miou": 1.0},
        inner=Inner((3, 4), 1e-4),
        maybe=Inner(rate=2.0),
        many=(Inner(), Inner((5, 6))),
    )


@pytest.mark.parametrize(
    ("text", "number"), [("1e-4", 1e-4), ("1E5", 1e5), ("2", 2.0), ("-.5", -0.5), ("'3e2'", 300.0)]
)
def test_every_way_to_write_a_number(text: str, number: float) -> None:
    value = from_mapping(Outer, {"count": 1, "weights": [parse_yaml(text, "t")]}).weights
    assert value == (number,)
    assert isinstance(value[0], float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "top level: missing 'count'."),
        ({"cuont": 1}, "cuont: unknown key. Did you mean 'count'?"),
        ({"count": 1, "zzzzzz": 1}, "zzzzzz: unknown key. Known keys: count, kind, flag"),
        ({"count": 1, "inner": {"rat": 1}}, "inner.rat: unknown key. Did you mean 'rate'?"),
        ({"count": 1, "maybe": {"rat": 1}}, "maybe.rat: unknown key. Did you mean 'rate'?"),
        ({"count": 1, "many": [{}, {"rat": 1}]}, "many[1].rat: unknown key."),
        ({"count": 1.5}, "count: expected a whole number, got 1.5 (number)."),
        ({"count": True}, "count: expected a whole number, got True (true/false)."),
        ({"count": "1"}, "count: expected a whole number, got '1' (text)."),
        ({"count": None}, "count: expected a whole number, got nothing (null)."),
        ({"count": 1, "flag": 1}, "flag: expected true or false, got 1 (whole number)."),
        ({"count": 1, "name": 5}, "name: expected a text or null, got 5 (whole number)."),
        ({"count": 1, "kind": "adam"}, "kind: expected 'sgd' or 'adamw', got 'adam' (text). Did you mean 'adamw'?"),
        ({"count": 1, "inner": {"size": [1, 2, 3]}}, "inner.size: expected a list of 2: [a whole number, a whole"),
        ({"count": 1, "inner": {"size": [1, 2.5]}}, "inner.size[1]: expected a whole number, got 2.5 (number)."),
        ({"count": 1, "inner": {"size": "12"}}, "inner.size: expected a list of 2"),
        ({"count": 1, "inner": {"rate": True}}, "inner.rate: expected a number, got True (true/false)."),
        ({"count": 1, "inner": {"rate": float("nan")}}, "inner.rate: expected a number, got nan (number)."),
        ({"count": 1, "inner": {"rate": -1}}, "inner.rate: must not be negative, got -1.0."),
        ({"count": 1, "inner": {"size": [2, 1]}}, "inner: `size` must not fall."),
        ({"count": 1, "inner": None}, "inner: expected a mapping of keys to values, got nothing (null)."),
        ({"count": 1, "weights": "atuo"}, "weights: expected 'auto' or a list, each item a number or null, got 'atuo'"),
        ({"count": 1, "scores": {"a": "b"}}, "scores.a: expected a number, got 'b' (text)."),
        ({"count": 1, "scores": {3: 1}}, "the keys of scores: expected a text, got 3 (whole number)."),
    ],
)
def test_errors_name_key_expectation_and_value(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        from_mapping(Outer, mapping)
    assert str(error.value).startswith(message)


def test_where_stands_in_front() -> None:
    with pytest.raises(ValueError, match=r"^a\.b\.count: expected"):
        from_mapping(Outer, {"count": "x"}, "a.b")


def test_yaml_faults(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^t: not valid YAML: .*the key 'a' is given twice"):
        parse_yaml("a: 1\na: 2\n", "t")
    with pytest.raises(ValueError, match=r"^t: not valid YAML: .*unhashable key"):
        parse_yaml("{[a]: 1}", "t")
    with pytest.raises(ValueError, match=r"^t: not valid YAML"):
        parse_yaml("a: [1", "t")
    with pytest.raises(FileNotFoundError, match=r"The config '.*absent.yaml' is not there"):
        read_yaml(tmp_path / "absent.yaml", "config")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_yaml(tmp_path)
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"list.yaml: expected `key: value` lines at the top level, got \[1\]"):
        read_yaml(tmp_path / "list.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"binary.yaml: not a text file in UTF-8"):
        read_yaml(tmp_path / "binary.yaml")


def test_plain_values_read_back() -> None:
    outer = Outer(count=1, weights=(1.0,), many=(Inner(),), args={"a": (1, 2)})
    plain = to_plain(outer)
    assert plain["many"] == [{"size": [1, 2], "rate": 0.5}]
    assert from_mapping(Outer, plain) == Outer(count=1, weights=(1.0,), many=(Inner(),), args={"a": [1, 2]})
