#!/usr/bin/env python3
"""Segments pictures, folders of pictures, videos or a camera with a .tflite file of `kzoo export`.

    python segment.py encnet.tflite photo.jpg folder/ -o out --threads 4

Writes NAME_mask.png (palette picture; pixel values are classes) and NAME_overlay.png for each picture, NAME_overlay.mp4
for a video. Logits are resized bilinearly to the picture's size before the best class is taken; a network that
returns classes has them taken from the nearest pixel.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import errors
from errors import COMMAND_LINE, PICTURE, DeviceError

with errors.packages_needed():
    import numpy as np
    import video
    from network import Network, add_arguments, open_network
    from pictures import SUFFIXES, at_network_size, class_map, mask_picture, overlay, read_picture, shares, written
    from PIL import Image

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; see `errors.EXIT_CODES`."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=errors.EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="pictures, folders of pictures, videos, or camera:0, camera:1 ..."
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where results are written")
    parser.add_argument("--frames", type=int, metavar="N", help="stop a video or camera after N frames")
    args = parser.parse_args(argv)
    return errors.main(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Segments all inputs; one that cannot be read does not stop the others."""
    if args.frames is not None and args.frames < 1:
        raise DeviceError(COMMAND_LINE, f"--frames is at least 1, received {args.frames}.")
    inputs = find_inputs(args.inputs)
    network, sidecar = open_network(args)
    code = 0
    for source in inputs:
        try:
            if is_video(source):
                line = segment_video(network, sidecar, source, args.out, args.frames)
            else:
                line = segment_file(network, sidecar, Path(source), args.out)
            print(f"{source}: {line}", flush=True)
        except DeviceError as error:
            if error.code != PICTURE:
                raise
            errors.report(error)
            code = error.code
    return code


def find_inputs(names: Iterable[str]) -> list[str]:
    """Pictures (folders opened), videos and cameras, each once, in order.

    Raises:
        DeviceError: `PICTURE`: a folder without pictures. `COMMAND_LINE`: two inputs would be written to one file.
    """
    found: dict[str, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(str(p) for p in path.iterdir() if p.suffix.lower() in SUFFIXES + VIDEO_SUFFIXES)
            if not inside:
                raise DeviceError(PICTURE, f"The folder {name!r} has no pictures: none ends in {', '.join(SUFFIXES)}.")
            found.update(dict.fromkeys(inside))
        else:
            found[name] = None
    stems: dict[str, str] = {}
    for name in found:
        other = stems.setdefault(stem(name), name)
        if other != name:
            raise DeviceError(
                COMMAND_LINE,
                f"{other!r} and {name!r} would both be written to {stem(name)}_*: give them other folders.",
            )
    return list(found)


def is_video(source: str) -> bool:
    """Whether an input goes through OpenCV."""
    return source.startswith("camera:") or source.lower().endswith(VIDEO_SUFFIXES)


def stem(source: str) -> str:
    """What the results of an input are named after."""
    return Path(source).stem.replace(":", "")


def segment_file(network: Network, sidecar: dict[str, Any], path: Path, out: Path) -> str:
    """Writes the mask and the overlay of a picture; returns a line that tells classes and times."""
    picture = read_picture(path)
    classes, seconds = segment_picture(network, picture)
    results = {"mask": mask_picture(classes, sidecar), "overlay": overlay(picture, classes, sidecar)}
    for name, drawn in results.items():
        with written(out / f"{path.stem}_{name}.png") as temporary:
            drawn.save(temporary, format="PNG")
    return f"{shares(classes, sidecar)} | {times(seconds)}"


def segment_video(network: Network, sidecar: dict[str, Any], source: str, out: Path, limit: int | None) -> str:
    """Writes the overlay of a video or camera; returns a line that tells the mean times of a frame."""
    total: dict[str, float] = {}
    count = 0
    with written(out / f"{stem(source)}_overlay.mp4") as temporary, video.copied(source, temporary, limit) as frames:
        try:
            for picture, write in frames:
                classes, seconds = segment_picture(network, picture)
                write(overlay(picture, classes, sidecar))
                total = {step: total.get(step, 0) + spent for step, spent in seconds.items()}
                count += 1
        except KeyboardInterrupt:  # a camera has no other end
            if not count or not source.startswith("camera:"):
                raise
    return f"{count} frames | {times({step: spent / count for step, spent in total.items()})}"


def segment_picture(network: Network, picture: Image.Image) -> tuple[np.ndarray, dict[str, float]]:
    """The classes of a picture at its own size, (H, W) uint8, and the seconds of each step."""
    start = time.perf_counter()
    resized = at_network_size(picture, network.size)
    ready = time.perf_counter()
    output = network(resized)
    ran = time.perf_counter()
    classes = class_map(output, picture.size[::-1])
    return classes, {"resize": ready - start, **network.seconds, "post-process": time.perf_counter() - ran}


def times(seconds: dict[str, float]) -> str:
    """Steps and their milliseconds."""
    return ", ".join(f"{step} {1000 * spent:.1f} ms" for step, spent in seconds.items())


if __name__ == "__main__":
    sys.exit(main())
