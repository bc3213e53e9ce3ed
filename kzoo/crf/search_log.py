"""The log of a CRF search: what was measured, kept so that no point is measured twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kzoo.crf.search import BilateralKernel


class SearchLog(dict[BilateralKernel, float]):
    """The mIoU of each point measured so far; set one by one, `log[point] = miou`, each goes into the file at once.

    A file of JSON lines: first the setting, then the mIoU without a CRF and of each point. A last line that a kill cut
    short is dropped.

    Args:
        path: the file; made if it is not there.
        setting: what the numbers depend on, as JSON values: network, data, fixed parameters.

    Raises:
        ValueError: the file is no such log, or that of another setting.
    """

    def __init__(self, path: Path, setting: Mapping[str, Any]) -> None:
        super().__init__()
        self._path = path
        self._without_crf: float | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            file.seek(0)
            content = file.read()
        whole = content.rfind(b"\n") + 1
        header = json.dumps({"setting": dict(setting)}).encode()
        if not whole and header.startswith(content):  # new, or killed within its first line
            os.truncate(path, 0)
            self._append({"setting": dict(setting)})
            return
        first, *lines = content[: whole or None].decode("utf-8", "replace").splitlines()
        self._compare(_parsed(path, 1, first).get("setting"), setting)
        # Only now that it is known to be a log.
        os.truncate(path, whole)
        for number, line in enumerate(lines, 2):
            row = _parsed(path, number, line)
            try:
                if "without_crf" in row:
                    self._without_crf = float(row["without_crf"])
                else:
                    miou = float(row.pop("miou"))
                    super().__setitem__(BilateralKernel(**row), miou)
            except (KeyError, TypeError, ValueError) as error:
                raise _damaged(path, number) from error

    def __setitem__(self, point: BilateralKernel, miou: float) -> None:
        self._append({**point._asdict(), "miou": miou})
        super().__setitem__(point, miou)

    @property
    def without_crf(self) -> float | None:
        """The mIoU without a CRF; None if it was not measured yet."""
        return self._without_crf

    @without_crf.setter
    def without_crf(self, miou: float) -> None:
        self._append({"without_crf": miou})
        self._without_crf = miou

    def _append(self, row: Mapping[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _compare(self, logged: Any, setting: Mapping[str, Any]) -> None:
        if not isinstance(logged, dict):
            raise _damaged(self._path, 1)
        differing = [key for key in {**setting, **logged} if logged.get(key) != setting.get(key)]
        if differing:
            details = "; ".join(f"{key} {_short(logged.get(key))}, now {_short(setting.get(key))}" for key in differing)
            raise ValueError(
                f"The log {str(self._path)!r} is that of another search: {details}. Write the result to another file, "
                "or remove the log."
            )


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _damaged(path, number) from error
    if not isinstance(row, dict):
        raise _damaged(path, number)
    return row


def _damaged(path: Path, number: int) -> ValueError:
    return ValueError(f"{str(path)!r}, line {number}, is not what a CRF search logs: move the file away.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 70 else f"{text[:60]}... ({len(value)} long)"
