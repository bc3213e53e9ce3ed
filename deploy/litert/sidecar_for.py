#!/usr/bin/env python3
"""Writes the sidecar of a file that another compiler made of an exported .tflite file.

    edgetpu_compiler encnet.tflite
    python sidecar_for.py encnet_edgetpu.tflite --of encnet.tflite

The classes, colours and tensors are those of the exported file; the checksum is the new file's. What `kzoo export`
measured of the old file is left out: nobody has measured the new one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import errors

with errors.packages_needed():
    from pictures import written
    from sidecar import checksum, open_sidecar


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; see `errors.EXIT_CODES`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compiled", type=Path, metavar="COMPILED.tflite", help="what the other compiler wrote")
    parser.add_argument("--of", required=True, metavar="EXPORTED.tflite", help="what `kzoo export` wrote")
    args = parser.parse_args(argv)
    return errors.main(lambda: run(args.compiled, args.of))


def run(compiled: Path, exported: str) -> int:
    """Writes COMPILED.tflite.json."""
    sidecar = open_sidecar(exported)
    sidecar.update(file=compiled.name, sha256=checksum(compiled), bytes=compiled.stat().st_size, verification=None)
    target = compiled.with_name(compiled.name + ".json")
    with written(target) as temporary:
        temporary.write_text(json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"The sidecar is in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
