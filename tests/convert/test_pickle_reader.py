from __future__ import annotations

import os
import pickle
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kzoo.convert import CheckpointError, pickle_reader, read_torch
from kzoo.convert.pickle_reader import PickleReader
from tests.convert.handmade import (
    APPEND,
    BUILD,
    CALL,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FALSE,
    NONE,
    SET_ITEM,
    call,
    get,
    integer,
    legacy_bytes,
    named,
    program,
    put,
    sequence,
    storage,
    tensor,
    text,
    write,
    zip_bytes,
)

SYSTEM = f"{os.system.__module__}.system"  # posix.system


class Call:
    """Is pickled as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


class WithState:
    def __init__(self) -> None:
        self.weight = 3

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("ran")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that the hostile pickles would make."""
    return tmp_path / "ran"


def both_formats(tmp_path: Path, pickled: bytes) -> list[Path]:
    return [
        write(tmp_path / "legacy.pth", legacy_bytes(pickled)),
        write(tmp_path / "zip.pth", zip_bytes(pickled)),
    ]


def touch(marker: Path) -> bytes:
    return text(f"touch {marker}")


def hostile_pickles(marker: Path) -> dict[str, bytes]:
    source = f"open({str(marker)!r}, 'w')"
    command = f"touch {marker}"
    system = named("posix", "system")
    by_stack = text("posix") + text("system") + b"\x93"
    found = {
        f"{label} {protocol}": pickle.dumps({"weight": harm}, protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        for label, harm in {
            "system": Call(os.system, command),
            "eval": Call(eval, source),
            "object": WithState(),
        }.items()
    }
    programs = {
        "GLOBAL": call(system, touch(marker)),
        "STACK_GLOBAL": call(by_stack, touch(marker)),
        "INST": b"(" + touch(marker) + b"iposix\nsystem\n",
        "OBJ": b"(" + system + touch(marker) + b"o",
        "NEWOBJ": named("subprocess", "Popen") + sequence(touch(marker)) + b"\x81",
        "NEWOBJ_EX": named("subprocess", "Popen") + sequence(touch(marker)) + EMPTY_DICT + b"\x92",
        "EXT1": b"\x82\x01" + sequence(touch(marker)) + CALL,
        "a module beside one admitted": named("torch._utils", "_import_dotted_name"),
        "a path through one admitted": text("collections") + text("OrderedDict.__init__") + b"\x93",
        "a module's name in two": named("torch", "nn.parameter.Parameter"),
        "a name alone": named("builtins", "exec"),
        "copyreg": named("copyreg", "_reconstructor"),
        "a storage's class": named("torch", "__dict__Storage"),
        "a persistent id": sequence(text("module"), system, NONE, NONE) + b"Q",
    }  # fmt: skip
    return found | {name: program(body) for name, body in programs.items()}


def test_what_a_file_names_never_runs(tmp_path: Path, marker: Path) -> None:
    for name, pickled in hostile_pickles(marker).items():
        for path in both_formats(tmp_path, pickled):
            with pytest.raises(CheckpointError) as caught:
                read_torch(path)
            assert repr(str(path)) in str(caught.value), name
            assert "torch.save(" in str(caught.value), name
            assert not marker.exists(), name
    # The proof that there was something to run.
    for name in ("system 0", "system 2", "eval 4", "GLOBAL", "STACK_GLOBAL", "INST", "OBJ"):
        marker.unlink(missing_ok=True)
        pickle.loads(hostile_pickles(marker)[name])
        assert marker.exists(), name


def test_the_message_says_what_was_asked_for_and_how_to_mend_it(tmp_path: Path, marker: Path) -> None:
    for path in both_formats(tmp_path, program(named("posix", "system"))):
        with pytest.raises(
            CheckpointError, match=r"asks for 'posix.system'.*load it with torch.*torch.save\(state_dict"
        ):
            read_torch(path)
    with pytest.raises(CheckpointError, match=r"instruction b'\\x82' at byte 2, which torch.save does not write"):
        PickleReader(program(b"\x82\x01")).load()


def test_state_is_passed_over(tmp_path: Path) -> None:
    state = EMPTY_DICT + text("__class__") + text("update") + SET_ITEM
    empty = call(named("collections", "OrderedDict"))
    weights = empty + text("a") + integer(1) + SET_ITEM
    assert PickleReader(program(weights + state + BUILD)).load() == {"a": 1}
    parameter = tensor(storage()) + state + BUILD
    path = write(tmp_path / "n.pth", zip_bytes(program(parameter), {"0": bytes(16)}))
    np.testing.assert_array_equal(read_torch(path), np.zeros((2, 2)))


def pushed(*items: bytes) -> bytes:
    return program(b"".join(items))


ORDERED_DICT = named("collections", "OrderedDict")
ONE = integer(1)


@pytest.mark.parametrize(
    "pickled",
    {
        "state of a function": pushed(ORDERED_DICT, EMPTY_DICT, BUILD),
        "state of a list": pushed(EMPTY_LIST, EMPTY_DICT, BUILD),
        "call of a number": pushed(call(ONE)),
        "call of a storage type": pushed(call(named("torch", "FloatStorage"), ONE)),
        "call without a tuple": pushed(ORDERED_DICT, EMPTY_LIST, CALL),
        "call of too many": pushed(call(ORDERED_DICT, EMPTY_LIST, EMPTY_LIST)),
        "dict of no pairs": pushed(call(ORDERED_DICT, text("abc"))),
        "dict of a number": pushed(call(ORDERED_DICT, ONE)),
        "append to a dict": pushed(EMPTY_DICT, ONE, APPEND),
        "append to a tuple": pushed(EMPTY_TUPLE, ONE, APPEND),
        "item of a list": pushed(EMPTY_LIST, ONE, ONE, SET_ITEM),
        "half an item": pushed(EMPTY_DICT, b"(", ONE, b"u"),
        "a tuple as key": pushed(EMPTY_DICT, EMPTY_TUPLE, ONE, SET_ITEM),
        "a dict as key": pushed(EMPTY_DICT, EMPTY_DICT, ONE, SET_ITEM),
        "a float as key": pushed(EMPTY_DICT, b"G" + struct.pack(">d", 1.5), ONE, SET_ITEM),
        "a large number as key": pushed(EMPTY_DICT, integer(2**61 - 1), ONE, SET_ITEM),
        "an empty stack": pushed(),
        "two values": pushed(ONE, ONE),
        "nothing to call": pushed(CALL),
        "no mark": pushed(ONE, b"t"),
        "no memo": pushed(get(3)),
        "nothing to remember": pushed(put(3)),
        "protocol 6": b"\x80\x06N.",
        "a name without an end": pushed(b"c" + b"x" * 1000),
        "a name in another script": pushed("cé\nx\n".encode()),
        "text that is none": pushed(b"X\2\0\0\0\xff\xff"),
        "a number as module": pushed(ONE, text("system"), b"\x93"),
        "persistent number": pushed(ONE, b"Q"),
        "persistent text": pushed(text("storage"), b"Q"),
        "persistent pair": pushed(sequence(text("storage"), ONE), b"Q"),
        "storage of a text": pushed(storage().replace(named("torch", "FloatStorage"), text("x"))),
        "storage under a number": pushed(storage().replace(text("0"), ONE)),
        "storage of negative size": pushed(storage(count=-4)),
        "storage of huge size": pushed(storage(count=2**63)),
        "view of a number": pushed(storage(view=ONE)),
        "view of two": pushed(storage(view=sequence(text("v"), ONE))),
        "view before the start": pushed(storage(view=sequence(text("v"), integer(-1), ONE))),
        "tensor of a number": pushed(tensor(ONE)),
        "tensor of truth": pushed(tensor(storage()).replace(integer(0), FALSE)),
        "tensor of a list": pushed(call(named("torch._utils", "_rebuild_tensor"), storage(), ONE,
                                                EMPTY_LIST, EMPTY_LIST)),
        "tensor without strides": pushed(call(named("torch._utils", "_rebuild_tensor"), storage())),
        "parameter of a number": pushed(call(named("torch._utils", "_rebuild_parameter"), ONE)),
        "size of a text": pushed(call(named("torch", "Size"), text("ab"))),
        "size of texts": pushed(call(named("torch", "Size"), sequence(text("ab")))),
        "device of a number": pushed(call(named("torch", "device"), ONE)),
        "bytes by another codec": pushed(call(named("_codecs", "encode"), text("a"), text("hex"))),
        "dtype of objects": pushed(call(named("numpy", "dtype"), text("O8"))),
        "dtype of a list": pushed(call(named("numpy", "dtype"), EMPTY_LIST)),
        "scalar of no dtype": pushed(call(named("numpy.core.multiarray", "scalar"), ONE, text("a"))),
        "scalar of three bytes": pushed(call(named("numpy._core.multiarray", "scalar"), call(
            named("numpy", "dtype"), text("f4")), text("abc"))),
        "big-endian scalar": pushed(call(named("numpy", "dtype"), text("f4")),
                                    sequence(ONE, text(">")), BUILD),
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_admitted_names_and_instructions_misused(pickled: tuple[str, bytes]) -> None:
    with pytest.raises(CheckpointError):
        PickleReader(pickled[1]).load()


def test_every_prefix_of_a_pickle_is_cut_off() -> None:
    whole = pickle.dumps({"a": [1, 2.5, "text", b"bytes", None, True, 2**70], "b": (1, (2, 3, 4, 5))}, 4)
    assert PickleReader(whole).load() == pickle.loads(whole)
    for size in range(len(whole)):
        with pytest.raises(CheckpointError):
            PickleReader(whole[:size]).load()


def laughs(begin: bytes, twice: bytes) -> bytes:
    """A tuple of what `begin` makes, and forty containers of which each holds the last one twice."""
    return b"(" + begin + b"".join(put(index) + twice.replace(b"?", get(index)) for index in range(40)) + b"t"


LAUGHING_TUPLES = laughs(b")", b"??\x86")

BOMBS = {
    "the length of a text": pushed(b"X\xff\xff\xff\xff"),
    "the length of bytes": pushed(b"B\xff\xff\xff\xff"),
    "the length of a string": pushed(b"T\xff\xff\xff\x7f"),
    "the length of a long text": pushed(b"\x8d" + b"\xff" * 7 + b"\x7f"),
    "the length of an array": pushed(b"\x96" + b"\xff" * 7 + b"\x7f"),
    "the length of a number": pushed(b"\x8b\xff\xff\xff\x7f"),
    "the length of a frame": pushed(b"\x95" + b"\xff" * 8),
    "a list in itself": pushed(b"]", put(0), get(0), b"a"),
    "a dict in itself": pushed(b"}", put(0), text("a"), get(0), b"s"),
    "twice the last tuple": pushed(LAUGHING_TUPLES),
    "twice the last list": pushed(laughs(b"]", b"](??e")),
    "twice the last tuple as a persistent id": pushed(LAUGHING_TUPLES, b"Q"),
    "twice the last tuple as a key": pushed(b"}", LAUGHING_TUPLES, b"Ns"),
    "twice the last tuple as sizes": pushed(named("torch", "Size"), LAUGHING_TUPLES, b"\x85R"),
    "twice the last tuple as a name": pushed(text("torch"), LAUGHING_TUPLES, b"\x93"),
    "twice the last tuple as a codec": pushed(named("_codecs", "encode"), text(""), LAUGHING_TUPLES, b"\x86R"),
    "twice the last tuple as a dtype": pushed(named("numpy", "dtype"), LAUGHING_TUPLES, b"\x85R"),
    "many marks": pushed(b"(" * 30_000),
    "many lists": pushed(b"]" * 30_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_take_bounded_time_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str) -> None:
    monkeypatch.setattr(pickle_reader, "MAX_INSTRUCTIONS", 20_000)
    for path in both_formats(tmp_path, BOMBS[bomb]):
        start = time.process_time()
        tracemalloc.start()
        with pytest.raises(CheckpointError) as caught:
            read_torch(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert time.process_time() - start < 5
        assert peak < 8 * 2**20  # a list of 64 bytes an instruction, and as much again
        assert len(str(caught.value)) < 1000
        assert "too many values to unpack" not in str(caught.value)  # the bomb itself is sound


@pytest.mark.parametrize(
    "body", [NONE + b"\x85" * 100_000, b"]" * 100_000 + b"a" * 99_999, b"}" + NONE + b"\x85" * 100_000 + b"Ns"]
)
def test_values_too_deep_for_the_interpreter(tmp_path: Path, body: bytes) -> None:
    # Python's own unpickler overruns the C stack when it hashes the last one.
    for path in both_formats(tmp_path, program(body)):
        with pytest.raises(CheckpointError, match=r"nested deeper than 32|a tuple as the key"):
            read_torch(path)


def test_a_far_place_in_the_memo_takes_no_memory() -> None:
    # Python's own unpickler makes room for all places before it.
    tracemalloc.start()
    assert PickleReader(pushed(b"(", NONE, b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff" * 2, b"t")).load() == (None,) * 3
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**16


def test_shared_arguments_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_reader, "MAX_INSTRUCTIONS", 100_000)
    sizes = b"(" + b"K\1" * 20_000 + b"t" + put(0)
    calls = (named("torch", "Size") + get(0) + b"\x85R") * 1000
    with pytest.raises(CheckpointError, match="over 100,000 arguments of calls"):
        PickleReader(program(sizes + calls)).load()


def test_a_pickle_larger_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_reader, "MAX_BYTES", 100)
    assert PickleReader(program(text("x" * 90))).load() == "x" * 90
    with pytest.raises(CheckpointError, match="over 100 bytes"):
        PickleReader(program(text("x" * 95))).load()
