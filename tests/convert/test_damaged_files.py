"""Whatever a few changed bytes make of a checkpoint, it is read or refused; nothing else happens, and not for long."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kzoo.convert import CheckpointError, read_keras_h5, read_torch
from kzoo.convert.zip_reader import extract_member
from tests.convert.handmade import zip_bytes

CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)
CUTS = st.one_of(st.none(), st.floats(0, 1))

# Always the same examples: a failure is somebody's to find again.
fixed = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def torch_bytes(zipped: bool) -> bytes:
    weight = torch.arange(6.0).reshape(2, 3)
    content = {
        "state_dict": {"a": weight, "b": weight.t(), "c": torch.ones(2).bfloat16()},
        "meta": {"e": (1, "x", 2.5)},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def h5_bytes() -> bytes:
    # Names of one length: for a text of any length, HDF5's library takes the memory that the file says it needs, up to
    # 4 GiB, before it looks whether the text is there.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = np.array([b"conv", b"dense"])
        for layer in ("conv", "dense"):
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([b"kernel", b"bias"])
            group["kernel"], group["bias"] = np.ones((3, 2), "f4"), np.ones(2, "f4")
    return buffer.getvalue()


def damaged(raw: bytes, changes: list[tuple[float, int]], cut: float | None) -> bytes:
    changed = bytearray(raw)
    for place, value in changes:
        changed[int(place * len(raw))] = value
    return bytes(changed if cut is None else changed[: int(cut * len(raw))])


def read_or_refused(path: Path, raw: bytes, read: Callable[[Path], Any]) -> None:
    path.write_bytes(raw)
    start = time.process_time()
    try:
        read(path)
    except CheckpointError as error:
        assert repr(str(path)) in str(error)
    assert time.process_time() - start < 2


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "file"


LEGACY, ZIPPED, H5 = torch_bytes(False), torch_bytes(True), h5_bytes()


@fixed
@given(changes=CHANGES, cut=CUTS)
def test_legacy(path: Path, changes: list[tuple[float, int]], cut: float | None) -> None:
    read_or_refused(path, damaged(LEGACY, changes, cut), read_torch)


@fixed
@given(changes=CHANGES, cut=CUTS)
def test_zip(path: Path, changes: list[tuple[float, int]], cut: float | None) -> None:
    read_or_refused(path, damaged(ZIPPED, changes, cut), read_torch)


@fixed
@given(pickled=st.binary(max_size=200))
def test_pickles_of_any_bytes(path: Path, pickled: bytes) -> None:
    read_or_refused(path, zip_bytes(b"\x80\x02" + pickled + b"."), read_torch)


@fixed
@given(changes=CHANGES, cut=CUTS)
def test_extraction(path: Path, changes: list[tuple[float, int]], cut: float | None) -> None:
    raw = damaged(zip_bytes(LEGACY), changes, cut)
    read_or_refused(path, raw, lambda path: extract_member(path, "data.pkl", path.parent / "out", max_bytes=10_000))
    assert {file.name for file in path.parent.rglob("*")} <= {"file", "out"}


@fixed
@given(changes=CHANGES, cut=CUTS)
def test_keras_h5(path: Path, changes: list[tuple[float, int]], cut: float | None) -> None:
    read_or_refused(path, damaged(H5, changes, cut), read_keras_h5)
