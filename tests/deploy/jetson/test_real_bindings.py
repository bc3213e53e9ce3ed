"""The committed names against NVIDIA's own Python bindings, which PyPI has.

The bindings need libnvinfer and its parser, which PyPI does not have; libraries with the same entry points, which all
answer NULL, are enough to import them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.jetson.fake_tensorrt import names_of

ENTRY_POINTS = (
    "createInferBuilder_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "getBuilderPluginRegistry",
    "initLibNvInferPlugins",
)
PRINT_NAMES = """
import json, sys
import tensorrt_bindings as trt
classes = {name: getattr(trt, name) for name in json.loads(sys.argv[1])}
names = {name: sorted(getattr(cls, "__members__", None) or dir(cls)) for name, cls in classes.items()}
print(json.dumps({"version": trt.__version__, "names": names}))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("version", "package"), [("10.3.0", "tensorrt-cu12-bindings"), ("11.4.0.106", "tensorrt-cu13-bindings")]
)
def test_names(version: str, package: str, compiler: str, tmp_path: Path) -> None:
    if version == "10.3.0" and sys.version_info >= (3, 13):
        pytest.skip("TensorRT 10.3.0 has no bindings for Python 3.13")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site")]
    installed = subprocess.run([*pip, f"{package}=={version}"], capture_output=True, text=True, check=False)
    assert installed.returncode == 0, f"this test needs a package index that has {package}: {installed.stderr}"

    source = tmp_path / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in ENTRY_POINTS))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        file = tmp_path / f"lib{library}.so.{version.split('.')[0]}"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", file, source], check=True)

    expected = names_of(version)
    printed = subprocess.run(
        [sys.executable, "-c", PRINT_NAMES, json.dumps(list(expected))],
        env={"PYTHONPATH": str(tmp_path / "site"), "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert printed.returncode == 0, printed.stderr
    found = json.loads(printed.stdout)
    assert found["version"] == version
    for name, attributes in expected.items():
        assert {a for a in found["names"][name] if not a.startswith("_")} == attributes, name
