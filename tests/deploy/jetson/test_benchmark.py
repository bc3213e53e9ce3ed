"""The benchmark's numbers: of the runs that were asked for, and the same in text, CSV and JSON."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from tests.deploy.jetson.conftest import JETSON, Board, assert_fails
from tests.deploy.jetson.networks import write_network

STEPS = ["copy_in", "compute", "copy_out", "round_trip"]


@pytest.fixture(scope="module")
def engine(shared_board: Board) -> Path:
    onnx = write_network(shared_board.folder / "benchmark", (8, 8), batch=-1)
    return shared_board.build(onnx, "--batch", 4)


def test_text_and_json_and_csv(shared_board: Board, engine: Path, tmp_path: Path) -> None:
    path = tmp_path / "times.json"
    done = shared_board.run(
        "benchmark.py", engine, "--runs", 5, "--warm-up", 2, "--batch", 3, "--write", path, FAKE_CUDA_INTEGRATED="1"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    assert (result["batch"], result["runs"], result["memory"], result["tensorrt"]) == (3, 5, "mapped", "10.3.0")
    assert list(result["milliseconds"]) == STEPS
    for step, numbers in result["milliseconds"].items():
        assert 0 <= numbers["min"] <= numbers["median"] <= numbers["p90"] <= numbers["max"]
        assert 0 <= numbers["spread"] <= numbers["max"] - numbers["min"] + 1e-3
        assert f"{numbers['median']:.3f}" in done.stdout
        assert step.replace("_", " ") in done.stdout
    # Each round takes at least what its steps take, and all rounds together what the throughput says.
    medians = {step: numbers["median"] for step, numbers in result["milliseconds"].items()}
    assert medians["round_trip"] > medians["compute"] > medians["copy_in"]
    longest = 5 * result["milliseconds"]["round_trip"]["max"]
    shortest = 5 * result["milliseconds"]["round_trip"]["min"]
    assert 1e3 * 15 / longest * 0.5 < result["pictures_per_second"] < 1e3 * 15 / shortest * 1.01

    path = tmp_path / "times.csv"
    done = shared_board.run("benchmark.py", engine, "--runs", 1, "--warm-up", 0, "--write", path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(path.open()))
    assert [row["step"] for row in rows] == STEPS
    assert {row["memory"] for row in rows} == {"copied"}
    assert all(row["median"] == row["p90"] == row["min"] == row["max"] for row in rows)


def test_statistics() -> None:
    spec = importlib.util.spec_from_file_location("jetson_benchmark", JETSON / "benchmark.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = [float(value) for value in range(101)]
    assert module.statistics_of(values) == {"median": 50, "p90": 90, "min": 0, "max": 100, "spread": 50}


def test_failures(shared_board: Board, engine: Path, tmp_path: Path) -> None:
    done = shared_board.run("benchmark.py", engine, "--batch", 5)
    assert_fails(done, 6, "takes 1-4 picture(s) at a time, not 5")
    done = shared_board.run("benchmark.py", engine, "--write", tmp_path / "times.txt")
    assert done.returncode == 2
    assert "ends in .json or .csv" in done.stderr
    path = tmp_path / "times.csv"
    done = shared_board.run("benchmark.py", engine, "--write", path, FAKE_CUDA_FAIL="cudaEventElapsedTime:700:9")
    assert_fails(done, 9, "cudaEventElapsedTime failed")
    assert not path.exists()
