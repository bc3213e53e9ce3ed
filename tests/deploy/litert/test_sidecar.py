"""What is refused before a network runs."""

from __future__ import annotations

import hashlib
import json

import pytest

from kzoo.export.metadata import embed_sidecar


def refused(scripts, path, code, message, sidecar=None) -> None:
    with pytest.raises(scripts.errors.DeviceError, match=message) as caught:
        scripts.sidecar.open_sidecar(path, sidecar)
    assert caught.value.code == code


def test_beside_the_file_and_somewhere_else(scripts, artefact, tmp_path) -> None:
    path = artefact("float32")
    beside = path.with_name("float32.tflite.json")
    expected = json.loads(beside.read_text(encoding="utf-8"))
    assert scripts.sidecar.open_sidecar(path) == expected
    beside.rename(tmp_path / "other.json")
    assert scripts.sidecar.open_sidecar(path, tmp_path / "other.json") == expected


def test_inside_the_file(scripts, converted, tmp_path) -> None:
    content, expected = converted("uint8")
    path = tmp_path / "inside.tflite"
    path.write_bytes(embed_sidecar(content, expected))
    assert scripts.sidecar.open_sidecar(path) == expected


def test_nowhere(scripts, artefact) -> None:
    path = artefact("float32")
    path.with_name("float32.tflite.json").unlink()
    refused(
        scripts, path, scripts.errors.SIDECAR, r"no sidecar inside, and there is no float32\.tflite\.json beside it"
    )
    refused(scripts, path, scripts.errors.SIDECAR, "Cannot read the sidecar 'gone.json'", "gone.json")


def test_another_file_than_the_sidecars(scripts, artefact) -> None:
    path = artefact("float32")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused(scripts, path, scripts.errors.NETWORK, "is not the file that its sidecar was written for: sha256")
    path.write_bytes(content[:-100])
    refused(scripts, path, scripts.errors.NETWORK, f"{len(content) - 100} bytes, expected {len(content)}. Copy both")


def test_the_sidecar_of_what_another_compiler_made(scripts, artefact, converted, tmp_path, capsys) -> None:
    exported = artefact("float32", verification={"pictures": 8})
    before = json.loads(exported.with_name("float32.tflite.json").read_text(encoding="utf-8"))
    compiled = tmp_path / "float32_edgetpu.tflite"
    content = converted("float32")[0] + bytes(16)
    compiled.write_bytes(content)
    refused(scripts, compiled, scripts.errors.NETWORK, "is not the file", f"{exported}.json")
    assert scripts.sidecar_for.main([str(compiled), "--of", str(exported)]) == 0
    own = {"file": compiled.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert scripts.sidecar.open_sidecar(compiled) == {**before, **own, "verification": None}
    capsys.readouterr()
    assert scripts.sidecar_for.main([str(tmp_path / "gone.tflite"), "--of", str(exported)]) == scripts.errors.NETWORK
    assert "Cannot read the network" in capsys.readouterr().err


def test_a_damaged_file_with_the_sidecar_inside(scripts, converted, tmp_path) -> None:
    """Whether the metadata or LiteRT trips over it: the file is what is wrong."""
    content, sidecar = converted("float32")
    whole = embed_sidecar(content, sidecar)
    path = tmp_path / "cut.tflite"
    for share in (0.05, 0.3, 0.7, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(scripts.errors.DeviceError) as caught:
            scripts.network.Network(path, scripts.sidecar.open_sidecar(path), 1)
        assert caught.value.code == scripts.errors.NETWORK, share


def test_other_files(scripts, tmp_path) -> None:
    refused(scripts, tmp_path / "gone.tflite", scripts.errors.NETWORK, r"Cannot read the network .*No such file")
    refused(scripts, tmp_path, scripts.errors.NETWORK, r"Cannot read the network .*Is a directory")
    picture = tmp_path / "picture.tflite"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    refused(scripts, picture, scripts.errors.NETWORK, r"is no \.tflite file: its bytes 4 to 8 are")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kzoo_sidecar": 2}, "has kzoo_sidecar = 2, expected 1"),
        ({"format": "onnx"}, "has format = 'onnx'; these scripts take 'litert'"),
        ({"input": {"layout": "NCHW", "shape": [1, 3, 40, 56], "color": "RGB", "range": [0, 255]}}, "layout = 'NCHW'"),
        ({"input": {"layout": "NHWC", "shape": [4, 40, 56, 3], "color": "RGB", "range": [0, 255]}}, r"= \[4, 3\]"),
        ({"input": {"layout": "NHWC", "shape": [1, 40, 56, 3], "color": "BGR", "range": [0, 255]}}, "color = 'BGR'"),
        ({"input": {"layout": "NHWC", "shape": [1, 40, 56, 3], "color": "RGB", "range": [0, 1]}}, r"range = \[0, 1\]"),
        ({"output": {"kind": "classes", "layout": "NHWC"}}, "output.layout = 'NHWC'; these scripts take 'NHW'"),
        ({"classes": ["one"]}, r"output\.shape's channels = 4; these scripts take 1"),
        ({"palette": [[0, 0, 0]]}, "number of colours in palette = 1; these scripts take 4"),
        ({"palette": [[0, 0]] * 4}, "numbers a colour"),
        ({"output": {}}, r"is not whole: KeyError 'kind'\. Export it again"),
        ({"network": None}, "is not whole"),
        ({"ignore_label": None}, "is not whole: TypeError"),
    ],
)
def test_a_sidecar_that_says_something_else(scripts, artefact, changes, message) -> None:
    refused(scripts, artefact("float32", **changes), scripts.errors.SIDECAR, message)


def test_a_sidecar_that_is_no_json(scripts, artefact) -> None:
    path = artefact("float32")
    for text in ("{", "[1, 2]", "\xff"):
        path.with_name("float32.tflite.json").write_text(text, encoding="latin-1")
        refused(scripts, path, scripts.errors.SIDECAR, "Cannot read the sidecar|has kzoo_sidecar = None")
