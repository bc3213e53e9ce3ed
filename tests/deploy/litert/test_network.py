"""What LiteRT computes of every tensor type, against NumPy's statement of the same network."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.deploy.litert.tiny_networks import CLASSES, HEIGHT, WIDTH, statement, weights


def opened(scripts, path: Path, threads: int = 2, delegate: str = "xnnpack"):
    return scripts.network.Network(path, scripts.sidecar.open_sidecar(path), threads, delegate)


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_float_logits(scripts, artefact, small, delegate) -> None:
    network = opened(scripts, artefact("float32"), delegate=delegate)
    assert network.size == (HEIGHT, WIDTH)
    logits = network(small)
    assert logits.shape == (HEIGHT, WIDTH, CLASSES) and logits.dtype == np.float32
    expected = statement(small)
    # 27 products of up to 145 each, and as many roundings of float32.
    np.testing.assert_allclose(logits, expected, rtol=0, atol=27 * 27 * 145 * 0.08 * 2**-24)
    assert set(network.seconds) == {"copy", "invoke"} and min(network.seconds.values()) > 0


@pytest.mark.parametrize("name", ["inside8", "int8", "uint8"])
def test_quantised_logits_are_in_real_units(scripts, artefact, small, name) -> None:
    """Scale and zero point of input and output: without one of them logits are off by many times the tolerance."""
    logits = opened(scripts, artefact(name))(small)
    expected = statement(small)
    kernel = np.abs(weights()).reshape(27, CLASSES)
    # Half a step of the picture's quantisation (255 steps over 0..255) and of a weight's (127 steps), and one of the
    # output's and of the activations in between (each 255 steps over its range).
    tolerance = 0.5 * kernel.sum(0) + 0.5 * kernel.max(0) / 127 * 27 * 145 + 2 * np.ptp(expected) / 255
    assert np.all(np.abs(logits - expected) < tolerance)
    assert np.ptp(expected) > 10 * tolerance.max()  # the bound says something
    assert np.abs(logits - expected).mean() < tolerance.mean() / 8
    assert len(np.unique(logits)) <= 256 and logits.dtype == np.float32


def test_classes_are_left_as_they_are(scripts, artefact, small) -> None:
    classes = opened(scripts, artefact("classes"))(small)
    assert classes.shape == (HEIGHT, WIDTH) and classes.dtype == np.int32
    assert (classes == statement(small).argmax(-1)).mean() > 0.999


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [1, HEIGHT, WIDTH + 8, 3]}, r"network's input is \[\(\[1, 40, 56, 3\], 'float32'\)\], its sidecar"),
        ({"type": "uint8"}, r"its sidecar says \[\(\[1, 40, 56, 3\], 'uint8'\)\]"),
    ],
)
def test_tensors_that_are_not_the_sidecars(scripts, artefact, converted, changes, message) -> None:
    path = artefact("float32", input={**converted("float32")[1]["input"], **changes})
    with pytest.raises(scripts.errors.DeviceError, match=message) as caught:
        opened(scripts, path)
    assert caught.value.code == scripts.errors.SIDECAR


def test_a_number_of_threads_that_is_none(scripts, artefact) -> None:
    with pytest.raises(scripts.errors.DeviceError, match="--threads is at least 1, received 0") as caught:
        opened(scripts, artefact("float32"), threads=0)
    assert caught.value.code == scripts.errors.COMMAND_LINE


def test_threads_and_xnnpack_are_passed_on(scripts, artefact, monkeypatch) -> None:
    """What is computed is the same without them, only slower."""
    made = []

    class Recorded(scripts.network.Interpreter):
        def __init__(self, **options):
            made.append(options)
            super().__init__(**options)

    monkeypatch.setattr(scripts.network, "Interpreter", Recorded)
    with_xnnpack = opened(scripts, artefact("float32"), threads=3)
    without = opened(scripts, artefact("float32"), threads=1, delegate="none")
    assert [options["num_threads"] for options in made] == [3, 1]
    operations = [[op["op_name"] for op in net._interpreter._get_ops_details()] for net in (with_xnnpack, without)]
    assert "DELEGATE" in operations[0] and "DELEGATE" not in operations[1]


@pytest.mark.parametrize(
    ("delegate", "message"),
    [
        ("libedgetpu-that-is-not-there.so.1", "does not load: .*No such file"),
        ("libm.so.6", "is no delegate: it has no function tflite_plugin_create_delegate"),
    ],
)
def test_a_library_that_is_no_delegate(scripts, artefact, delegate, message) -> None:
    with pytest.raises(scripts.errors.DeviceError, match=message) as caught:
        opened(scripts, artefact("float32"), delegate=delegate)
    assert caught.value.code == scripts.errors.DELEGATE


DELEGATE = r"""
#include <stddef.h>
#include <stdint.h>
/* TfLiteDelegate as far as LiteRT looks at one that takes no operation. */
typedef struct Delegate {
    void *data;
    int (*prepare)(void *context, struct Delegate *);
    void *copy_from, *copy_to, *free_buffer;
    int64_t flags;
    void *opaque;
} Delegate;
static int prepared = 0;
static int prepare(void *context, Delegate *delegate) { prepared++; return REFUSES; }
static Delegate delegate = {NULL, prepare, NULL, NULL, NULL, 1, NULL};
Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    if (MISSING) { report("no device is plugged in"); return NULL; }
    return &delegate;
}
void tflite_plugin_destroy_delegate(Delegate *delegate) {}
int times_prepared(void) { return prepared; }
"""


@pytest.fixture
def compiled_delegate(tmp_path):
    """A delegate's library in C, as libedgetpu.so.1 is one."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")

    def build(refuses: int = 0, missing: int = 0) -> str:
        library = tmp_path / f"libdelegate{refuses}{missing}.so"
        command = [compiler, "-shared", "-fPIC", f"-DREFUSES={refuses}", f"-DMISSING={missing}", "-xc", "-"]
        subprocess.run([*command, "-o", library], input=DELEGATE, text=True, check=True)
        return str(library)

    return build


