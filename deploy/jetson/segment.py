#!/usr/bin/env python3
"""Segments pictures, videos and cameras with an engine that build_engine.py made.

    python3 segment.py NAME.engine photo.jpg folder/ -o results
    python3 segment.py NAME.engine drive.mp4 -o results
    python3 segment.py NAME.engine /dev/video0 -o results        USB camera, until Ctrl-C
    python3 segment.py NAME.engine csi -o results                CSI camera

Pictures become STEM_mask.png (class indices, at the picture's own size) and STEM_overlay.png; a video becomes
STEM_overlay.mp4 and, with --write masks or both, a folder STEM_masks of one PNG a frame.
"""

import argparse
import contextlib
import functools
import itertools
import sys
import time
from pathlib import Path
from typing import Callable, List, Optional, Tuple

import numpy as np

from kzoo_jetson import video
from kzoo_jetson.errors import InputError, run
from kzoo_jetson.files import whole
from kzoo_jetson.pictures import find_pictures, overlay, read_picture, write_mask, write_picture
from kzoo_jetson.runner import MEMORY, open_runner
from kzoo_jetson.segmenter import Segmenter, Timings
from kzoo_jetson.sidecar import Sidecar


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path, help="what build_engine.py wrote")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="pictures and folders, or one video or camera")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where results are written")
    parser.add_argument(
        "--write", choices=("masks", "overlays", "both"), help="both for pictures, overlays for videos by default"
    )
    parser.add_argument(
        "--resize",
        choices=("logits", "classes"),
        default="logits",
        help="what is brought to the picture's size: logits (exact) or classes (faster, coarser edges)",
    )
    parser.add_argument("--memory", choices=MEMORY, default="auto", help="mapped: no copies; auto: mapped on a Jetson")
    camera = parser.add_argument_group("videos and cameras")
    camera.add_argument("--frames", type=int, metavar="N", help="stop after so many frames")
    camera.add_argument("--camera-size", default="1280x720", metavar="WxH", help="one that the camera has; 1280x720")
    camera.add_argument("--camera-rate", type=int, default=30, metavar="FPS", help="frames a second; 30")
    camera.add_argument(
        "--camera-timeout", type=float, default=10.0, metavar="S", help="seconds without a frame that end it; 10"
    )
    args = parser.parse_args()
    try:
        width, height = args.camera_size.split("x")
        args.camera_size = int(width), int(height)
    except ValueError:
        parser.error(f"--camera-size is WIDTHxHEIGHT such as 1280x720, received {args.camera_size}")
    return args


def main() -> None:
    """Segments what the command line names."""
    args = parse_arguments()
    moving = open_moving(args)
    pictures = [] if moving else find_pictures(args.inputs)
    with open_runner(args.engine, memory=args.memory) as runner:
        segmenter = Segmenter(runner, args.resize)
        if moving is None:
            segment_pictures(segmenter, runner.sidecar, pictures, args.out, args.write or "both")
        else:
            stem, open_frames = moving
            segment_frames(segmenter, runner.sidecar, stem, open_frames, args)


def open_moving(args: argparse.Namespace) -> Optional[Tuple[str, Callable[[], video.Frames]]]:
    """The stem of the results and what opens the frames, if the input is a video or a camera."""
    for name in args.inputs:
        camera = video.parse_camera(name, args.camera_size, args.camera_rate, args.camera_timeout)
        path = Path(name)
        if not camera and not (path.is_file() and path.suffix.lower() in video.SUFFIXES):
            continue
        if len(args.inputs) > 1:
            raise InputError(f"{name} comes alone: one video or camera at a time.")
        if camera:
            return f"{camera.kind}{camera.number}", functools.partial(video.CameraStream, camera)
        return path.stem, functools.partial(video.VideoFile, path)
    return None


def segment_pictures(segmenter: Segmenter, sidecar: Sidecar, pictures: List[Path], out: Path, write: str) -> None:
    """Writes the mask and the overlay of each picture."""
    timings = Timings()
    for path in pictures:
        start = time.perf_counter()
        picture = read_picture(path)
        read = time.perf_counter()
        mask, times = segmenter(picture)
        done = time.perf_counter()
        if write != "overlays":
            write_mask(out / (path.stem + "_mask.png"), mask, sidecar)
        if write != "masks":
            write_picture(out / (path.stem + "_overlay.png"), overlay(picture, mask, sidecar))
        timings.add(read=(read - start) * 1e3, **times)
        timings.add(write=(time.perf_counter() - done) * 1e3)
        print(f"{path}: {describe(mask, sidecar)}")
    print(f"{len(pictures)} picture(s) in {out}; median ms: {timings}")


def segment_frames(
    segmenter: Segmenter, sidecar: Sidecar, stem: str, open_frames: Callable[[], video.Frames], args: argparse.Namespace
) -> None:
    """Writes a video of overlays, a folder of masks, or both. Ctrl-C ends them well, an error leaves none of them."""
    write = args.write or "overlays"
    overlays, masks = args.out / (stem + "_overlay.mp4"), args.out / (stem + "_masks")
    if write != "overlays" and masks.exists():
        raise InputError(f"{masks} is there already: move it away first.")
    timings, count = Timings(), 0
    with contextlib.ExitStack() as results:
        frames = open_frames()
        results.callback(frames.close)
        if write != "masks":
            writer = video.VideoWriter(results.enter_context(whole(overlays)), frames.rate)
            results.callback(writer.close)  # before the file gets its name
        if write != "overlays":
            folder = results.enter_context(whole(masks))
            folder.mkdir()
        with frames.stopped_by_signals():
            for count, frame in enumerate(itertools.islice(frames, args.frames), 1):
                mask, times = segmenter(frame)
                start = time.perf_counter()
                if write != "masks":
                    writer.write(overlay(frame, mask, sidecar))
                if write != "overlays":
                    write_mask(folder / f"{count - 1:06d}.png", mask, sidecar)
                timings.add(write=(time.perf_counter() - start) * 1e3, **times)
        if not count:
            raise KeyboardInterrupt if frames.stopped else InputError(f"{stem} has no frames.")
    print(f"{count} frame(s) in {args.out}; median ms: {timings}")


def describe(mask: np.ndarray, sidecar: Sidecar) -> str:
    """The classes of a picture and their shares, the largest first."""
    shares = np.bincount(mask.ravel(), minlength=len(sidecar.classes)) / mask.size
    return ", ".join(f"{sidecar.classes[index]} {shares[index]:.1%}" for index in np.argsort(-shares) if shares[index])


if __name__ == "__main__":
    sys.exit(run(main))
