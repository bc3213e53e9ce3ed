"""benchmark.py: its numbers, and that they are written where they were asked for."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest


def test_text_json_and_csv_agree(on_device, artefact, tmp_path) -> None:
    path = artefact("uint8")
    words = (path, "--runs", 30, "--warm-up", 3, "--json", "one.json", "--csv", "table.csv")
    for threads in (1, 2):
        done = on_device("benchmark.py", *words, "--threads", threads)
        assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "one.json").read_text())
    with (tmp_path / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["threads"] for line in lines] == ["1", "2"]
    assert lines[1] == {name: str(value) for name, value in record.items()}
    assert dict(line.split(maxsplit=1) for line in done.stdout.splitlines()) == lines[1]
    assert (record["network"], record["precision"], record["height"], record["width"]) == ("tiny_uint8", "int8", 40, 56)
    assert (record["runs"], record["warm_up"]) == (30, 3)
    assert 0 < record["invoke_min_ms"] <= record["invoke_ms"] <= record["invoke_p90_ms"] <= record["invoke_max_ms"]
    assert 20 < record["peak_memory_mib"] < 400  # Python, NumPy and LiteRT; not the process that started it


def test_the_statistics_of_known_times(scripts, monkeypatch) -> None:
    """A clock that only the network and the post-processing turn: 2, 3, ... ms to invoke, 1 ms to copy, 4 ms after."""
    clock = SimpleNamespace(now=0.0)
    calls = []

    def network(picture):
        assert picture.shape == (6, 8, 3) and picture.dtype == np.uint8
        calls.append(picture)
        network.seconds = {"copy": 0.001, "invoke": 0.001 * (len(calls) + 1)}
        return np.zeros((6, 8, 2), np.float32)

    def post_process(output, size):
        clock.now += 0.004

    network.size = (6, 8)
    monkeypatch.setattr(scripts.benchmark, "class_map", post_process)
    monkeypatch.setattr(scripts.benchmark.time, "perf_counter", lambda: clock.now)
    measured = scripts.benchmark.measure(network, 2, 9)
    assert len(calls) == 11
    # After two calls of 2 and 3 ms to warm up: 4, 5, ..., 12 ms.
    assert measured == {
        "warm_up": 2,
        "runs": 9,
        "first_ms": 2,
        "invoke_ms": 8,
        "invoke_p90_ms": pytest.approx(11.2),
        "invoke_min_ms": 4,
        "invoke_max_ms": 12,
        "invoke_spread": 0.5,
        "invoke_drift": pytest.approx(11.5 / 4.5, abs=1e-3),
        "copy_ms": 1,
        "post_process_ms": 4,
        "per_second": pytest.approx(1000 / 13, abs=1e-3),
    }


def test_mistakes(scripts, artefact, tmp_path, capsys) -> None:
    path = str(artefact("float32"))
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    for code, message, words in (
        (2, "--runs is at least 1 and --warm-up at least 0, received 0, 10", (path, "--runs", "0")),
        (4, "Cannot read the network", (path + "x",)),
        (8, "has other columns than this result", (path, "--runs", "1", "--csv", str(table))),
        (8, "Cannot write", (path, "--runs", "1", "--json", str(table / "one.json"))),
    ):
        assert scripts.benchmark.main(words) == code
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert table.read_text() == "a,b\n1,2\n"
