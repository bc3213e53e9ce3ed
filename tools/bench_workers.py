"""Contestants of a benchmark, each in a process of its own, timed in turns.

A process of its own makes memory measurable and keeps one framework's threads out of the other's way; turns make slow
drifts of the machine (temperature, other work) hit every contestant alike, so that ratios of one round are meaningful.

A benchmark script starts itself again for each contestant (`Contestant(__file__, name, options)`). In that process it
builds a function that does the work once, and passes it to `serve`, which runs it whenever the parent asks.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Memory:
    """Resident memory of a contestant's process in MiB.

    Attributes:
        of_call: the peak of the first call above the process's size before it.
        peak: the peak up to the end of the first call.
        after: what the process keeps after it.
    """

    of_call: float
    peak: float
    after: float


@dataclass
class Contestant:
    """A process of `script` that does the work `name` when asked; leaves with the `with` block.

    Attributes:
        seconds: the times of the calls so far.
    """

    script: str
    name: str
    options: dict[str, Any]
    seconds: list[float] = field(default_factory=list)

    def __enter__(self) -> Contestant:
        command = [sys.executable, self.script, "--contestant", self.name, "--options", json.dumps(self.options)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def first_call(self) -> Memory:
        """Runs the work for the first time, not timed."""
        return Memory(**self._ask("first"))

    def time(self, repeats: int) -> float:
        """Mean seconds of `repeats` calls in a row, also kept in `seconds`."""
        self.seconds.append(self._ask(f"time {repeats}")["seconds"])
        return self.seconds[-1]

    def _ask(self, question: str) -> dict[str, float]:
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"The process of {self.name!r} ended early, see its messages above.")


def serve(work: Callable[[], object], warm_up: Callable[[], object] | None = None) -> None:
    """Answers the parent's questions until it closes the line.

    Args:
        work: does the work once and returns when it is done.
        warm_up: run before memory is measured, to load the kernels: the same work on a tiny input.
    """
    if warm_up is not None:
        warm_up()
    for line in sys.stdin:
        question, *arguments = line.split()
        if question == "first":
            before = _status("VmRSS")
            # Lets the high-water mark start from the present size.
            Path("/proc/self/clear_refs").write_text("5")
            work()
            peak = _status("VmHWM")
            answer = {"of_call": (peak - before) / MIB, "peak": peak / MIB, "after": _status("VmRSS") / MIB}
        else:
            repeats = int(arguments[0])
            start = time.perf_counter()
            for _ in range(repeats):
                work()
            answer = {"seconds": (time.perf_counter() - start) / repeats}
        print(json.dumps(answer), flush=True)


def take_turns(contestants: Sequence[Contestant], rounds: int, repeats: int) -> None:
    """Times all contestants `rounds` times, one after the other; one round before that is not counted."""
    for index in range(rounds + 1):
        for contestant in contestants:
            contestant.time(repeats)
            if index == 0:
                contestant.seconds.clear()


def median_ratio(numerator: Contestant, denominator: Contestant) -> float:
    """Median over the rounds of the ratio of the two times within one round."""
    return statistics.median(a / b for a, b in zip(numerator.seconds, denominator.seconds, strict=True))


def set_threads(framework: str, count: int) -> None:
    """Gives TensorFlow or PyTorch `count` threads; before their first operation."""
    if framework == "torch":
        import torch

        torch.set_num_threads(count)
    else:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)


def _status(key: str) -> int:
    """A field of this process's status in bytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}: this benchmark measures memory on Linux.")
