"""What the scripts use of OpenCV: pictures and videos are BGR arrays as np.save writes them.

FAKE_CAMERA is what a camera delivers: "3" frames and then no more, "3 hangs" and then silence, "endless" frames, or
"none", where there is no camera. FAKE_WRITER "fails", or "interrupts" by Ctrl-C while it writes.
"""

import itertools
import os
import signal
import time

import numpy as np

__version__ = "4.5.4"
CAP_GSTREAMER, CAP_V4L2, CAP_PROP_FPS, CAP_PROP_FRAME_WIDTH, CAP_PROP_FRAME_HEIGHT = 1800, 200, 5, 3, 4
IMREAD_COLOR = 1


def getBuildInformation():  # noqa: N802
    return f"    GStreamer:                   {os.environ.get('FAKE_GSTREAMER', 'YES (1.16.3)')}\n"


def VideoWriter_fourcc(*letters):  # noqa: N802
    return "".join(letters)


class VideoCapture:
    def __init__(self, source, backend=None):
        self._properties = {CAP_PROP_FPS: 12.5}
        self._source, self._backend = source, backend
        frame = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
        camera = os.environ.get("FAKE_CAMERA", "none")
        self._hangs = camera.endswith("hangs")
        if backend is None:
            self._frames = iter(np.load(source)) if open(source, "rb").read(6) == b"\x93NUMPY" else None
        elif camera == "none":
            self._frames = None
        else:
            self._frames = itertools.repeat(frame, *([] if camera == "endless" else [int(camera.split()[0])]))

    def isOpened(self):  # noqa: N802
        return self._frames is not None

    def get(self, name):
        return self._properties[name]

    def set(self, name, value):
        self._properties[name] = value

    def read(self):
        if self._backend is not None:
            time.sleep(0.02)  # so that each frame is fetched before the next one replaces it
        frame = next(self._frames, None)
        if frame is None and self._hangs:
            time.sleep(60)
        return frame is not None, frame

    def release(self):
        if "FAKE_CAMERA_LOG" in os.environ:
            with open(os.environ["FAKE_CAMERA_LOG"], "w") as file:
                file.write(f"{self._source} {self._backend} {self._properties} released")


class VideoWriter:
    def __init__(self, path, code, rate, size):
        self._path, self._settings, self._frames = path, (code, rate, size), []

    def isOpened(self):  # noqa: N802
        return os.environ.get("FAKE_WRITER") != "fails"

    def write(self, frame):
        if (frame.shape[1], frame.shape[0]) != self._settings[2] or not frame.flags["C_CONTIGUOUS"]:
            raise ValueError("OpenCV would drop this frame")
        if os.environ.get("FAKE_WRITER") == "interrupts":
            os.kill(os.getpid(), signal.SIGINT)
        self._frames.append(frame.copy())
        open(self._path, "ab").close()

    def release(self):
        code, rate, size = self._settings
        with open(self._path, "wb") as file:
            np.savez(file, frames=self._frames, code=code, rate=rate, size=size)


def imread(path, flags):
    picture = np.load(path) if open(path, "rb").read(6) == b"\x93NUMPY" else None
    return picture if flags == IMREAD_COLOR else None


def imwrite(path, picture):
    with open(path, "wb") as file:
        np.save(file, picture)
    return os.environ.get("FAKE_WRITER") != "fails"
