"""ONNX to an engine on each TensorRT: the flags that it was built with, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kzoo_jetson.build import Options, build_engine, import_tensorrt
from kzoo_jetson.errors import BuildError, SoftwareError
from kzoo_jetson.sidecar import read_sidecar
from tests.deploy.jetson.fake_tensorrt import VERSIONS, make_tensorrt
from tests.deploy.jetson.networks import change_sidecar, write_network

# By version, (a file's precision, the one wanted) -> (network's flags, builder's), after NVIDIA's documentation.
WEAK = {
    ("fp32", "fp32"): (["EXPLICIT_BATCH"], []),
    ("fp32", "fp16"): (["EXPLICIT_BATCH"], ["FP16"]),
    ("fp16", "fp16"): (["EXPLICIT_BATCH"], ["FP16"]),
    ("int8", "int8"): (["EXPLICIT_BATCH"], ["FP16", "INT8"]),
}
EITHER = {
    ("fp32", "fp32"): ([], []),
    ("fp32", "fp16"): ([], ["FP16"]),
    ("fp16", "fp16"): (["STRONGLY_TYPED"], []),
    ("int8", "int8"): (["STRONGLY_TYPED"], []),
}
STRONG = {("fp32", "fp32"): ([], []), ("fp16", "fp16"): ([], []), ("int8", "int8"): ([], [])}
EXPECTED = dict.fromkeys(VERSIONS[:4], WEAK) | dict.fromkeys(VERSIONS[4:8], EITHER) | {VERSIONS[8]: STRONG}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path, (4, 6))


def build(version: str, onnx: Path, in_file: str, *options: Any, **more: Any) -> dict[str, Any]:
    """How the engine of a network that says it is written in `in_file` was built."""
    change_sidecar(onnx, precision=in_file)
    plan, _ = build_engine(make_tensorrt(version), read_sidecar(onnx), Options(*options, **more))
    header, _, rest = plan.partition(b"\n")
    assert rest == onnx.read_bytes()
    return json.loads(header)


@pytest.mark.parametrize("version", VERSIONS)
def test_precision_and_workspace(version: str, network: Path) -> None:
    for (in_file, wanted), (network_flags, flags) in EXPECTED[version].items():
        built = build(version, network, in_file, wanted, workspace_mib=3)
        assert (built["network_flags"], built["flags"]) == (network_flags, flags), (in_file, wanted)
        workspace = "max_workspace_size" if version == "8.2.1" else "pool WORKSPACE"
        assert built[workspace] == 3 << 20
        assert built["profiles"] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_open_batch(version: str, tmp_path: Path) -> None:
    onnx = write_network(tmp_path, (4, 6), batch=-1)
    built = build(version, onnx, "fp32", "fp32", batch=5)
    assert built["profiles"] == [{"image": [[1, 4, 6, 3], [5, 4, 6, 3], [5, 4, 6, 3]]}]


@pytest.mark.parametrize("version", VERSIONS)
def test_dla(version: str, network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FAKE_DLA_LAYERS", "2")
    built = build(version, network, "fp16", "fp16", dla_core=1)
    assert (built["default_device_type"], built["DLA_core"]) == ("DLA", 1)
    assert built["flags"] == (["GPU_FALLBACK"] if version == "11.4.0.106" else ["FP16", "GPU_FALLBACK"])
    assert "STRONGLY_TYPED" not in built["network_flags"]
    assert "2 of 3 layers" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["8.2.1", "10.16.1.11", "11.4.0.106"])
@pytest.mark.parametrize(("in_file", "wanted"), [("fp32", "int8"), ("fp16", "fp32"), ("int8", "fp16")])
def test_a_file_keeps_its_precision(version: str, in_file: str, wanted: str, network: Path) -> None:
    with pytest.raises(BuildError, match=f"is {in_file}, and no {wanted} engine.*--precision {wanted}"):
        build(version, network, in_file, wanted)


@pytest.mark.parametrize(
    ("version", "in_file", "options", "environment", "message"),
    [
        ("11.4.0.106", "fp32", Options("fp16"), {}, "takes the precision from the network's file.*--precision fp16"),
        ("8.2.1", "int8", Options("int8"), {"FAKE_INT8": "0"}, "not compute in int8"),
        ("10.3.0", "fp32", Options("fp32", dla_core=0), {}, "fp16 and int8 only"),
        ("10.3.0", "fp16", Options("fp16", dla_core=0), {"FAKE_DLA_CORES": "0"}, "no DLA core 0.*has 0"),
        ("10.3.0", "fp16", Options("fp16", dla_core=0), {"FAKE_DLA_LAYERS": "0"}, "none of the network's 3 layers"),
        ("10.3.0", "fp32", Options("fp32", batch=2), {}, "takes 1 picture.*not 2.*--dynamic"),
        ("10.3.0", "fp32", Options("fp32"), {"FAKE_BUILD": "fails"}, "could not build"),
    ],
)
def test_refusals(
    version: str,
    in_file: str,
    options: Options,
    environment: dict[str, str],
    message: str,
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BuildError, match=message):
        build(version, network, in_file, *options)


def test_dla_takes_fixed_shapes(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="fixed shapes"):
        build("10.3.0", write_network(tmp_path, (4, 6), batch=-1), "fp16", "fp16", dla_core=0)


@pytest.mark.parametrize("version", VERSIONS)
def test_uint8_needs_8_5(version: str, tmp_path: Path) -> None:
    onnx = write_network(tmp_path, (4, 6), input_type="uint8")
    if version in ("8.2.1", "8.4.1"):
        with pytest.raises(BuildError, match="uint8"):
            build(version, onnx, "fp32", "fp32")
    else:
        build(version, onnx, "fp32", "fp32")


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0"])
def test_a_file_that_tensorrt_does_not_understand(version: str, network: Path) -> None:
    network.write_bytes(b"no ONNX")
    with pytest.raises(BuildError, match=r"node 3.*: no importer") as error:
        build(version, network, "fp32", "fp32")
    assert ("NonZero" in str(error.value)) == (version == "10.3.0")  # 8.x does not tell the operator


def test_a_sidecar_that_tells_of_another_network(network: Path) -> None:
    change_sidecar(network, input={"name": "picture"})
    with pytest.raises(BuildError, match=r"has image \(1, 4, 6, 3\), its sidecar says picture"):
        build("10.3.0", network, "fp32", "fp32")


@pytest.mark.parametrize("version", VERSIONS)
def test_timing_cache(version: str, network: Path) -> None:
    trt, sidecar = make_tensorrt(version), read_sidecar(network)
    _, first = build_engine(trt, sidecar, Options("fp32"))
    _, second = build_engine(trt, sidecar, Options("fp32"), first)
    _, other = build_engine(trt, sidecar, Options("fp32"), b"of another GPU")
    assert (first, second, other) == (b"measured.", b"measured.measured.", b"measured.")


def test_an_old_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_tensorrt("8.2.1")
    module.__version__ = "8.0.1.6"
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", module)
    with pytest.raises(SoftwareError, match=r"8\.0\.1\.6 is too old.*JetPack 4\.6\.1"):
        import_tensorrt()
