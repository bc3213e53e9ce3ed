from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys

import keras
import pytest

import kzoo
from kzoo.cli import main
from kzoo.export import environment
from kzoo.export.environment import devices, doctor
from kzoo.export.tensorrt import VERSIONS


@pytest.fixture
def installed(monkeypatch):
    """Versions of the packages that this test says are installed."""
    versions = {"kzoo": "0.1", "tensorflow-cpu": "2.21.0", "keras": "3.15", "numpy": "2.4", "onnx": "1.23"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return versions


def lines(section, **wanted):
    return {check.name: check for check in doctor(**wanted) if check.section == section}


def test_what_is_here():
    found = lines("Installed")
    assert found["Keras"].value == keras.__version__ and found["kzoo"].value == kzoo.__version__
    assert found["Python"].value == platform.python_version()
    assert all(check.value == "works" for check in lines("Export").values())


def test_what_is_missing_comes_with_the_way_to_get_it(installed, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    found = lines("Installed")
    assert (found["TensorFlow"].value, found["TensorFlow"].ok) == ("2.21.0", True)
    assert (found["tf2onnx"].value, found["tf2onnx"].mend, found["tf2onnx"].ok) == ("-", "", True)
    exports = lines("Export")
    assert exports["saved_model"].value == "works"
    assert (exports["onnx"].value, exports["onnx"].mend) == (
        "tf2onnx, ONNX Runtime missing",
        "pip install 'kzoo[onnx]'",
    )
    assert (exports["litert"].value, exports["litert"].mend) == ("ai-edge-litert missing", "pip install 'kzoo[litert]'")
    assert exports["TensorRT trial"].mend.startswith("pip install tensorrt-rtx")
    installed |= {"tf2onnx": "1.17", "onnxruntime-gpu": "1.31", "ai-edge-litert": "2.3"}
    exports = lines("Export")
    assert exports["onnx"].value == exports["litert"].value == "works"
    assert exports["onnx, fp16"].value == "onnxconverter-common missing"
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert lines("Export")["TensorRT trial"].value == "not on this machine: tensorrt-rtx exists for x86-64 only"
    del installed["tensorflow-cpu"]
    assert not lines("Installed")["TensorFlow"].ok and lines("Export")["saved_model"].value == "TensorFlow missing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "processor\t: 0\nflags\t\t: avx512_bf16 amx_int8 sse\n",
            "avx512_bf16 (bfloat16), amx_int8 (int8 matrices)",
        ),
        ("processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\n", "asimdhp (float16), asimddp (int8)"),
        ("processor\t: 0\nflags\t\t: fpu avx2\nmodel name\t: avx512_bf16\n", "none that matter here"),
        (None, "none that matter here"),
    ],
)
def test_processor(text, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert lines("Processor")["instructions"].value == expected


def test_jetpack_of_the_nano():
    found = lines("JetPack 4.6.1", jetpack="4.6.1")
    assert (found["TensorRT"].value, found["ONNX opset"].value) == ("8.2.1", "up to 13")
    assert (found["CUDA"].value, found["Python"].value) == ("10.2", "3.6")
    assert found["Nano"].value == "compute capability 5.3: FP16, no INT8, no DLA"
    assert found["Xavier"].value == "compute capability 7.2: FP16, INT8, DLA on AGX Xavier, Xavier NX"
    assert "--precision fp32 --size HxW --opset 13 --check-tensorrt 8.2 " in found["FP32"].value
    assert found["FP16"].value == "the same file: the builder chooses FP16 on the device"
    assert found["INT8"].value.endswith("(not on Nano, TX2)")
    assert "inferred" not in found


def test_jetpack_of_orin_and_thor():
    found = lines("JetPack 6.2", jetpack="6.2")
    assert found["Orin"].value == "compute capability 8.7: FP16, INT8, DLA on AGX Orin, Orin NX"
    assert "--precision fp16 --size HxW --opset 17 --check-tensorrt 10.3 " in found["FP16"].value
    assert "opset: from TensorRT 10.0's page" in found["inferred"].value
    found = lines("JetPack 7.2.2", jetpack="7.2.2")
    assert found["Orin"].value.endswith("DLA on AGX Orin") and found["Thor"].value.endswith("no DLA")
    with pytest.raises(ValueError, match="Unknown JetPack '3'"):
        doctor("3")


def test_every_jetpack_has_its_lines():
    for version in VERSIONS:
        for jetpack in version.jetpacks:
            found = lines(f"JetPack {jetpack}", jetpack=jetpack)
            assert {"TensorRT", "FP32", "FP16", "INT8", *version.boards} <= set(found)


def test_devices(monkeypatch):
    assert [check.name for check in devices()][:1] == ["CPU:0"]
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    (check,) = devices()
    assert not check.ok and "TensorFlow does not start" in check.value


def test_command(capsys):
    assert main(["doctor", "--jetpack", "6.2"]) == 0
    out = capsys.readouterr().out
    titles = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert titles == ["Installed", "Export", "Processor", "JetPack 6.2", "TensorFlow's devices"]
    assert f"  Keras                 {keras.__version__}\n" in out and "  CPU:0" in out
    assert main(["doctor", "--jetpack", "4"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("kzoo: error: Unknown JetPack '4'. Expected one of: 4.6.1,")


def test_command_without_tensorflow(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert main(["doctor"]) == 1
    assert "TensorFlow does not start" in capsys.readouterr().out


def test_versions_need_no_imports():
    code = (
        "import sys; sys.modules['onnx'] = sys.modules['tensorrt_rtx'] = None\n"
        "from kzoo.export.environment import doctor; doctor('6.2'); sys.exit(40 + ('tensorflow' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 40
