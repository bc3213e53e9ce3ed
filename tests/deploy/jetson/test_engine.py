"""Engines are built once, and used only where, and for what, they were built."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kzoo_jetson.engine import Key, is_current, read_engine, shapes_text, write_engine
from kzoo_jetson.errors import EngineError, NetworkFileError
from kzoo_jetson.sidecar import read_sidecar
from tests.deploy.jetson.conftest import Board, assert_fails
from tests.deploy.jetson.networks import change_sidecar, sidecar_path, write_network

OTHER = {
    "onnx_sha256": "0" * 64,
    "tensorrt": "8.5.2.2",
    "gpu": "sm_72, 6 multiprocessors",
    "precision": "fp32",
    "shapes": "1-4x4x6x3",
    "flags": ["FP16", "GPU_FALLBACK"],
    "workspace_mib": 256,
    "dla_core": 0,
}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path, (4, 6))


@pytest.fixture
def key(network: Path) -> Key:
    sidecar = read_sidecar(network)
    return Key(sidecar.sha256, "10.3.0", "sm_87, 8 multiprocessors", "fp16", "1x4x6x3", ["FP16"], 1024, None)


def test_each_part_of_the_key_makes_another_engine(network: Path, key: Key) -> None:
    assert set(OTHER) == set(Key._fields)
    sidecar = read_sidecar(network)
    names = {key.file_name("network")}
    path = network.with_name(key.file_name("network"))
    write_engine(path, key, sidecar, b"plan", 1.0)
    assert is_current(path, key)
    for field, value in OTHER.items():
        changed = key._replace(**{field: value})
        assert not is_current(path, changed), field
        names.add(changed.file_name("network"))
    assert len(names) == 1 + len(OTHER)


@pytest.mark.parametrize("field", ["onnx_sha256", "tensorrt", "gpu"])
def test_a_stale_engine_is_not_read(field: str, network: Path, key: Key) -> None:
    path = network.with_suffix(".engine")
    write_engine(path, key._replace(**{field: OTHER[field]}), read_sidecar(network), b"plan", 1.0)
    with pytest.raises(EngineError, match=f"{OTHER[field]}, here is {getattr(key, field)}: run build_engine.py"):
        read_engine(path, key.tensorrt, key.gpu)
    write_engine(path, key, read_sidecar(network), b"plan", 1.0)
    assert read_engine(path, key.tensorrt, key.gpu) == (key, read_sidecar(network), b"plan")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "No such file"),
        ("{", "Expecting"),
        ('{"kzoo_engine": 2}', "kzoo_engine is 2, expected 1"),
        ('{"kzoo_engine": 1}', "'key'"),
        ('{"kzoo_engine": 1, "key": {}, "onnx": "", "sha256": ""}', "onnx_sha256"),
    ],
)
def test_a_damaged_record(record: str | None, message: str, network: Path, key: Key) -> None:
    path = network.with_suffix(".engine")
    write_engine(path, key, read_sidecar(network), b"plan", 1.0)
    beside = path.with_name(path.name + ".json")
    beside.unlink() if record is None else beside.write_text(record)
    assert not is_current(path, key)
    with pytest.raises(EngineError, match=message):
        read_engine(path, key.tensorrt, key.gpu)


def test_shapes(tmp_path: Path) -> None:
    assert shapes_text(read_sidecar(write_network(tmp_path, (4, 6), layout="NCHW")), 1) == "1x3x4x6"
    sidecar = read_sidecar(write_network(tmp_path, (4, 6), batch=-1))
    assert shapes_text(sidecar, 3) == "1-3x4x6x3"


def test_built_once_and_again_when_something_changes(board: Board) -> None:
    onnx = write_network(board.folder, (4, 6))
    engine = board.build(onnx)
    assert engine.name.startswith("network-fp32-1x4x6x3-trt10.3.0-")
    caches = list(board.folder.glob("*.cache"))
    assert [cache.name for cache in caches] == ["timing-trt10.3.0-sm87x8.cache"]
    written = engine.stat().st_mtime_ns

    again = board.run("build_engine.py", onnx)
    assert (again.returncode, again.stdout) == (0, f"{engine} is up to date.\n")
    assert engine.stat().st_mtime_ns == written

    assert board.build(onnx, "--workspace", 64, "--precision", "fp16") != engine
    assert caches[0].read_bytes() == b"measured.measured."  # the second build had the first one's measurements

    engine.write_bytes(engine.read_bytes()[:-1])
    assert board.build(onnx) == engine
    assert board.run("build_engine.py", onnx).stdout == again.stdout
    assert not list(board.folder.glob(".partial-*"))


@pytest.mark.parametrize(
    ("environment", "arguments", "code", "message"),
    [
        ({"FAKE_BUILD": "fails"}, [], 7, "could not build"),
        ({"FAKE_INT8": "0", "FAKE_TENSORRT": "8.2.1"}, [], 7, "does not compute in int8"),
        ({"FAKE_CUDA_FAIL": "cudaGetDeviceCount:100"}, [], 4, "no CUDA-capable device"),
        ({"PYTHONPATH": ""}, [], 3, "no TensorRT"),
        ({}, ["--precision", "fp16"], 7, "no fp16 engine"),
    ],
)
def test_a_failed_build_leaves_nothing(
    environment: dict[str, str], arguments: list[str], code: int, message: str, shared_board: Board, tmp_path: Path
) -> None:
    onnx = write_network(tmp_path, (4, 6))
    change_sidecar(onnx, precision="int8")
    before = sorted(os.listdir(tmp_path))
    assert_fails(shared_board.run("build_engine.py", onnx, *arguments, **environment), code, message)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kzoo_sidecar": 2}, "kzoo_sidecar is 2, expected 1"),
        ({"format": "litert"}, "format is 'litert'"),
        ({"precision": "dynamic"}, "precision is 'dynamic', expected 'fp32' or 'fp16' or 'int8'"),
        ({"classes": None}, "'classes' is missing"),
        ({"palette": [[0, 0, 0]]}, "3 classes and 1 colours"),
        ({"output": {"kind": "probabilities"}}, "output.kind is 'probabilities'"),
        ({"output": {"shape": [1, 2, 3, 3]}}, r"logits has shape \[1, 2, 3, 3\], expected \[1, 4, 6, 3\]"),
        ({"input": {"shape": [1, 4, 6]}}, "does not fit layout NHWC"),
        ({"input": {"shape": [1, 4, 6, 4]}}, "image has shape"),
        ({"input": {"range": [0, 1]}}, "input.range"),
        ({"input": {"shape": [0, 4, 6, 3]}, "output": {"shape": [0, 4, 6, 3]}}, "image has shape"),
    ],
)
def test_sidecars_that_are_not_known(fields: dict[str, Any], message: str, network: Path) -> None:
    change_sidecar(network, **fields)
    with pytest.raises(NetworkFileError, match=message):
        read_sidecar(network)


def test_the_network_must_be_the_sidecars(shared_board: Board, network: Path) -> None:
    network.write_bytes(network.read_bytes() + b"\0")
    assert_fails(shared_board.run("build_engine.py", network), 5, "not the file that its sidecar was written for")
    network.unlink()
    assert_fails(shared_board.run("build_engine.py", network), 5, "There is no network")
    sidecar_path(network).write_text("{")
    assert_fails(shared_board.run("build_engine.py", network), 5, "no JSON")
    sidecar_path(network).unlink()
    assert_fails(shared_board.run("build_engine.py", network), 5, "is missing")


def test_the_record_tells_what_was_built(board: Board) -> None:
    onnx = write_network(board.folder, (4, 6), batch=-1, precision="fp16")
    engine = board.build(onnx, "--batch", 2, FAKE_CUDA_CAPABILITY="72")
    record = json.loads(engine.with_name(engine.name + ".json").read_text())
    assert record["onnx"] == "network.onnx"
    assert record["bytes"] == engine.stat().st_size
    assert record["key"]["gpu"] == "sm_72, 8 multiprocessors"
    assert record["key"]["shapes"] == "1-2x4x6x3"
    assert record["key"]["flags"] == ["STRONGLY_TYPED"]
