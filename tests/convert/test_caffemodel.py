"""Files of Caffe, read and refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kzoo.convert import CheckpointError, read_caffemodel
from tests.convert.caffe_writer import blob, block, caffemodel, four_bytes, layer, number, varint
from tests.convert.refusing import assert_refused

RNG = np.random.default_rng(0)
LAYERS = {
    "conv1_1": [RNG.normal(size=(4, 3, 3, 2)).astype("f4"), RNG.normal(size=4).astype("f4")],
    "fc8_voc12": [RNG.normal(size=(2, 4, 1, 1)).astype("f4")],
}


def write(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
@pytest.mark.parametrize("old", [True, False], ids=["before 2015", "since"])
def test_arrays_of_every_form(old, packed, dtype, tmp_path):
    layers = {name: [array.astype(dtype) for array in arrays] for name, arrays in LAYERS.items()}
    weights = read_caffemodel(write(tmp_path / "a.caffemodel", caffemodel(layers, old=old, packed=packed)))
    assert list(weights) == ["conv1_1.weight", "conv1_1.bias", "fc8_voc12.weight"]
    for key, array in weights.items():
        name, _, kind = key.partition(".")
        assert array.dtype == dtype and not array.flags.writeable
        np.testing.assert_array_equal(array, layers[name][kind == "bias"])


def test_protobufs_own_bytes(tmp_path):
    """Written down from the format's description: layer 100 `c`, one array [1, -2.5] of shape (2,)."""
    array = bytes.fromhex("3a03 0a01 02 2a08 0000803f 000020c0")
    content = bytes.fromhex("0a01 63") + bytes.fromhex("3a") + bytes([len(array)]) + array
    path = write(tmp_path / "a.caffemodel", bytes.fromhex("a206") + bytes([len(content)]) + content)
    weights = read_caffemodel(path)
    assert list(weights) == ["c.weight"]
    np.testing.assert_array_equal(weights["c.weight"], [1, -2.5])


def test_values_in_several_pieces_and_the_shape_behind_them(tmp_path):
    values = np.arange(6, dtype="<f4")
    pieces = block(5, values[:2].tobytes()) + four_bytes(5, 2) + four_bytes(5, 3) + block(5, values[4:].tobytes())
    shape = block(7, number(1, 2) + number(1, 3))  # sides that are not packed
    path = write(tmp_path / "a.caffemodel", layer("a", [pieces + shape]))
    np.testing.assert_array_equal(read_caffemodel(path)["a.weight"], values.reshape(2, 3))


def test_gradients_and_what_else_is_there_are_passed_over(tmp_path):
    gradients = b"".join(four_bytes(6, 0.5) for _ in range(1000))
    array = number(1, 1) + number(2, 1) + number(3, 1) + number(4, 2) + gradients + block(5, bytes(8))
    raw = layer("a", [blob(np.ones((1, 1), "f4")), array]) + number(9, 2**63) + block(200, b"?")
    weights = read_caffemodel(write(tmp_path / "a.caffemodel", raw))
    np.testing.assert_array_equal(weights["a.bias"], [0, 0])


