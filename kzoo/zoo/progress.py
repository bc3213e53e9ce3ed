"""How far a download is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time

_REDRAW_SECONDS = 0.2


class Progress:
    """Tells on stderr how far a download is.

    On a terminal it draws one line, again and again, with share, rate and time left; elsewhere (logs, notebooks) it
    writes a line at the start and one at the end.

    Args:
        name: of the file.
        source: where it comes from.
        done: bytes that an earlier attempt left.
        total: bytes of the whole file; None if unknown.
    """

    def __init__(self, name: str, source: str, done: int, total: int | None) -> None:
        self._name, self._done, self._total = name, done, total
        self._first, self._start, self._drawn = done, time.monotonic(), -_REDRAW_SECONDS
        self._terminal = sys.stderr.isatty()
        if not self._terminal:
            size = "size unknown" if total is None else megabytes(total)
            begin = f", from {megabytes(done)} on" if done else ""
            self._write(f"Fetching {name} ({size}) from {source}{begin}\n")

    def update(self, done: int) -> None:
        """Tells that the file has `done` bytes now."""
        self._done = done
        now = time.monotonic()
        if self._terminal and now - self._drawn >= _REDRAW_SECONDS:
            self._draw(now)

    def close(self) -> None:
        """Ends the display, whether the download is whole or not."""
        now = time.monotonic()
        if self._terminal:
            self._draw(now)
            self._write("\n")
        else:
            figures = f"{now - self._start:.0f} s, {self._rate(now) / 1e6:.1f} MB/s"
            self._write(f"{megabytes(self._done)} of {self._name} after {figures}\n")

    def _rate(self, now: float) -> float:
        return (self._done - self._first) / max(now - self._start, 1e-3)

    def _draw(self, now: float) -> None:
        self._drawn = now
        columns = shutil.get_terminal_size().columns
        self._write("\r" + bar(self._name, self._done, self._total, self._rate(now), columns - 1))

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def bar(name: str, done: int, total: int | None, rate: float, columns: int) -> str:
    """One line of exactly `columns` characters: name, bar, bytes, rate (bytes a second) and time left."""
    figures = f" {done / 1e6:.1f}"
    if total is not None:
        figures = f" {done / max(total, 1):4.0%}{figures}/{total / 1e6:.1f}"
    figures += f" MB {rate / 1e6:.1f} MB/s"
    if total is not None:
        figures += f" ETA {_clock((total - done) / rate)}" if rate > 0 else " ETA -:--"
    room = columns - len(name) - len(figures) - 3
    if total is not None and room >= 10:
        room = min(room, 40)
        filled = room * done // max(total, 1)
        figures = f" [{'#' * filled}{'.' * (room - filled)}]{figures}"
    return f"{name[: max(columns - len(figures), 0)]}{figures}"[:columns].ljust(columns)


def megabytes(count: int) -> str:
    """A number of bytes, to be read: `1.5 MB`."""
    return f"{count / 1e6:.1f} MB"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
