#!/usr/bin/env python3
"""Measures an engine: copies and computing apart, by CUDA's events, and the whole round by the clock.

    python3 benchmark.py NAME.engine
    python3 benchmark.py NAME.engine --memory copied --write times.csv

Set the clocks first, or the numbers tell of the governor: sudo nvpmodel -m 0 && sudo jetson_clocks
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from kzoo_jetson.errors import run
from kzoo_jetson.files import whole
from kzoo_jetson.runner import MEMORY, Runner, open_runner

STATISTICS = ("median", "p90", "min", "max", "spread")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path, help="what build_engine.py wrote")
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="measured runs; 200")
    parser.add_argument("--warm-up", type=int, default=50, metavar="N", help="runs before them; 50")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="pictures in one run; 1")
    parser.add_argument("--memory", choices=MEMORY, default="auto", help="mapped: no copies; auto: mapped on a Jetson")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the result to FILE.json or FILE.csv")
    args = parser.parse_args()
    if args.runs < 1 or args.warm_up < 0:
        parser.error("--runs is at least 1, --warm-up at least 0")
    if args.write and args.write.suffix not in (".json", ".csv"):
        parser.error(f"--write takes a file that ends in .json or .csv, received {args.write}")
    return args


def main() -> None:
    """Measures and prints."""
    args = parse_arguments()
    with open_runner(args.engine, args.batch, args.memory) as runner:
        runner.input[...] = np.random.RandomState(0).randint(0, 256, runner.input.shape)
        times, seconds = measure(runner, args.warm_up, args.runs)
        result = {
            "engine": args.engine.name,
            "precision": runner.key.precision,
            "gpu": runner.key.gpu,
            "tensorrt": runner.tensorrt,
            "memory": "mapped" if runner.mapped else "copied",
            "batch": args.batch,
            "runs": args.runs,
            "pictures_per_second": round(args.batch * args.runs / seconds, 2),
            "milliseconds": {step: statistics_of(values) for step, values in times.items()},
        }
    print(as_text(result))
    if args.write:
        with whole(args.write) as partial:
            write(partial, result)


def measure(runner: Runner, warm_up: int, runs: int) -> Tuple[Dict[str, List[float]], float]:
    """The milliseconds of each step of each run, and the seconds of all runs together."""
    for _ in range(warm_up):
        runner.run()
    times = {}  # type: Dict[str, List[float]]
    begin = time.perf_counter()
    for _ in range(runs):
        start = time.perf_counter()
        _, gpu = runner.run()
        round_trip = (time.perf_counter() - start) * 1e3
        for step, milliseconds in [*gpu._asdict().items(), ("round_trip", round_trip)]:
            times.setdefault(step, []).append(milliseconds)
    return times, time.perf_counter() - begin


def statistics_of(values: List[float]) -> Dict[str, float]:
    """Median, 90th percentile, extremes, and the spread between the quartiles."""
    lower, median, upper, p90 = np.percentile(values, (25, 50, 75, 90))
    numbers = (median, p90, min(values), max(values), upper - lower)
    return {name: round(float(number), 4) for name, number in zip(STATISTICS, numbers)}


def as_text(result: Dict[str, Any]) -> str:
    """The result as lines for a terminal."""
    lines = [
        "{engine} on {gpu}, TensorRT {tensorrt}, {memory} memory, batch {batch}, {runs} runs".format(**result),
        "{:12}".format("ms") + "".join(f"{name:>10}" for name in STATISTICS),
    ]
    for step, numbers in result["milliseconds"].items():
        lines.append("{:12}".format(step.replace("_", " ")) + "".join(f"{numbers[name]:10.3f}" for name in STATISTICS))
    return "\n".join([*lines, "{pictures_per_second} pictures a second".format(**result)])


def write(path: Path, result: Dict[str, Any]) -> None:
    """Writes the result as JSON, or as CSV with one row a step and the other fields in each row."""
    if path.suffix == ".json":
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        return
    fields = {name: value for name, value in result.items() if name != "milliseconds"}
    rows = [dict(fields, step=step, **numbers) for step, numbers in result["milliseconds"].items()]
    with open(str(path), "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    sys.exit(run(main))
