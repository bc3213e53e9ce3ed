from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from kzoo.convert import CheckpointError, read_keras_h5
from tests.convert.refusing import assert_refused

WEIGHTS = {
    "conv1": {"conv1/kernel:0": np.arange(24, dtype="f4").reshape(2, 2, 3, 2), "conv1/bias:0": np.float32([1.5, -0.0])},
    "relu": {},
    "dense": {"dense/deep/kernel:0": np.arange(6.0).reshape(2, 3), "count:0": np.array(7, "i8")},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.h5"


def write(path: Path, fixed: bool = True, group: str = "/") -> Path:
    """A file as Keras 2 wrote it: `fixed` with h5py 2, whose lists of names were of one length."""
    with h5py.File(path, "w") as file:
        root = file.require_group(group)
        for name, weights in (("", WEIGHTS), *WEIGHTS.items()):
            target = root.require_group(name) if name else root
            names = [part.encode() for part in weights]
            target.attrs["weight_names" if name else "layer_names"] = np.array(names) if fixed and names else names
            for part, value in weights.items() if name else ():
                target.create_dataset(part, data=value)
        root.attrs["keras_version"] = b"2.2.4"
    return path


EXPECTED = {f"{layer}/{name}": value for layer, weights in WEIGHTS.items() for name, value in weights.items()}


def assert_expected(read: dict[str, np.ndarray]) -> None:
    assert list(read) == list(EXPECTED)
    for name, value in EXPECTED.items():
        assert type(read[name]) is np.ndarray
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value)


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("group", ["/", "model_weights"])
def test_weights_in_the_files_order(path: Path, fixed: bool, group: str) -> None:
    assert_expected(read_keras_h5(write(path, fixed, group)))


