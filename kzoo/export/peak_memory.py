"""How much memory running an artefact takes: measured in a process of its own, which this module is, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from kzoo.errors import need
from kzoo.export.runners import open_artifact
from kzoo.export.target import format_of

_RUNTIMES = {"onnx": ("onnxruntime", "onnx"), "litert": ("ai_edge_litert.interpreter", "litert")}
RUNS = 3


def peak_memory(path: Path, size: tuple[int, int], input_type: str, threads: int | None = None) -> float:
    """What running an ONNX or a `.tflite` takes beyond its runtime, in 1e6 bytes.

    The largest resident memory of a process that runs it, less that of one which imports the runtime alone. Reads
    /proc, as Linux has it.

    Args:
        path: the artefact.
        size: height and width of its pictures.
        input_type: their type.
        threads: of the runtime; by default its own choice.
    """

    def peak(runs: int) -> int:
        words = [str(path), str(runs), *map(str, size), input_type, str(threads or 0)]
        command = [sys.executable, "-m", __name__, *words]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])

    return (peak(RUNS) - peak(0)) * 1024 / 1e6


def main(argv: list[str]) -> None:
    """Runs an artefact some times, or imports its runtime alone, and writes the peak in kB."""
    path, runs, height, width, input_type, threads = argv
    need(*_RUNTIMES[format_of(path)])
    if int(runs):
        run = open_artifact(path, int(threads) or os.cpu_count())
        for _ in range(int(runs)):
            run(np.zeros((1, int(height), int(width), 3), input_type))
    # Not getrusage, whose figure a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    sys.stdout.write(next(line.split()[1] for line in status if line.startswith("VmHWM")))


if __name__ == "__main__":
    main(sys.argv[1:])
