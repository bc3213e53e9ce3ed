from __future__ import annotations

import collections
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kzoo.convert import CheckpointError, read_torch, state_dict
from tests.convert.handmade import (
    APPEND,
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    FALSE,
    NONE,
    SET_ITEM,
    TRUE,
    call,
    get,
    integer,
    integers,
    legacy_bytes,
    named,
    old_text,
    program,
    put,
    sequence,
    storage,
    tensor,
    text,
    write,
    zip_bytes,
)
from tests.convert.refusing import assert_refused

Save = Callable[..., Path]

FLOATS = [1.5, -0.0, float("inf"), float("nan"), 1e-5, 3.14159]
DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32,
    torch.float64, torch.bfloat16, torch.complex64, torch.complex128,
]  # fmt: skip


@pytest.fixture(params=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    """`save(content, **arguments)`: torch.save in each of the two formats."""

    def save_torch(content: Any, **arguments: Any) -> Path:
        path = tmp_path / "checkpoint.pth"
        torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip", **arguments)
        return path

    return save_torch


def assert_same(read: Any, loaded: Any) -> None:
    """`read` is what torch loaded, bit by bit."""
    if isinstance(loaded, torch.Tensor):
        loaded = loaded.detach()
        expected = (loaded.float() if loaded.dtype == torch.bfloat16 else loaded).numpy()
        assert type(read) is np.ndarray
        assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
        assert read.tobytes() == expected.tobytes()
    elif isinstance(loaded, dict):
        assert type(read) is dict
        assert list(read) == list(loaded)
        for key, value in loaded.items():
            assert_same(read[key], value)
    elif isinstance(loaded, (list, tuple)):
        assert isinstance(read, tuple if isinstance(loaded, tuple) else list)
        assert len(read) == len(loaded)
        for one, other in zip(read, loaded, strict=True):
            assert_same(one, other)
    else:
        assert read == loaded


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_bit_by_bit(save: Save, dtype: torch.dtype) -> None:
    values = FLOATS if dtype.is_floating_point or dtype.is_complex else [0, 1, 1, 0, 100, 101]
    tensor = torch.tensor(values).to(dtype).reshape(2, 3)
    path = save({"tensor": tensor, "turned": tensor.t(), "scalar": tensor[1, 2].clone()})
    assert_same(read_torch(path), torch.load(path))


def test_views_of_every_kind(save: Save) -> None:
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    twice = torch.ones(2)
    path = save(
        {
            "base": base,
            "transposed": base.permute(2, 0, 1),
            "part": base[1:, ::2, 3],
            "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
            "expanded": torch.tensor([[7.0], [8.0]]).expand(2, 6),
            "one": base[2:3, 1:2].transpose(0, 2),
            "odd strides": torch.as_strided(torch.ones(3), (1, 3), (1000, 1)),
            "scalar": torch.tensor(-2.5),
            "part as scalar": base[2, 3, 4],
            "empty": torch.zeros(0, 3),
            "empty part": base[:, 4:],
            "twice": [twice, twice],
        }
    )
    read = read_torch(path)
    assert_same(read, torch.load(path))
    assert read["twice"][0] is read["twice"][1]
    assert np.shares_memory(read["base"], read["part"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_training_checkpoint(save: Save, protocol: int) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    weights = network.state_dict()
    assert weights._metadata  # an OrderedDict with an attribute, as every real one
    content = {
        "epoch": 3,
        "state_dict": weights,
        "parameters": network.state_dict(keep_vars=True),
        "optimizer": {
            "state": {0: {"momentum_buffer": torch.randn(4, 3, 3, 3)}, 140_000_000_000_000: {"step": 7}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 140_000_000_000_000]}],
        },
        "best_pred": np.float64(0.4321),
        "flags": [np.bool_(True), np.int64(-5), np.float32(0.1), None, True, False],
        "meta": {
            "config": "größe = 3\n" * 100,
            "classes": ("wall", "sky"),
            "palette": [[120, 120, 120], [6, 230, 230]],
            "numbers": [0, 255, 256, 65536, -1, -(2**40), 2**70, 1.25],
            "raw": b"\x00\xff",
        },
        "size": torch.Size([2, 3]),
        "empty": [(), [], {}, ""],
    }
    path = save(content, pickle_protocol=protocol)
    assert_same(read_torch(path), torch.load(path, weights_only=False))
    assert read_torch(save({"where": torch.device("cuda", 1), "cpu": torch.device("cpu")})) == {
        "where": "cuda:1",
        "cpu": "cpu",
    }
    assert_same(state_dict(read_torch(path := save(content)), path), weights)


def test_arrays_are_views_into_the_file(save: Save) -> None:
    path = save({str(index): torch.randn(2**18) for index in range(16)})
    assert path.stat().st_size > 2**24
    read_torch(path)  # what is imported and cached once
    tracemalloc.start()
    read = read_torch(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**18
    with pytest.raises(ValueError, match="read-only"):
        read["0"][0] = 1.0


def test_checksums_may_be_left_out(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, tmp_path / "n.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    np.testing.assert_array_equal(read_torch(tmp_path / "n.pth")["a"], [1, 1, 1])


def test_a_file_of_python_2_and_an_early_torch(tmp_path: Path) -> None:
    values = np.arange(10, dtype="<f4")
    pair = EMPTY_LIST + old_text(b"a.weight") + APPEND
    whole = storage("root", 10)
    rebuild = named("torch._utils", "_rebuild_tensor")
    sizes = integer(1), integers([2, 3]), integers([3, 1])
    pair += call(rebuild, whole, *sizes) + APPEND
    weights = call(named("collections", "OrderedDict"), EMPTY_LIST + pair + APPEND)
    view = storage("root", 10, view=sequence(text("v"), *map(integer, (4, 6))))
    dtype = call(named("numpy", "dtype"), old_text(b"f8"), integer(0), integer(1))
    state = [integer(3), old_text(b"<"), *[NONE] * 3, *map(integer, (-1, -1, 0))]
    dtype += sequence(*state) + BUILD
    scalar = call(named("numpy.core.multiarray", "scalar"), dtype, old_text(struct.pack("<d", 0.7071)))
    body = EMPTY_DICT
    body += old_text(b"state_dict") + weights + SET_ITEM
    body += old_text(b"view") + tensor(view, (5,), (1,), 1) + SET_ITEM
    raw = legacy_bytes(program(body + old_text(b"best") + scalar + SET_ITEM), {"root": (10, values.tobytes())})
    read = read_torch(write(tmp_path / "old.pth", raw))
    # Without the scalar, whose bytes torch.load takes for text.
    path = write(tmp_path / "loaded.pth", legacy_bytes(program(body), {"root": (10, values.tobytes())}))
    assert read.pop("best") == 0.7071
    assert_same(read, torch.load(path, weights_only=False))
    np.testing.assert_array_equal(read["view"], values[5:])


def test_a_parameter_of_an_early_torch(tmp_path: Path) -> None:
    state = sequence(TRUE, FALSE, call(named("collections", "OrderedDict")))
    parameter = call(named("torch.nn.parameter", "Parameter"), tensor(storage()))
    raw = np.arange(4, dtype="<f4").tobytes()
    path = write(tmp_path / "n.pth", legacy_bytes(program(parameter + state + BUILD), {"0": (4, raw)}))
    np.testing.assert_array_equal(read_torch(path), [[0, 1], [2, 3]])


def packed_again(stored: Path) -> Path:
    packed = stored.with_name("packed.pth")
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
    return packed


def test_a_zip_packed_again_is_read_up_to_a_limit(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2**20), "b": torch.arange(5)}, tmp_path / "stored.pth")
    path = packed_again(tmp_path / "stored.pth")
    assert path.stat().st_size < 2**14
    assert_same(read_torch(path, max_bytes=2**22 + 40), torch.load(path))
    refused(path, path.read_bytes(), r"more than [\d,]+ bytes, the limit.*larger max_bytes")
    with pytest.raises(CheckpointError, match=r"4,194,343 bytes.*max_bytes"):
        read_torch(path, max_bytes=2**22 + 39)


def test_what_is_unpacked_counts_even_where_little_of_it_is_used(tmp_path: Path) -> None:
    torch.save([torch.zeros(2**20)[:1], torch.zeros(2**20)[:1]], tmp_path / "stored.pth")
    path = packed_again(tmp_path / "stored.pth")
    assert_same(read_torch(path, max_bytes=2**23), torch.load(path))
    with pytest.raises(CheckpointError, match="max_bytes"):
        read_torch(path, max_bytes=2**23 - 1)


def files(body: bytes, count: int = 4, raw: bytes = bytes(16)) -> list[bytes]:
    return [
        legacy_bytes(program(body), {"0": (count, raw)}),
        zip_bytes(program(body), {"0": raw}),
    ]


def refused(path: Path, raw: bytes, match: str, most: int = 2**22) -> None:
    write(path, raw)
    assert_refused(read_torch, path, match, most)


def test_handmade_files_are_as_torch_writes_them(tmp_path: Path) -> None:
    # What the refusals below are worth: without their fault, the files are fine.
    raw = np.arange(4, dtype="<f4").tobytes()
    for content in files(tensor(storage()), raw=raw):
        np.testing.assert_array_equal(read_torch(write(tmp_path / "n.pth", content)), [[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((2, 2), (2, 1), 1),
        ((5,), (1,), 0),
        ((2, 2), (3, 1), 0),
        ((2,), (2**62,), 0),
        ((2**40, 2**40), (2**40, 1), 0),
        ((2, 2), (-2, 1), 2),
        ((2, -2), (2, 1), 0),
        ((-1, -4), (1, 1), 0),
        ((2, 2), (2, 1), -1),
        ((1,), (1,), 4),
        ((), (), 4),
        ((2, 2), (2,), 0),
        ((2**64,), (0,), 0),
        ((1,) * 40, (1,) * 40, 0),
    ],
)
def test_views_outside_their_storage(tmp_path: Path, shape: Any, strides: Any, offset: int) -> None:
    for raw in files(tensor(storage(), shape, strides, offset)):
        refused(tmp_path / "n.pth", raw, "its pickle is damaged before byte")


def test_much_made_of_little(tmp_path: Path) -> None:
    for raw in files(tensor(storage(), (2**20, 2**20), (0, 0))):
        refused(tmp_path / "n.pth", raw, r"more than [\d,]+ bytes.*max_bytes")
    for raw in files(tensor(storage(), (0, 2**62, 2**62), (0, 0, 0))):
        refused(tmp_path / "n.pth", raw, "damaged")
    many = b"(" + tensor(storage(), (2**17,), (0,)) * 4 + b"t"
    for raw in files(many):
        refused(tmp_path / "n.pth", raw, r"more than [\d,]+ bytes.*max_bytes")


def test_bfloat16_counts_as_the_float32_that_it_becomes(tmp_path: Path) -> None:
    values = 2**20
    stored = storage("0", 1, "BFloat16Storage")
    for raw in files(tensor(stored, (values,), (0,)), 1, b"\x80\x3f"):
        path = write(tmp_path / "n.pth", raw)
        tracemalloc.start()
        np.testing.assert_array_equal(read_torch(path, max_bytes=4 * values)[::1000], 1.0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5 * values
        with pytest.raises(CheckpointError, match="max_bytes"):
            read_torch(path, max_bytes=4 * values - 1)


def test_a_long_text_does_not_pay_for_shared_values(tmp_path: Path) -> None:
    # A dict, shared by a list a thousand times, which a list shares a thousand times: a million dicts.
    shared = EMPTY_DICT + text("a") + NONE + SET_ITEM + put(0)
    shared += EMPTY_LIST + put(1) + b"(" + get(0) * 1000 + b"e" + EMPTY_LIST + b"(" + get(1) * 1000 + b"e"
    pickled = program(b"(" + text("x" * 2**21) + shared + b"t")
    for raw in (legacy_bytes(pickled), zip_bytes(pickled)):
        refused(tmp_path / "n.pth", raw, "hold each other over and over", most=2**23)


@pytest.mark.parametrize(
    ("count", "said", "size"), [(4, -1, 16), (4, 5, 20), (4, 3, 12), (4, 4, 15), (2**60, 2**60, 16)]
)
def test_storages_that_lie_about_their_size(tmp_path: Path, count: int, said: int, size: int) -> None:
    legacy, zipped = files(tensor(storage(count=count)), said, bytes(size))
    refused(tmp_path / "n.pth", legacy, "the bytes of its storage '0' are not all there")
    if size != 16 or count != 4:
        refused(tmp_path / "n.pth", zipped, "the bytes of its storage '0' are not all there")


def test_storages_that_do_not_agree(tmp_path: Path) -> None:
    two = sequence(tensor(storage()), tensor(storage(count=5)))
    for raw in files(two):
        refused(tmp_path / "n.pth", raw, "a storage of two sizes")
    part = sequence(text("v"), integer(2), integer(3))
    refused(tmp_path / "n.pth", files(tensor(storage(view=part)))[0], "elements 2 to 5 .* of 4")
    body = program(tensor(storage()))
    for storages in ({}, {"1": (4, bytes(16))}, {"0": (4, bytes(16)), "1": (0, b"")}):
        refused(tmp_path / "n.pth", legacy_bytes(body, storages), "list of storages")
    refused(tmp_path / "n.pth", zip_bytes(body), "storage '0' are not all there")
    # Two lists that Python would compare for ever.
    last = pickle.dumps([], 2)
    twice = b"".join(put(index) + get(index) * 2 + b"\x86" for index in range(40))
    laughs = b"(" + (b")" + twice) * 2
    for keys in (program(laughs + b"t"), program(b"]" + laughs + b"e"), program(NONE)):
        refused(tmp_path / "n.pth", legacy_bytes(body).removesuffix(last) + keys, "list of storages")
    for raw in files(storage()):
        refused(tmp_path / "n.pth", raw, "a bare Storage")


def test_other_machines_and_versions(tmp_path: Path) -> None:
    body = program(tensor(storage()))
    little = legacy_bytes(body, {"0": (4, bytes(16))})
    refused(tmp_path / "n.pth", legacy_bytes(body, {"0": (4, bytes(16))}, little=False), "big-endian")
    refused(tmp_path / "n.pth", zip_bytes(body, {"0": bytes(16)}, byteorder=b"big"), "big-endian")
    refused(tmp_path / "n.pth", little.replace(b"M\xe9\x03.", b"M\xea\x03.", 1), "unknown version")
    refused(tmp_path / "n.pth", zip_bytes(body, **{"constants.pkl": body}), "TorchScript")


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No checkpoint at '.*absent.pth'; expected .* torch.save wrote"):
        read_torch(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match=r"a directory; expected .* torch.save wrote .*Name the file in it"):
        read_torch(tmp_path)
    path = tmp_path / "n.pth"
    for raw, match in {
        b"": "it is empty",
        b"<!DOCTYPE html><html>Not found</html>": r"begins with b'<!DOCTYPE ht', not as .* torch.save .*Fetch it anew",
        b"\x89HDF\r\n\x1a\n" + bytes(100): "begins with",
        b"PK\3\4": "a zip archive, but has no end",
        program(integer(1)): "begins with",
    }.items():
        refused(path, raw, match)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("encnet.pth", b"")
    refused(path, path.read_bytes(), r"It has: encnet.pth. If one of them is a checkpoint, unpack")


def test_truncated_anywhere(save: Save, tmp_path: Path) -> None:
    raw = save({"a": torch.randn(20, 3), "b": {"c": torch.arange(9)}}).read_bytes()
    for size in [*range(1, len(raw), 64), len(raw) - 1]:
        refused(tmp_path / "cut.pth", raw[:size], "Cannot read")


def test_weights_by_name() -> None:
    a, b = np.ones(3), np.zeros(2)
    flat = {"module.a": a, "module.b": b}
    for content in (flat, {"epoch": 1, "state_dict": flat}, {"model": flat, "args": "x"}):
        found = state_dict(content, "n.pth")
        assert list(found) == ["a", "b"]
        assert found["a"] is a
    assert list(state_dict({"module.a": a, "b": b}, "n.pth")) == ["module.a", "b"]
    for content, match in [
        ({"epoch": 1, "net": flat}, r"'n.pth' holds no weights by name, but entries that are none \(epoch, net\)"),
        ({"state_dict": {}}, "empty or unnamed dict"),
        ([a, b], "empty or unnamed list"),
        (a, "empty or unnamed ndarray"),
        ({0: a}, r"none \(0\)"),
        ({str(index): index for index in range(9)}, r"\(0, 1, 2, 3, 4, 5 and 3 more\)"),
    ]:
        with pytest.raises(CheckpointError, match=match):
            state_dict(content, Path("n.pth"))


def test_an_unpicklable_metadata_attribute_is_passed_over(save: Save) -> None:
    weights = collections.OrderedDict(a=torch.ones(2))
    weights._metadata = collections.OrderedDict({"": {"version": 1}, "deep": [[[[1]]]]})
    assert_same(read_torch(save(weights)), {"a": torch.ones(2)})
