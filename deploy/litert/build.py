#!/usr/bin/env python3
"""Exports a network for a device. Runs on the workstation, where kzoo is installed; not on the device.

    python deploy/litert/build.py encnet_mnv2_camvid --for coral --size 360x480 -o encnet_int8.tflite

is `kzoo export` with what suits the device; further options are passed on and win (see `kzoo export --help`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

DEVICES = {
    "cpu": ["--precision", "fp32"],
    "gpu": ["--precision", "fp16"],
    # The Edge TPU computes in int8 alone, and pictures are uint8: nothing is left to convert on the device.
    "coral": ["--precision", "int8", "--input-type", "uint8"],
}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status of `kzoo export`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="NAME_OR_RUN", help="a name from `kzoo list`, a run folder, or a .keras file")
    parser.add_argument("--for", dest="device", choices=DEVICES, default="cpu", help="what computes (%(default)s)")
    parser.add_argument("--size", required=True, metavar="HxW", help="the pictures' size, fixed in the file")
    parser.add_argument(
        "-o", "--out", required=True, metavar="FILE.tflite", help="FILE.tflite.json is written beside it"
    )
    args, others = parser.parse_known_args(argv)
    from kzoo.cli import main as kzoo

    fixed = ["--format", "litert", "--size", args.size, "-o", args.out]
    return kzoo(["export", args.model, *fixed, *DEVICES[args.device], *others])


if __name__ == "__main__":
    sys.exit(main())
