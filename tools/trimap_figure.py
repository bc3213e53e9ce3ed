"""Draws several tables of `kzoo eval --trimap FILE.csv` into one figure.

python tools/trimap_figure.py "without=none.csv" "dense CRF=dense.csv" -o docs/pictures/trimap_animals.png
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from kzoo.inference import plot_trimap
from kzoo.metrics.trimap import TrimapResults


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", metavar="LABEL=FILE.csv")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.png")
    args = parser.parse_args(argv)
    curves = {}
    for table in args.tables:
        label, _, file = table.rpartition("=")
        if not label:
            parser.error(f"{table!r} is not LABEL=FILE.csv")
        curves[label] = read(Path(file))
    plot_trimap(curves, args.out)
    return 0


def read(path: Path) -> TrimapResults:
    """What `kzoo.inference.write_trimap` wrote."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ([float(row[name]) for row in rows] for name in ("width", "pixel_accuracy", "miou"))
    return TrimapResults(*map(tuple, columns))


if __name__ == "__main__":
    sys.exit(main())
