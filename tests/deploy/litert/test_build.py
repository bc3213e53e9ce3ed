"""build.py: what it asks `kzoo export` for."""

from __future__ import annotations

import pytest

import kzoo.cli


@pytest.fixture
def asked(monkeypatch) -> list[list[str]]:
    """The command lines that `kzoo` got; it answers 2."""
    lines: list[list[str]] = []

    def kzoo_main(words):
        lines.append(list(words))
        return 2

    monkeypatch.setattr(kzoo.cli, "main", kzoo_main)
    return lines


@pytest.mark.parametrize(
    ("device", "options"),
    [
        (("--for", "cpu"), ["--precision", "fp32"]),
        ((), ["--precision", "fp32"]),
        (("--for", "gpu"), ["--precision", "fp16"]),
        (("--for", "coral"), ["--precision", "int8", "--input-type", "uint8"]),
    ],
)
def test_what_suits_a_device(scripts, asked, device, options) -> None:
    code = scripts.build.main(["encnet_mnv2_camvid", "--size", "360x480", "-o", "net.tflite", *device])
    fixed = ["export", "encnet_mnv2_camvid", "--format", "litert", "--size", "360x480", "-o", "net.tflite"]
    assert asked == [fixed + options]
    assert code == 2


def test_further_options_win(scripts, asked) -> None:
    scripts.build.main(
        ["net", "--size", "8x8", "-o", "n.tflite", "--for", "coral", "--precision", "dynamic", "--argmax"]
    )
    words = asked[0]
    assert words[-3:] == ["--precision", "dynamic", "--argmax"]
    assert words.index("int8") < words.index("dynamic")  # argparse takes the last
