"""Videos and cameras, through a fake OpenCV: all frames, or none and a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.deploy.jetson.conftest import HERE, Board, assert_fails, finish
from tests.deploy.jetson.networks import PALETTE, write_network

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)  # RGB


def classes_of(frames: np.ndarray) -> np.ndarray:
    """The nearest colour of the palette, by the distance itself."""
    distances = ((frames[..., None, :].astype(np.int64) - np.array(PALETTE)) ** 2).sum(-1)
    return distances.argmin(-1)


@pytest.fixture(scope="module")
def with_opencv(shared_board: Board) -> Board:
    shared_board.install("cv2", (HERE / "fake_cv2.py").read_text())
    return shared_board


@pytest.fixture(scope="module")
def engine(with_opencv: Board) -> Path:
    return with_opencv.build(write_network(with_opencv.folder / "small", (8, 8)))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "drive.mp4"
    with path.open("wb") as file:
        np.save(file, FRAMES[..., ::-1])
    return path


@pytest.mark.parametrize(("write", "files"), [("both", 2), ("overlays", 1), ("masks", 1), (None, 1)])
def test_each_frame_of_a_video(
    write: str | None, files: int, with_opencv: Board, engine: Path, video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = with_opencv.run("segment.py", engine, video, "-o", out, *(["--write", write] if write else []))
    assert done.returncode == 0, done.stderr
    assert "3 frame(s)" in done.stdout
    assert len(os.listdir(out)) == files
    expected = classes_of(FRAMES)
    if write in ("both", "masks"):
        masks = [np.asarray(Image.open(out / "drive_masks" / f"00000{number}.png")) for number in range(3)]
        np.testing.assert_array_equal(masks, expected)
    if write != "masks":
        written = np.load(out / "drive_overlay.mp4")
        assert (str(written["code"]), float(written["rate"]), written["size"].tolist()) == ("mp4v", 12.5, [8, 8])
        mixed = 0.4 * FRAMES + 0.6 * np.array(PALETTE)[expected]
        mixed[expected == 0] = FRAMES[expected == 0]
        assert np.abs(written["frames"][..., ::-1] - mixed).max() <= 1.5


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("/dev/video2", "2 200 {5: 15, 3: 640, 4: 360} released"),
        (
            "csi:1",
            "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM), width=640, height=360, framerate=15/1 ! "
            "nvvidconv ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
            "appsink drop=true max-buffers=1 sync=false 1800 {5: 12.5} released",
        ),
    ],
)
def test_cameras(name: str, opened: str, with_opencv: Board, engine: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    arguments = engine, name, "-o", out, "--frames", 4, "--camera-size", "640x360", "--camera-rate", 15
    done = with_opencv.run("segment.py", *arguments, FAKE_CAMERA="endless", FAKE_CAMERA_LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert log.read_text() == opened
    (file,) = out.iterdir()
    written = np.load(file)
    assert file.name == {"/dev/video2": "usb2_overlay.mp4", "csi:1": "csi1_overlay.mp4"}[name]
    assert (len(written["frames"]), float(written["rate"])) == (4, 15.0)


@pytest.mark.parametrize(
    ("name", "environment", "code", "message"),
    [
        ("/dev/video0", {"FAKE_CAMERA": "3"}, 11, "USB camera 0 delivers no more frames"),
        ("/dev/video0", {"FAKE_CAMERA": "3 hangs"}, 11, "USB camera 0 delivers no more frames"),
        ("csi", {"FAKE_CAMERA": "0"}, 11, "CSI camera 0 delivers no more frames"),
        ("csi", {"FAKE_CAMERA": "none"}, 10, "cannot be opened"),
        ("csi", {"FAKE_CAMERA": "3", "FAKE_GSTREAMER": "NO"}, 3, "no GStreamer"),
        ("/dev/video0", {"FAKE_CAMERA": "endless", "FAKE_WRITER": "fails"}, 12, "cannot write the video"),
        ("/dev/video0", {"FAKE_CAMERA": "endless", "FAKE_CUDA_FAIL": "cudaStreamSynchronize:2:3"}, 8, "out of memory"),
    ],
)
def test_what_stops_a_camera_leaves_no_file(
    name: str,
    environment: dict[str, str],
    code: int,
    message: str,
    with_opencv: Board,
    engine: Path,
    tmp_path: Path,
) -> None:
    arguments = engine, name, "-o", tmp_path, "--write", "both", "--camera-timeout", 0.5
    assert_fails(with_opencv.run("segment.py", *arguments, **environment), code, message)
    assert not os.listdir(tmp_path)


def start_recording(board: Board, engine: Path, out: Path, camera: str, begun: str) -> subprocess.Popen[str]:
    """segment.py on a camera, when it has made a file of `begun`'s form."""
    process = board.start("segment.py", engine, "csi", "-o", out, FAKE_CAMERA=camera)
    deadline = time.monotonic() + 60
    while not list(out.parent.glob(begun)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_completes_a_recording(
    number: signal.Signals, with_opencv: Board, engine: Path, tmp_path: Path
) -> None:
    process = start_recording(with_opencv, engine, tmp_path / "out", "endless", "out/.partial-*")
    process.send_signal(number)
    done = finish(process)
    assert done.returncode == 0, done.stderr
    assert len(np.load(tmp_path / "out" / "csi0_overlay.mp4")["frames"]) >= 1
    assert len(os.listdir(tmp_path / "out")) == 1


def test_an_interrupt_in_mid_frame_waits_for_its_end(with_opencv: Board, engine: Path, tmp_path: Path) -> None:
    arguments = engine, "csi", "-o", tmp_path / "out", "--write", "both"
    done = finish(with_opencv.start("segment.py", *arguments, FAKE_CAMERA="endless", FAKE_WRITER="interrupts"))
    assert done.returncode == 0, done.stderr
    assert "1 frame(s)" in done.stdout
    assert len(np.load(tmp_path / "out" / "csi0_overlay.mp4")["frames"]) == 1
    assert len(os.listdir(tmp_path / "out" / "csi0_masks")) == 1


@pytest.mark.parametrize(
    ("camera", "begun", "code", "message", "files"),
    [("0 hangs", "out", 130, "interrupted", 0), ("1 hangs", "out/.partial-*", 0, "", 1)],
)
def test_an_interrupt_ends_the_wait_for_a_frame(
    camera: str, begun: str, code: int, message: str, files: int, with_opencv: Board, engine: Path, tmp_path: Path
) -> None:
    process = start_recording(with_opencv, engine, tmp_path / "out", camera, begun)
    time.sleep(0.2)  # it waits now
    process.send_signal(signal.SIGTERM)
    done = finish(process)
    assert (done.returncode, done.stderr.strip()) == (code, message)
    assert len(os.listdir(tmp_path / "out")) == files


def test_videos_that_cannot_be_had(with_opencv: Board, engine: Path, video: Path, tmp_path: Path) -> None:
    def fails(*arguments: object, message: str) -> None:
        done = with_opencv.run("segment.py", engine, *arguments, "-o", tmp_path / "out")
        assert_fails(done, 10, message)

    fails(video, "csi", message="comes alone")
    damaged, empty = tmp_path / "damaged.avi", tmp_path / "empty.avi"
    damaged.write_text("no video")
    fails(damaged, message="no video that OpenCV can read")
    with empty.open("wb") as file:
        np.save(file, FRAMES[:0])
    fails(empty, message="empty has no frames")
    assert not list(tmp_path.glob("out/*"))
    (tmp_path / "out" / "drive_masks").mkdir(parents=True)
    fails(video, "--write", "masks", message="there already")


def test_pictures_without_pillow(board: Board, tmp_path: Path) -> None:
    board.install("PIL", "raise ImportError('No module named PIL')")
    engine = board.build(write_network(board.folder, (8, 8)))
    board.install("cv2", (HERE / "fake_cv2.py").read_text())
    with (tmp_path / "photo.png").open("wb") as file:
        np.save(file, FRAMES[0, :, :, ::-1])
    done = board.run("segment.py", engine, tmp_path / "photo.png", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "photo_mask.png"), classes_of(FRAMES[0]))
    assert np.load(tmp_path / "out" / "photo_overlay.png").shape == (8, 8, 3)
    done = board.run("segment.py", engine, tmp_path / "photo.png", "-o", tmp_path / "none", FAKE_WRITER="fails")
    assert_fails(done, 12, "could not write")
    assert not os.listdir(tmp_path / "none")