@pytest.mark.parametrize("packed", [True, False])
def test_nothing_is_copied(packed, tmp_path):
    path = write(tmp_path / "a.caffemodel", caffemodel({"a": [np.ones((1, 300_000), "f4")]}, packed=packed))
    tracemalloc.start()
    weights = read_caffemodel(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert weights["a.weight"].size == 300_000 and weights["a.weight"].base is not None
    assert peak < 600_000  # of 1.2 MB


ONE = blob(np.ones(2, "f4"))
VALUES = block(5, bytes(8))
NESTED = block(1, block(1, block(1, b"x")))
REFUSED = {
    "text": (b'name: "net"\nlayer { }', "does not begin, or go on, as a network's weights"),
    "zeros": (bytes(100), "does not begin"),
    "nothing with weights": (layer("data"), "has no layer with weights.*prototxt"),
    "cut off": (caffemodel(LAYERS)[:200], "cut off, or damaged: a field's end"),
    "a number cut off": (b"\xa2", "a number has no end"),
    "a number too long": (b"\x08" + b"\xff" * 10 + b"\1", "longer than 64 bits"),
    "a length that is negative": (varint(100 << 3 | 2) + varint(-5), "a field's end is past"),
    "a length past its message": (block(100, varint(7 << 3 | 2) + varint(50)) + bytes(100), "a field's end is past"),
    "a group": (varint(100 << 3 | 3), "does not begin"),
    "a layer that is a number": (number(100, 3), "a layer of the wrong type"),
    "a name that is a number": (block(100, number(1, 3) + block(7, ONE)), "a layer's name of the wrong type"),
    "a name that is no text": (block(100, block(1, b"\xff") + block(7, ONE)), "damaged, or not a network's weights"),
    "no name": (layer("", [ONE]), "with weights and without a name"),
    "an array that is a number": (block(100, block(1, b"a") + number(7, 3)), "an array of the wrong type"),
    "a side that is a block": (layer("a", [block(1, b"xx") + VALUES]), "an array's side of the wrong type"),
    "a shape that is a number": (layer("a", [number(7, 2) + VALUES]), "a shape of the wrong type"),
    "no shape": (layer("a", [VALUES]), r"shape \[\] with 2 values"),
    "a shape of other size": (layer("a", [block(7, number(1, 3)) + VALUES]), r"shape \[3\] with 2 values"),
    "a huge shape": (layer("a", [block(7, number(1, 2**62) * 4) + VALUES]), "with 2 values"),
    "a negative side": (layer("a", [block(7, number(1, -1) + number(1, -2)) + VALUES]), r"shape \[-1, -2\]"),
    "a side of 0": (layer("a", [block(7, number(1, 0)) + block(5, b"")]), r"shape \[0\] with 0 values"),
    "sides without end": (layer("a", [block(7, block(1, b"\1" * 10_000)) + VALUES]), "with 2 values"),
    "old sides, not all": (layer("a", [number(1, 2) + VALUES]), r"shape \[2, 0, 0, 0\]"),
    "values that are cut": (layer("a", [block(7, number(1, 2)) + block(5, bytes(7))]), "not written as f4"),
    "values as numbers": (layer("a", [block(7, number(1, 2)) + number(5, 1)]), "not written as f4"),
    "doubles as floats": (layer("a", [block(7, number(1, 1)) + four_bytes(8, 1)]), "not written as f8"),
    "three arrays": (layer("bn", [ONE, ONE, ONE]), "'bn' has 3 arrays; kzoo reads layers with a kernel and a bias"),
    "a layer twice": (layer("a", [ONE]) + layer("a", [ONE]), "two layers 'a' with weights"),
    "a layer twice, old and new": (layer("a", [ONE], old=True) + layer("a", [ONE]), "two layers 'a'"),
    "fields without end": (number(5, 0) * 40_000, "more than 30,000 fields"),
    "rows without end": ((four_bytes(5, 0) + four_bytes(6, 0)) * 20_000, "more than 30,000 fields"),
    "nested deep, where nobody looks": (NESTED * 1000, "has no layer with weights"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind, tmp_path):
    raw, match = REFUSED[kind]
    assert_refused(read_caffemodel, write(tmp_path / "a.caffemodel", raw), match)


def test_no_file_a_folder_and_an_empty_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"No checkpoint at .*nothing'; expected a network's weights from Caffe"
    ):
        read_caffemodel(tmp_path / "nothing")
    assert_refused(read_caffemodel, tmp_path, "it is a directory")
    assert_refused(read_caffemodel, write(tmp_path / "empty", b""), "it is empty")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    packed=st.booleans(),
)
def test_whatever_a_few_bytes_make_of_it_is_read_or_refused(tmp_path_factory, changes, cut, packed):
    raw = bytearray(caffemodel(LAYERS, old=True, packed=packed))
    for place, value in changes:
        raw[int(place * len(raw))] = value
    path = write(tmp_path_factory.getbasetemp() / "damaged", bytes(raw if cut is None else raw[: int(cut * len(raw))]))
    try:
        weights = read_caffemodel(path)
    except CheckpointError as error:
        assert repr(str(path)) in str(error)
    else:
        assert sum(array.nbytes for array in weights.values()) <= len(raw)
