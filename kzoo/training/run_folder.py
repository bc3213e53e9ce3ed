"""A run folder: the files that `kzoo train` leaves behind, and the facts about a run that its config does not hold."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kzoo import __version__
from kzoo.files import atomic_write
from kzoo.strict_yaml import from_mapping, to_plain

CONFIG = "config.yaml"  # merged, defaults included
INFO = "run.json"
LOG = "log.csv"
STATE = "state.npz"
BEST_WEIGHTS = "best.weights.h5"
LAST_WEIGHTS = "last.weights.h5"
RESULTS = "results.json"
CURVES = "curves.png"
FILES = (CONFIG, INFO, LOG, STATE, BEST_WEIGHTS, LAST_WEIGHTS, RESULTS, CURVES)


@dataclass(frozen=True)
class RunInfo:
    """Provenance and labels of a run; what makes its weights usable without the dataset at hand.

    Attributes:
        command: the command line that started it.
        commit: commit of the code, with `-dirty` if files differed from it; "unknown" outside a git checkout.
        version: kzoo's version.
        class_names, palette, ignore_label: the dataset's labels.
    """

    command: str
    commit: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_label: int
    version: str = __version__


def write_info(folder: str | os.PathLike[str], info: RunInfo) -> None:
    """Writes `run.json` into a run folder."""
    with atomic_write(Path(folder) / INFO) as path:
        path.write_text(json.dumps(to_plain(info), indent=1) + "\n", encoding="utf-8")


def read_info(folder: str | os.PathLike[str]) -> RunInfo:
    """Reads `run.json` of a run folder.

    Raises:
        FileNotFoundError: the folder has none.
        ValueError: it is not what `write_info` writes.
    """
    path = Path(folder) / INFO
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} is no run folder of `kzoo train`: it has no {INFO}.")
    try:
        return from_mapping(RunInfo, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def code_commit() -> str:
    """The commit that kzoo's code is at, `-dirty` appended if tracked files differ; "unknown" outside a checkout."""
    package = Path(__file__).parents[1]
    try:
        result = subprocess.run(
            ["git", "-C", str(package), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        tracked = subprocess.run(
            ["git", "-C", str(package), "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    # An installed kzoo inside somebody else's checkout is not at that checkout's commit.
    return result.stdout.strip() if tracked.returncode == 0 else "unknown"