def test_what_keras_itself_writes(path: Path) -> None:
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    network.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in network.get_weights()])
    network.save(path)  # the legacy format: a whole model
    read = read_keras_h5(path)
    assert [name.rpartition("/")[2] for name in read] == [
        "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"
    ]  # fmt: skip
    for value, weight in zip(read.values(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def test_split_lists_and_weights_of_no_layer(path: Path) -> None:
    write(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = [b"conv1"]
        file.attrs["layer_names1"] = [b"relu", b"dense"]
        top = file.create_group("top_level_model_weights")
        top.attrs["weight_names"] = [b"scale"]
        top["scale"] = np.ones(2)
    read = read_keras_h5(path)
    np.testing.assert_array_equal(read.pop("top_level_model_weights/scale"), [1, 1])
    assert_expected(read)


def test_the_limit_counts_all_weights(path: Path) -> None:
    size = sum(value.nbytes for value in EXPECTED.values())
    assert_expected(read_keras_h5(write(path), max_bytes=size))
    with pytest.raises(CheckpointError, match=rf"more than {size - 1} bytes.*raise max_bytes"):
        read_keras_h5(path, max_bytes=size - 1)


def replaced(path: Path, make: Callable[[h5py.Group], object]) -> None:
    """Puts something else in the place of `conv1/bias:0`."""
    write(path)
    with h5py.File(path, "r+") as file:
        group = file["conv1/conv1"]
        del group["bias:0"]
        make(group)


def refused(path: Path, match: str) -> None:
    assert_refused(read_keras_h5, path, match)


def test_nothing_outside_the_file_is_read(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["bias:0"] = np.ones(2, "f4")
        file.create_group("model_weights")
    raw = tmp_path / "secret.bin"
    raw.write_bytes(bytes(8))
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "bias:0", (2,))
    for make, match in [
        (lambda g: g.__setitem__("bias:0", h5py.ExternalLink(str(secret), "bias:0")), "'conv1/bias:0'.*is not in it"),
        (lambda g: g.__setitem__("bias:0", h5py.SoftLink("/dense/count:0")), "'conv1/bias:0'.*is not in it"),
        (lambda g: g.create_virtual_dataset("bias:0", layout), "bias:0' lies in another file"),
        (lambda g: g.create_dataset("bias:0", (2,), "f4", external=[(str(raw), 0, 8)]), "bias:0' lies in another file"),
    ]:
        replaced(path, make)
        with h5py.File(path) as file:
            assert file["conv1/conv1/bias:0"][()].size <= 2  # h5py alone follows it
        refused(path, match)
    with h5py.File(path, "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(secret), "model_weights")
    refused(path, "no attribute 'layer_names'")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        file["conv1"] = h5py.ExternalLink(str(secret), "/")
    refused(path, "'conv1'.*is not in it")


def test_what_weights_cannot_be(path: Path) -> None:
    for make, match in [
        (lambda g: g.create_dataset("bias:0", data=["a", "b"]), "holds no numbers"),
        (lambda g: g.create_dataset("bias:0", data=np.array([b"a"])), "holds no numbers"),
        (lambda g: g.create_dataset("bias:0", (2,), h5py.vlen_dtype("f4")), "holds no numbers"),
        (lambda g: g.create_dataset("bias:0", (2,), h5py.ref_dtype), "holds no numbers"),
        (lambda g: g.create_dataset("bias:0", (2,), [("a", "f4"), ("b", "f4")]), "holds no numbers"),
        (lambda g: g.create_dataset("bias:0", data=h5py.Empty("f4")), "holds no numbers"),
        (lambda g: g.create_dataset("bias:0", data=np.zeros(10**6), compression=9), "compressed or filtered"),
        (lambda g: g.create_dataset("bias:0", (2**40,), "f4"), r"more than [\d,]+ bytes"),
        (lambda g: g.create_dataset("bias:0", (2**40,), "f4", chunks=(2**20,)), r"more than [\d,]+ bytes"),
        (lambda g: g.create_group("bias:0"), "is no dataset"),
        (lambda g: None, "'conv1/bias:0'.*is not in it"),
    ]:
        replaced(path, make)
        refused(path, match)


@pytest.mark.parametrize(
    "names", [[b"conv1/../x"], [b""], [b"."], [b"/conv1"], [b"conv1", b"absent"], [b"conv1/bias:0/x"]]
)
def test_names_that_are_none(path: Path, names: list[bytes]) -> None:
    write(path)
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = names
    refused(path, "which it lists in '/', is not in it")


def test_lists_of_names_that_are_none(path: Path) -> None:
    for names, match in [
        (np.arange(3), "'layer_names' of '/' is no list of names"),
        ([b"conv1", b"conv1"], "lists a name twice"),
        (h5py.Empty("S1"), "damaged, or not a weights file of Keras 1 or 2"),
        (np.array([b"\xff\xfe"]), "damaged"),
    ]:
        write(path)
        with h5py.File(path, "r+") as file:
            del file.attrs["layer_names"]
            file.attrs["layer_names"] = names
        refused(path, match)


def test_names_of_any_length_listed_over_and_over(path: Path) -> None:
    long = [b"x" * 2**20] + [b"conv%d" % index for index in range(2000)]  # any could be the first one again
    for names in (long, np.zeros(100_001, "S1")):
        with h5py.File(path, "w", libver="latest") as file:
            file.attrs["layer_names"] = names
        refused(path, "'layer_names' of '/' lists too much to be names")


def test_what_is_no_such_file(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No checkpoint at '.*weights.h5'; expected a weights file of Keras 1"):
        read_keras_h5(path)
    for raw, match in {b"": "is empty", b"x" * 20: "begins with b'xxxxxxxxxxxx'"}.items():
        path.write_bytes(raw)
        refused(path, match)
    refused(tmp_path, "is a directory")
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    network.save_weights(tmp_path / "n.weights.h5")
    refused(tmp_path / "n.weights.h5", r"no attribute 'layer_names'.*Keras 3 \(.weights.h5\) is loaded by the network")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"relu"]
        file.create_group("relu").attrs["weight_names"] = []
    assert read_keras_h5(path) == {}


def test_truncated_anywhere(path: Path) -> None:
    raw = write(path).read_bytes()
    for size in range(1, len(raw), 64):
        path.write_bytes(raw[:size])
        refused(path, "Cannot read")


def test_heaps_that_overlap_are_not_walked_over_and_over(path: Path) -> None:
    # Each of 8000 heaps reaches to the end, and has one item for each of those that follow.
    raw, count = bytearray(b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0])), 8000
    for left in range(count, 0, -1):
        raw += b"GCOL\1\0\0\0" + struct.pack("<QH6xQ", 32 * left, 1, 16)
    path.write_bytes(raw)
    start = time.process_time()
    refused(path, "heaps of texts overlap")
    assert time.process_time() - start < 5  # 32 million items take half a minute


def test_a_heap_that_the_library_would_never_end_reading(path: Path) -> None:
    raw = bytearray(write(path, fixed=False).read_bytes())
    heap = raw.index(b"GCOL\1")
    item = heap + 16
    while raw[item] or raw[item + 1]:  # to the free space, number 0
        item += 16 + (raw[item + 8] + 7) // 8 * 8
    raw[item + 8 : item + 16] = bytes(8)
    path.write_bytes(raw)
    refused(path, "heap of texts is damaged")
