"""Pictures to masks: the same as ONNX Runtime's, bit for bit, or one line that says why not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from skimage import data

from kzoo_jetson.files import sha256_of
from tests.deploy.jetson.conftest import Board, assert_fails, finish
from tests.deploy.jetson.networks import CLASSES, PALETTE, change_sidecar, write_network

CHELSEA = data.chelsea()[40:200, 100:340]  # 160 rows, 240 columns
SIZE = CHELSEA.shape[:2]


def onnx_runtime(onnx: Path, picture: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of an NHWC float32 picture."""
    (answer,) = onnxruntime.InferenceSession(onnx).run(None, {"image": picture[None].astype(np.float32)})
    return answer[0]


@pytest.fixture(scope="module")
def engine(shared_board: Board) -> Path:
    """An engine of the picture's own size."""
    return shared_board.build(write_network(shared_board.folder / "own_size", SIZE))


@pytest.fixture(scope="module")
def picture(shared_board: Board) -> Path:
    path = shared_board.folder / "chelsea.png"
    Image.fromarray(CHELSEA).save(path)
    return path


@pytest.mark.parametrize(
    ("version", "integrated", "memory", "allocations"),
    [
        ("8.2.1", "1", "auto", "mapped 2 copied 0 live 0\n"),
        ("8.4.1", "0", "auto", "mapped 0 copied 2 live 0\n"),
        ("8.5.3", "0", "mapped", "mapped 2 copied 0 live 0\n"),
        ("10.3.0", "1", "copied", "mapped 0 copied 2 live 0\n"),
        ("11.4.0.106", "1", "auto", "mapped 2 copied 0 live 0\n"),
    ],
)
def test_masks_are_onnx_runtimes(
    version: str, integrated: str, memory: str, allocations: str, board: Board, picture: Path, tmp_path: Path
) -> None:
    onnx, report = write_network(board.folder, SIZE), tmp_path / "report"
    board.env |= {"FAKE_TENSORRT": version, "FAKE_CUDA_INTEGRATED": integrated}
    arguments = board.build(onnx), picture, "-o", tmp_path / "out", "--memory", memory
    done = finish(board.start("segment.py", *arguments, FAKE_CUDA_REPORT=str(report)))
    assert done.returncode == 0, done.stderr
    mask = Image.open(tmp_path / "out" / "chelsea_mask.png")
    expected = onnx_runtime(onnx, CHELSEA).argmax(-1)
    assert len(np.unique(expected)) == len(CLASSES)
    np.testing.assert_array_equal(np.asarray(mask), expected)
    assert mask.getpalette()[:9] == [value for color in PALETTE for value in color]
    assert report.read_text() == allocations
    assert sorted(os.listdir(tmp_path / "out")) == ["chelsea_mask.png", "chelsea_overlay.png"]

    painted = np.asarray(Image.open(tmp_path / "out" / "chelsea_overlay.png")).astype(int)
    mixed = 0.4 * CHELSEA + 0.6 * np.array(PALETTE)[expected]
    mixed[expected == 0] = CHELSEA[expected == 0]  # the background keeps its looks
    assert np.abs(painted - mixed).max() <= 1.5

    share = f"fur {(expected == 1).mean():.1%}"
    assert share in done.stdout
    for step in ("read", "prepare", "copy in", "compute", "copy out", "post process", "write"):
        assert f"{step} " in done.stdout.splitlines()[-1]


def test_another_size_goes_in_as_pillows_and_comes_back_as_tensorflows(
    shared_board: Board, picture: Path, tmp_path: Path
) -> None:
    import tensorflow as tf

    onnx = write_network(tmp_path, (48, 64))
    engine = shared_board.build(onnx)
    for resize in ("logits", "classes"):
        done = shared_board.run("segment.py", engine, picture, "-o", tmp_path / resize, "--resize", resize)
        assert done.returncode == 0, done.stderr
    small = Image.fromarray(CHELSEA).resize((64, 48), Image.Resampling.BILINEAR)
    logits = onnx_runtime(onnx, np.asarray(small))
    mask = np.asarray(Image.open(tmp_path / "logits" / "chelsea_mask.png"))
    # Float32 rounding may decide between two classes that are as good as equal.
    assert (mask == tf.image.resize(logits, SIZE).numpy().argmax(-1)).mean() > 0.9999
    coarse = np.asarray(Image.open(tmp_path / "classes" / "chelsea_mask.png"))
    expected = tf.image.resize(logits.argmax(-1)[..., None], SIZE, "nearest").numpy()[..., 0]
    assert (coarse == expected).mean() > 0.999
    assert (mask != coarse).mean() > 0.005


@pytest.mark.parametrize(
    "options", [{"kind": "classes"}, {"layout": "NCHW"}, {"input_type": "uint8"}, {"batch": -1}], ids=str
)
def test_other_inputs_and_outputs(options: dict[str, object], board: Board, picture: Path, tmp_path: Path) -> None:
    usual, onnx = write_network(tmp_path, SIZE), write_network(board.folder, SIZE, **options)
    for version in ("8.6.1",) if "batch" not in options else ("8.2.1", "10.3.0"):
        board.env["FAKE_TENSORRT"] = version
        done = board.run("segment.py", board.build(onnx), picture, "-o", tmp_path / version)
        assert done.returncode == 0, done.stderr
        mask = np.asarray(Image.open(tmp_path / version / "chelsea_mask.png"))
        np.testing.assert_array_equal(mask, onnx_runtime(usual, CHELSEA).argmax(-1))


