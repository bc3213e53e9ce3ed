#!/usr/bin/env python3
"""Times a .tflite file on this device: median, p90 and spread of many calls, throughput, peak memory.

    for n in 1 2 4; do python benchmark.py encnet.tflite --threads $n --csv table.csv; done

One process measures one setting: memory is the process's peak, and a second network would find caches warm. The
picture is noise; how long a network takes does not depend on it.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import errors
from errors import COMMAND_LINE, DeviceError

with errors.packages_needed():
    import ai_edge_litert
    import numpy as np
    from network import Network, add_arguments, open_network
    from pictures import class_map, written


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; see `errors.EXIT_CODES`."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=errors.EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--runs", type=int, default=100, metavar="N", help="measured calls (%(default)s)")
    parser.add_argument("--warm-up", type=int, default=10, metavar="N", help="calls before them (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="add the result as a line")
    args = parser.parse_args(argv)
    return errors.main(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Measures, prints, writes."""
    if args.runs < 1 or args.warm_up < 0:
        raise DeviceError(
            COMMAND_LINE, f"--runs is at least 1 and --warm-up at least 0, received {args.runs}, {args.warm_up}."
        )
    start = time.perf_counter()
    network, sidecar = open_network(args)
    loaded = time.perf_counter() - start
    record = {
        "file": Path(args.network).name,
        "network": sidecar["network"]["name"],
        "precision": sidecar["precision"],
        "height": network.size[0],
        "width": network.size[1],
        "delegate": args.delegate,
        "threads": args.threads,
        "load_ms": round(1000 * loaded, 3),
        **measure(network, args.warm_up, args.runs),
        "peak_memory_mib": round(peak_memory() / 2**20, 1),
        "device": device(),
        "python": platform.python_version(),
        "ai_edge_litert": ai_edge_litert.__version__,
    }
    width = max(map(len, record))
    print("\n".join(f"{name.ljust(width)}  {value}" for name, value in record.items()))
    if args.json:
        with written(args.json) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if args.csv:
        add_line(args.csv, record)
    return 0


def measure(network: Network, warm_up: int, runs: int) -> dict[str, Any]:
    """Calls the network on noise.

    Returns:
        `invoke_ms`: the median; `invoke_p90_ms`, `invoke_min_ms`, `invoke_max_ms`; `invoke_spread`: distance of the
        quartiles over the median; `invoke_drift`: median of the last quarter of the calls over that of the first (a
        device that gets hot and slows down has more than 1); `copy_ms`, `post_process_ms`: medians; `per_second`: of
        the three together; `first_ms`: the very first invoke.
    """
    picture = np.random.default_rng(0).integers(0, 256, (*network.size, 3)).astype(np.uint8)
    times: dict[str, list[float]] = {"copy": [], "invoke": [], "post_process": []}
    for _ in range(warm_up + runs):
        output = network(picture)
        ran = time.perf_counter()
        class_map(output, network.size)
        for step, spent in {**network.seconds, "post_process": time.perf_counter() - ran}.items():
            times[step].append(1000 * spent)
    first = times["invoke"][0]
    invoke = np.array(times["invoke"][warm_up:])
    low, median, high, p90 = np.percentile(invoke, (25, 50, 75, 90))
    quarter = max(1, runs // 4)
    whole = median + sum(np.median(times[step][warm_up:]) for step in ("copy", "post_process"))
    result = {
        "invoke_ms": median,
        "invoke_p90_ms": p90,
        "invoke_min_ms": invoke.min(),
        "invoke_max_ms": invoke.max(),
        "invoke_spread": (high - low) / median,
        "invoke_drift": np.median(invoke[-quarter:]) / np.median(invoke[:quarter]),
        "copy_ms": np.median(times["copy"][warm_up:]),
        "post_process_ms": np.median(times["post_process"][warm_up:]),
        "per_second": 1000 / whole,
        "first_ms": first,
    }
    return {"warm_up": warm_up, "runs": runs, **{name: round(float(value), 3) for name, value in result.items()}}


def peak_memory() -> int:
    """The most memory this process has held, in bytes."""
    try:
        # Not getrusage on Linux: it also counts the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def device() -> str:
    """The board's own name, else the processor's."""
    board, processors = Path("/proc/device-tree/model"), Path("/proc/cpuinfo")
    if board.exists():
        return board.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    lines = processors.read_text(encoding="utf-8", errors="replace").splitlines() if processors.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or 'unknown'} ({platform.machine()})"


def add_line(path: Path, record: dict[str, Any]) -> None:
    """Adds a record to a CSV file, with a header if the file is new.

    Raises:
        DeviceError: `OUTPUT`: the file cannot be written, or its columns are others.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    text = io.StringIO()
    table = csv.DictWriter(text, list(record), lineterminator="\n")
    if not old:
        table.writeheader()
    elif next(csv.reader([old.splitlines()[0]])) != list(record):
        raise DeviceError(errors.OUTPUT, f"{str(path)!r} has other columns than this result: name a new file.")
    table.writerow(record)
    with written(path) as temporary:
        temporary.write_text(old + text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