def test_a_delegate_is_asked_and_the_rest_runs_on_the_cpu(scripts, artefact, small, compiled_delegate) -> None:
    import ctypes

    library = compiled_delegate()
    network = opened(scripts, artefact("float32"), delegate=library)
    assert ctypes.CDLL(library).times_prepared() == 1
    np.testing.assert_allclose(network(small), statement(small), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("fault", "message"),
    [({"missing": 1}, r"(?s)does not start: .*no device is plugged in"), ({"refuses": 1}, "does not take the network")],
)
def test_a_delegate_that_fails(scripts, artefact, compiled_delegate, fault, message) -> None:
    with pytest.raises(scripts.errors.DeviceError, match=message) as caught:
        opened(scripts, artefact("float32"), delegate=compiled_delegate(**fault))
    assert caught.value.code == scripts.errors.DELEGATE


def test_the_gpu_runs_the_network_or_says_why_not(scripts, artefact, small) -> None:
    path = artefact("float32")
    try:
        network = opened(scripts, path, delegate="gpu")
    except scripts.errors.DeviceError as error:
        assert error.code == scripts.errors.DELEGATE
        assert str(error).startswith("The GPU delegate does not load, or does not take the whole network: it needs")
    else:
        np.testing.assert_allclose(network(small), statement(small), rtol=0, atol=0.05 * np.ptp(statement(small)))


@pytest.mark.parametrize("name", ["float32", "uint8", "classes"])
def test_the_compiled_models_buffers(scripts, artefact, small, monkeypatch, name) -> None:
    """The GPU's way of writing, running and reading, with LiteRT's compiled model on the CPU instead."""
    from ai_edge_litert import hardware_accelerator

    path = artefact(name)
    expected = opened(scripts, path)(small)
    cpu = SimpleNamespace(GPU=hardware_accelerator.HardwareAccelerator.CPU)
    monkeypatch.setattr(hardware_accelerator, "HardwareAccelerator", cpu)
    result = opened(scripts, path, delegate="gpu")(small)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)
