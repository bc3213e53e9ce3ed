"""Videos and cameras through OpenCV, which is imported only when one is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from errors import OUTPUT, PICTURE, DeviceError, packages_needed
from PIL import Image

Frame = tuple[Image.Image, Callable[[Image.Image], None]]


@contextlib.contextmanager
def copied(source: str, target: Path, limit: int | None = None) -> Iterator[Iterator[Frame]]:
    """The frames of a video, each with the function that writes its successor into the copy.

    Args:
        source: a file, or "camera:N".
        target: an .mp4 file; gets the frame rate of `source`, or 25 where it tells none.
        limit: how many frames at most.

    Raises:
        DeviceError: `PICTURE`: the video cannot be opened or has no frame. `OUTPUT`: the copy cannot be written.
    """
    with packages_needed():
        import cv2
    camera = source.startswith("camera:")
    if camera and not source[7:].isdigit():
        raise DeviceError(PICTURE, f"A camera is named by its number, camera:0 or camera:1, received {source!r}.")
    capture = cv2.VideoCapture(int(source[7:]) if camera else source)
    writers: list[Any] = []

    def write(picture: Image.Image) -> None:
        if not writers:
            rate = capture.get(cv2.CAP_PROP_FPS) or 25
            writers.append(cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*"mp4v"), rate, picture.size))
            if not writers[0].isOpened():
                raise DeviceError(OUTPUT, f"OpenCV cannot write .mp4 files here: {str(target)!r}.")
        writers[0].write(np.asarray(picture)[:, :, ::-1])  # OpenCV's frames are BGR

    def frames() -> Iterator[Frame]:
        count = 0
        while limit is None or count < limit:
            there, frame = capture.read()
            if not there:
                break
            count += 1
            yield Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1])), write
        if not count:
            raise DeviceError(PICTURE, f"Cannot read the video {source!r}: OpenCV finds no frame in it.")

    try:
        yield frames()
    finally:
        capture.release()
        for writer in writers:
            writer.release()
