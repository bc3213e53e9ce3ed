from __future__ import annotations

import io
import sys

import pytest

from kzoo.zoo import progress
from kzoo.zoo.progress import Progress, bar


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((25_000_000, 100_000_000, 5e6, 70), "a.pth [" + 6 * "#" + 19 * "." + "]  25% 25.0/100.0 MB 5.0 MB/s ETA 0:15"),
        ((0, 100_000_000, 0.0, 70), "a.pth [" + 26 * "." + "]   0% 0.0/100.0 MB 0.0 MB/s ETA -:--"),
        ((100_000_000, 100_000_000, 5e6, 200), "a.pth [" + 40 * "#" + "] 100% 100.0/100.0 MB 5.0 MB/s ETA 0:00"),
        ((0, 36_610_000_000, 1e7, 59), "a.pth   0% 0.0/36610.0 MB 10.0 MB/s ETA 1:01:01"),
        ((25_000_000, None, 5e6, 70), "a.pth 25.0 MB 5.0 MB/s"),
        ((25_000_000, 100_000_000, 5e6, 40), "a.p  25% 25.0/100.0 MB 5.0 MB/s ETA 0:15"),
        ((0, 0, 0.0, 20), "   0% 0.0/0.0 MB 0.0"),
    ],
)
def test_bar(arguments: tuple[int, int | None, float, int], line: str) -> None:
    assert bar("a.pth", *arguments) == line.ljust(arguments[-1])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_terminal_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, clock = Terminal(), Clock()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setenv("COLUMNS", "71")
    shown = Progress("a.pth", "example.org", 10_000_000, 100_000_000)
    for done in range(10_000_000, 40_000_001, 1_000_000):
        shown.update(done)
        clock.now += 0.125
    shown.close()
    lines = terminal.getvalue().split("\r")[1:]
    assert len(lines) == 17  # of 31 updates every second one, not before 0.2 s, and one at the end
    assert {len(line.rstrip("\n")) for line in lines} == {70}
    assert "  40% 40.0/100.0 MB 7.7 MB/s ETA 0:08\n" in lines[-1]  # 30 MB in 3.875 s: what was there before counts not
    assert terminal.getvalue().count("\n") == 1


def test_plain_lines_elsewhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    shown = Progress("a.pth", "example.org", 10_000_000, 100_000_000)
    shown.update(50_000_000)
    clock.now += 4
    shown.close()
    assert capsys.readouterr().err == (
        "Fetching a.pth (100.0 MB) from example.org, from 10.0 MB on\n50.0 MB of a.pth after 4 s, 10.0 MB/s\n"
    )
