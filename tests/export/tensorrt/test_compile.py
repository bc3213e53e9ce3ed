from __future__ import annotations

import platform
import sys

import numpy as np
import onnx
import pytest

from kzoo.export.tensorrt import compile_onnx
from tests.export.tensorrt.graphs import FLOAT, HALF, PICTURE, branches, model, node, single

X86 = platform.machine().lower() in ("x86_64", "amd64")
on_x86 = pytest.mark.skipif(not X86, reason="tensorrt-rtx exists for x86-64 only")
KERNEL = np.ones((5, 3, 3, 3), np.float32)


def convolution(x=(FLOAT, (1, 8, 8, 3))):
    """A convolution with ReLU on a picture (B, H, W, 3)."""
    nodes = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "c"), node("Relu", "c")]
    return model(nodes, {"w": KERNEL}, x=x)


@on_x86
def test_report(tmp_path, capfd):
    onnx.save(convolution(), tmp_path / "a.onnx")
    report = compile_onnx(tmp_path / "a.onnx")
    report.check()
    assert report.accepted and report.errors == () and report.log == ()
    assert report.layers == 3  # Transpose, Conv, Relu
    assert (report.kernels, report.reorders) == (3, 2)  # convolutions work on (B, H, W, 3), from and to (B, 3, H, W)
    assert report.engine_bytes > KERNEL.nbytes and 0 < report.seconds < 60
    assert capfd.readouterr() == ("", "")


@on_x86
@pytest.mark.parametrize(("operators", "reorders"), [(["Relu"], 0), (["Transpose"], 1), (["Transpose", "Exp"], 0)])
def test_reorders_are_transposes_that_stay(operators, reorders):
    nodes = [node(operator, "xty"[index], "xty"[index + 1]) for index, operator in enumerate(operators)]
    nodes[-1].output[0] = "y"
    report = compile_onnx(model(nodes).SerializeToString())
    assert (report.layers, report.kernels, report.reorders) == (len(operators), 1, reorders)


@on_x86
def test_the_target_decides_the_engine():
    wanted = convolution().SerializeToString()
    assert compile_onnx(wanted, "7.5").engine_bytes != compile_onnx(wanted, "12.0").engine_bytes
    with pytest.raises(ValueError, match=r"Unknown compute capability '8\.7'. Expected one of: 7\.5, 8\.0, 8\.6"):
        compile_onnx(wanted, "8.7")  # Orin


@on_x86
def test_batch_may_be_dynamic_height_and_width_not():
    assert compile_onnx(convolution((FLOAT, ("n", 8, 8, 3))).SerializeToString()).accepted
    with pytest.raises(ValueError, match=r"'x' has the shape \(1, -1, 8, 3\): only the first axis"):
        compile_onnx(convolution((FLOAT, (1, "h", 8, 3))).SerializeToString())


@on_x86
def test_refusals_name_node_and_reason():
    report = compile_onnx(single("Add", "x z", more={"z": (HALF, PICTURE)}).SerializeToString())
    assert not report.accepted and report.engine_bytes == 0 and report.kernels is None
    (error,) = report.errors
    assert (error.node, error.operator) == ("the_Add", "Add")
    assert "must have same input types" in error.reason and "cuda" not in error.reason.lower()
    with pytest.raises(ValueError, match=r"does not take this model:\n- Add the_Add: .*same input types"):
        report.check()
    (error,) = compile_onnx(branches("ReduceSum").SerializeToString()).errors  # the builder's, not the parser's
    assert (error.node, error.operator) == ("", "builder") and "equal ranks" in error.reason
    assert not compile_onnx(b"no model").accepted


@on_x86
def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such ONNX file"):
        compile_onnx(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("machine", "words"),
    [("x86_64", "pip install tensorrt-rtx=="), ("aarch64", "x86-64 only, this .* aarch64")],
)
def test_without_the_package(machine, words, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(ImportError, match=words):
        compile_onnx(b"")
