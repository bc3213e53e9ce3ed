"""`kzoo export` and `kzoo benchmark`: what they write and what they refuse."""

import csv
import json

import pytest

from kzoo.cli import main
from kzoo.export import LIMITS, Limits


def test_an_onnx_for_the_oldest_jetson(tmp_path, capsys):
    path = tmp_path / "net.onnx"
    words = ["export", "encnet_mnv2_animals", "-o", str(path), "--size", "64x96", "--check-tensorrt", "8.2", "--argmax"]
    assert main(words) == 0
    sidecar = json.loads((tmp_path / "net.onnx.json").read_text())
    assert sidecar["opset"] == 13 and sidecar["output"]["shape"] == [1, 64, 96]
    said = capsys.readouterr().out
    assert f"wrote {path} and net.onnx.json" in said and "of the pixels agree" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.onnx", "--size", "64"], "--size is HEIGHTxWIDTH"),
        (["--size", "64x64"], "Name the file to write"),
        (["-o", "x.onnx", "--report"], "Name the file to write"),
        (["--report", "--size", "64x64"], "--report needs pictures"),
        (["-o", "x.onnx", "--size", "64x64", "--input-type", "uint8", "--check-tensorrt", "8.2"], "8.2"),
        (["-o", "x.tflite", "--size", "64x64", "--dynamic"], "Only an ONNX can leave its batch open"),
        (["-o", "x.tflite", "--size", "64x64", "--precision", "int8"], "calibrated with real pictures"),
    ],
)
def test_bad_requests(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "encnet_mnv2_animals", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_lattice_is_not_exported(tmp_path, capsys):
    assert main(["export", "deeplab_mnv2_animals", "-o", str(tmp_path / "net.onnx"), "--size", "64x64"]) == 2
    assert "--refine none" in capsys.readouterr().err


def test_the_benchmark_writes_table_and_artefacts(tmp_path, capsys):
    words = ["benchmark", "encnet_mnv2_animals", "--size", "64x96", "--formats", "keras", "litert:fp32", "onnx:fp32"]
    assert main([*words, "--rounds", "3", "-o", str(tmp_path)]) == 0
    artefact = tmp_path / "encnet_mnv2_animals_64x96_fp32.tflite"
    with open(tmp_path / "benchmark.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["format"], row["precision"]) for row in rows] == [
        ("keras", "fp32"),
        ("onnx", "fp32"),
        ("litert", "fp32"),
    ]
    assert all(float(row["median"]) > 0 for row in rows)
    assert float(rows[2]["megabytes"]) == artefact.stat().st_size / 1e6 and float(rows[2]["peak"]) > 1
    assert len(capsys.readouterr().out.splitlines()) == 5
    # A file is a contender as well, beside the network that it came from.
    assert main(["benchmark", str(artefact), "--rounds", "2"]) == 0
    assert main(["benchmark", "encnet_mnv2_animals", "--formats", "onyx"]) == 2
    assert "There is no format 'onyx'" in capsys.readouterr().err


def test_the_benchmark_goes_on_without_a_form_that_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(LIMITS, "fp32", Limits(0.0, 1.0, None))
    words = ["benchmark", "encnet_mnv2_animals", "--size", "64x96", "--formats", "keras", "litert:fp32"]
    assert main([*words, "--rounds", "2", "-o", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "left out: encnet_mnv2_animals_64x96_fp32.tflite would not be the network" in printed.err
    assert len(printed.out.splitlines()) == 3 and not list(tmp_path.glob("*.tflite"))
