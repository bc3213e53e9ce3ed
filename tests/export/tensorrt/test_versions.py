from __future__ import annotations

from pathlib import Path

import pytest

from kzoo.export.tensorrt import BOARDS, VERSIONS, for_jetpack, for_tensorrt


@pytest.mark.parametrize(
    ("jetpack", "tensorrt", "release", "l4t", "cuda", "python", "opset", "boards"),
    [
        ("4.6.1", "8.2", "8.2.1", "32.7", "10.2", "3.6", 13, ("Nano", "TX2", "Xavier")),
        ("4.6.6", "8.2", "8.2.1", "32.7", "10.2", "3.6", 13, ("Nano", "TX2", "Xavier")),
        ("5.0.2", "8.4", "8.4.1", "35.1", "11.4", "3.8", 17, ("Xavier", "Orin")),
        ("5.1.2", "8.5", "8.5.2", "35.2 to 35.6", "11.4", "3.8", 17, ("Xavier", "Orin")),
        ("6.0", "8.6", "8.6.2", "36.3", "12.2", "3.10", 17, ("Orin",)),
        ("6.2", "10.3", "10.3.0", "36.4 to 36.5", "12.6", "3.10", 20, ("Orin",)),
        ("7.0", "10.13", "10.13", "38.2 to 38.4", "13.0", "3.12", 24, ("Thor",)),
        ("7.2", "10.16", "10.16.1", "39.0 to 39.1", "13.2", "3.12", 24, ("Thor", "Orin")),
        ("7.2.2", "11.4", "11.4.1", "39.2", "13.2", "3.12", 25, ("Thor", "Orin")),
    ],
)
def test_facts(jetpack, tensorrt, release, l4t, cuda, python, opset, boards):
    version = for_jetpack(jetpack)
    assert (version.name, version.release, version.l4t, version.cuda) == (tensorrt, release, l4t, cuda)
    assert (version.python, version.opset, version.boards) == (python, opset, boards)
    assert for_tensorrt(tensorrt) is for_tensorrt(f"{tensorrt}.1.9") is version


def test_types_at_the_ends_and_inside():
    """UINT8 since 8.5, INT64 since 9 (10.3 is the first on a Jetson); inside INT64 always, UINT8 never."""
    assert [version.name for version in VERSIONS if "uint8" not in version.io_types] == ["8.2", "8.4"]
    assert [version.name for version in VERSIONS if "int64" not in version.io_types] == ["8.2", "8.4", "8.5", "8.6"]
    for version in VERSIONS:
        assert "float64" not in version.io_types | version.types
        assert "int64" in version.types and "uint8" not in version.types
        assert {"float32", "float16", "int32", "bool"} <= version.io_types
        assert version.advised_opset <= version.opset and set(version.boards) <= set(BOARDS)


def test_order_is_by_number_not_by_letters():
    assert [version.number for version in VERSIONS] == sorted(version.number for version in VERSIONS)
    assert for_tensorrt("8.6").before("10.3") and not for_tensorrt("10.3").before("8.6")
    assert not for_tensorrt("8.6").before("8.6")


@pytest.mark.parametrize(
    ("look_up", "name", "words"),
    [
        (for_jetpack, "4.6", ("Unknown JetPack '4.6'", "4.6.1, 4.6.2", "6.1, 6.2, 6.2.1, 6.2.2 (TensorRT 10.3)")),
        (for_jetpack, "", ("Unknown JetPack ''", "apt show nvidia-jetpack")),
        (for_tensorrt, "8.0", ("Unknown TensorRT version '8.0'", "8.2 (JetPack 4.6.1)", "11.4 (JetPack 7.2.2)")),
        (for_tensorrt, "8", ("Unknown TensorRT version '8'",)),
    ],
)
def test_unknown_versions_are_told_what_is_known(look_up, name, words):
    with pytest.raises(ValueError) as error:
        look_up(name)
    assert all(word in str(error.value) for word in words)


def test_the_documents_tables_are_ours():
    root = Path(__file__).resolve().parents[3]
    guide, board = (root / name for name in ("docs/deployment.md", "deploy/jetson/README.md"))
    for version in VERSIONS:
        first, last = version.jetpacks[0], version.jetpacks[-1]
        inputs = ", ".join(sorted({"float32", "uint8"} & version.io_types))
        cells = [first if first == last else f"{first} to {last}", version.l4t, version.release]
        cells += [", ".join(version.boards), str(version.advised_opset)]
        cells += ["fp32" if version.before("10.0") else "fp16", inputs]
        assert f"| {' | '.join(cells)} |" in guide.read_text()
        assert f"| {version.name} |" in board.read_text() or f"| {version.release} |" in board.read_text()
