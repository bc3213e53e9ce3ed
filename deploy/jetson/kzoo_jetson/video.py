"""Frames of video files and cameras, and videos of overlays, through the board's OpenCV."""

import contextlib
import queue
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from .errors import CameraStoppedError, InputError, SoftwareError
from .pictures import import_opencv

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm")


class Camera(NamedTuple):
    """A camera: "usb" through V4L2, or "csi" through GStreamer's nvarguscamerasrc."""

    kind: str
    number: int
    width: int
    height: int
    rate: int
    patience: float  # seconds without a frame until it counts as stopped

    def __str__(self) -> str:
        return f"{self.kind.upper()} camera {self.number}"


def parse_camera(name: str, size: Tuple[int, int], rate: int, patience: float) -> Optional[Camera]:
    """The camera that "/dev/video0", "csi" or "csi:1" names; None if it is none of these."""
    usb, csi = re.match(r"/dev/video(\d+)$", name), re.match(r"csi(?::(\d+))?$", name)
    if not usb and not csi:
        return None
    number = int(usb.group(1) if usb else csi.group(1) or 0)
    return Camera("usb" if usb else "csi", number, size[0], size[1], rate, patience)


def gstreamer_pipeline(camera: Camera) -> str:
    """From the sensor, through the image processor, to BGR in the CPU's memory; frames nobody took are dropped."""
    return (
        f"nvarguscamerasrc sensor-id={camera.number} ! "
        f"video/x-raw(memory:NVMM), width={camera.width}, height={camera.height}, framerate={camera.rate}/1 ! "
        "nvvidconv ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false"
    )


class Frames:
    """RGB frames, (H, W, 3) uint8, and how many of them a second. They end when `stopped` is set."""

    rate = 0.0
    stopped = False

    def __iter__(self) -> Iterator[np.ndarray]:
        raise NotImplementedError

    def close(self) -> None:
        """Gives the file or the camera back."""
        raise NotImplementedError

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Within it the first Ctrl-C or SIGTERM ends the frames after the one in work; the next interrupts at once.

        An exception in the middle of a frame would leave results of different lengths, or be lost: Python drops what
        is raised in a callback from a C library, and with it the wish to stop.
        """
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # Not where the shell has them ignored, as Ctrl-C for jobs in the background.
        handlers = {number: handler for number, handler in found.items() if callable(handler)}

        def stop(number: int, _: object) -> None:
            self.stopped = True
            signal.signal(number, handlers[number])

        for number in handlers:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


class VideoFile(Frames):
    """The frames of a video file, each of them."""

    def __init__(self, path: Path) -> None:
        cv2 = import_opencv("Reading videos needs OpenCV")
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise InputError(f"{path} is no video that OpenCV can read.")
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0

    def __iter__(self) -> Iterator[np.ndarray]:
        while not self.stopped:
            read, frame = self._capture.read()
            if not read:
                return
            yield frame[:, :, ::-1]

    def close(self) -> None:
        self._capture.release()


class CameraStream(Frames):
    """The newest frame of a camera, as often as it is asked for.

    A thread reads, because a camera that has stopped may leave `read()` waiting for ever.
    """

    def __init__(self, camera: Camera) -> None:
        self._camera, self.rate = camera, float(camera.rate)
        self._capture = _open_camera(camera)
        self._newest = queue.Queue(maxsize=1)  # type: queue.Queue
        self._closing = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[np.ndarray]:
        latest = time.monotonic()
        while not self.stopped:
            try:
                frame = self._newest.get(timeout=min(0.1, self._camera.patience))
            except queue.Empty:
                if time.monotonic() - latest < self._camera.patience:
                    continue
                frame = None
            if frame is None:
                raise CameraStoppedError(f"The {self._camera} delivers no more frames.")
            yield frame[:, :, ::-1]
            latest = time.monotonic()

    def close(self) -> None:
        # A CSI camera that is not released cannot be opened again until its daemon is restarted.
        self._closing = True
        self._thread.join(timeout=2)
        if not self._thread.is_alive():
            self._capture.release()

    def _read(self) -> None:
        read = True
        while read and not self._closing:
            read, frame = self._capture.read()
            try:
                self._newest.get_nowait()  # one that nobody took
            except queue.Empty:
                pass
            self._newest.put(frame if read else None)


class VideoWriter:
    """Writes RGB frames to an .mp4 file."""

    def __init__(self, path: Path, rate: float) -> None:
        self._cv2 = import_opencv("Writing videos needs OpenCV")
        self._path, self._rate, self._writer = path, rate, None  # type: Path, float, Any

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame; the first one decides the size."""
        if self._writer is None:
            code = self._cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = self._cv2.VideoWriter(str(self._path), code, self._rate, (frame.shape[1], frame.shape[0]))
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write the video {self._path}")
        self._writer.write(np.ascontiguousarray(frame[:, :, ::-1]))

    def close(self) -> None:
        """Completes the file."""
        if self._writer is not None:
            self._writer.release()


def _open_camera(camera: Camera) -> Any:
    cv2 = import_opencv("Cameras need OpenCV")
    if camera.kind == "csi":
        if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
            raise SoftwareError(f"This OpenCV {cv2.__version__} has no GStreamer: use JetPack's, not pip's.")
        capture = cv2.VideoCapture(gstreamer_pipeline(camera), cv2.CAP_GSTREAMER)
    else:
        capture = cv2.VideoCapture(camera.number, cv2.CAP_V4L2)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, camera.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, camera.height)
        capture.set(cv2.CAP_PROP_FPS, camera.rate)
    if not capture.isOpened():
        raise InputError(f"The {camera} cannot be opened: is it connected, and free?")
    return capture