def test_the_dla_that_the_engine_was_built_for(board: Board, picture: Path, tmp_path: Path) -> None:
    onnx = write_network(board.folder, SIZE, precision="fp16")
    done = board.run("segment.py", board.build(onnx, "--dla", 1), picture, "-o", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("environment", "code", "message"),
    [
        ({"FAKE_CUDA_FAIL": "cudaGetDeviceCount:35"}, 4, "no GPU"),
        ({"FAKE_CUDA_FAIL": "cudaMalloc:2:2"}, 8, "out of memory (cudaMalloc): 100 of 4000 MiB are free"),
        ({"FAKE_CUDA_FAIL": "cudaHostAlloc:2"}, 8, "out of memory (cudaHostAlloc)"),
        ({"FAKE_CUDA_FAIL": "cudaStreamSynchronize:700"}, 9, "cudaStreamSynchronize failed: a fake error"),
        ({"FAKE_CUDA_FAIL": "cudaMemcpyAsync:1:2"}, 9, "CUDA error 1"),
        ({"FAKE_CONTEXT": "fails"}, 8, "memory is too small"),
        ({"FAKE_EXECUTE": "fails"}, 9, "could not start"),
        ({"FAKE_TENSORRT": "10.7.0"}, 6, "was built for TensorRT 10.3.0, here is 10.7.0"),
        ({"FAKE_CUDA_CAPABILITY": "72"}, 6, "was built for the GPU sm_87"),
        ({"PYTHONPATH": ""}, 3, "no TensorRT"),
    ],
    ids=lambda value: next(iter(value.values()), "") if isinstance(value, dict) else "",
)
def test_failures_leave_no_file(
    environment: dict[str, str],
    code: int,
    message: str,
    shared_board: Board,
    engine: Path,
    picture: Path,
    tmp_path: Path,
) -> None:
    report = tmp_path / "report"
    done = shared_board.run(
        "segment.py", engine, picture, "-o", tmp_path / "out", FAKE_CUDA_REPORT=str(report), **environment
    )
    assert_fails(done, code, message)
    assert not list((tmp_path / "out").rglob("*"))
    if report.exists():
        assert report.read_text().endswith("live 0\n")


def test_no_cuda(board: Board, engine: Path, picture: Path, tmp_path: Path) -> None:
    board.hide_cuda()
    done = board.run("segment.py", engine, picture, "-o", tmp_path)
    assert_fails(done, 3, "/usr/local/cuda/lib64/libabsent.so.10.2")


def copied(engine: Path, folder: Path) -> Path:
    """The engine and all that belongs to it, in a folder of its own."""
    shutil.copytree(engine.parent, folder)
    return folder / engine.name


def test_engines_that_do_not_fit(shared_board: Board, engine: Path, picture: Path, tmp_path: Path) -> None:
    def fails(changed: Path, code: int, message: str) -> None:
        assert_fails(shared_board.run("segment.py", changed, picture, "-o", tmp_path / "out"), code, message)

    damaged = copied(engine, tmp_path / "damaged")
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    fails(damaged, 6, "is damaged")

    # A plan whose checksum is right, and which TensorRT still refuses.
    record = damaged.with_name(damaged.name + ".json")
    record.write_text(record.read_text().replace(sha256_of(engine), sha256_of(damaged)))
    fails(damaged, 6, "cannot load the engine")

    other = copied(engine, tmp_path / "other")
    change_sidecar(tmp_path / "other" / "network.onnx", sha256="0" * 64)
    fails(other, 6, "the network with SHA-256")

    renamed = copied(engine, tmp_path / "renamed")
    change_sidecar(tmp_path / "renamed" / "network.onnx", output={"name": "scores"})
    fails(renamed, 6, "the sidecar says")
    fails(tmp_path / "none.engine", 6, "There is no engine")
    assert not (tmp_path / "out").exists()


def test_pictures_that_cannot_be_had(shared_board: Board, engine: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "chelsea.jpg").write_bytes(b"")
    for inputs, message in (
        (["none.png"], "no picture, folder, video or camera"),
        ([tmp_path / "empty"], "no pictures in"),
        ([picture, tmp_path / "chelsea.jpg"], "would both become chelsea_mask.png"),
        ([tmp_path / "text.png"], "no picture that Pillow can read"),
    ):
        assert_fails(shared_board.run("segment.py", engine, *inputs, "-o", tmp_path / "out"), 10, message)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert_fails(shared_board.run("segment.py", engine, picture, "-o", tmp_path / "file" / "out"), 12, "file")


def test_neither_pillow_nor_opencv(board: Board, engine: Path, picture: Path, tmp_path: Path) -> None:
    for package in ("PIL", "cv2"):
        board.install(package, f"raise ImportError('No module named {package}')")
    done = board.run("segment.py", engine, picture, "-o", tmp_path)
    assert_fails(done, 3, "Reading pictures needs Pillow or OpenCV", "install.sh")
