"""Exported networks are the networks, each by the runtime that it is made for; faulty ones are not written."""

import json
import logging
import sys

import numpy as np
import pytest

from kzoo.data import read_image
from kzoo.errors import MissingPackageError
from kzoo.export import export_model, graph, open_artifact, read_sidecar
from kzoo.export.pictures import scaled
from tests.export.conftest import SIZE

PRECISIONS = [
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "int8"),
    ("litert", "fp32"),
    ("litert", "fp16"),
    ("litert", "dynamic"),
    ("litert", "int8"),
    ("saved_model", "fp32"),
]
ENDINGS = {"onnx": ".onnx", "litert": ".tflite", "saved_model": ""}


@pytest.mark.parametrize(("format", "precision"), PRECISIONS)
def test_every_format_and_precision_is_the_network(network, photographs, tmp_path, format, precision):
    path = tmp_path / f"net{ENDINGS[format]}"
    done = export_model(network, path, size=SIZE, precision=precision, calibration=photographs, pictures=photographs)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, f"{path.name}.json"])
    sidecar = read_sidecar(path) if path.is_file() else json.loads(done.sidecar.read_text())
    assert (sidecar["format"], sidecar["precision"]) == (format, precision)
    assert sidecar["input"] == {
        "name": "image", "shape": [1, *SIZE, 3], "layout": "NHWC", "type": "float32", "color": "RGB", "range": [0, 255]
    }  # fmt: skip
    assert sidecar["output"]["shape"] == [1, *SIZE, 7] and sidecar["classes"] == list(network.class_names)
    assert sidecar["network"]["name"] == "encnet_mnv2_animals" and sidecar["verification"]["pictures"] == 4
    assert (sidecar["calibration"] is None) == (precision != "int8")
    # The gate says so; here the artefact itself is asked, as a device does it.
    picture = scaled(read_image(photographs / "chelsea.png"), SIZE).astype("float32")[np.newaxis]
    given, expected = open_artifact(path)(picture), np.asarray(network(picture, training=False))
    worst = {"fp32": 1e-5, "fp16": 0.03, "dynamic": 0.1, "int8": 0.15}[precision]
    assert np.abs(given - expected).max() < worst * np.ptp(expected)
    if done.census is not None:
        assert done.census.share(precision) > (0.9 if precision == "dynamic" else 0.95)
        # The photograph's products are counted alike in both formats: 0.75 G at 320x320.
        assert done.census.macs == pytest.approx(754.4e6 * SIZE[0] * SIZE[1] / 320**2, rel=0.01)


def test_class_maps_uint8_and_batches(network, photographs, tmp_path):
    pictures = np.stack([scaled(read_image(file), SIZE) for file in sorted(photographs.iterdir())[:2]])
    expected = np.argmax(network(pictures.astype("float32"), training=False), -1)
    options = {"size": SIZE, "argmax": True, "input_type": "uint8", "pictures": photographs}
    for name, batch, class_type in (("net.onnx", 2, "int32"), ("net.tflite", 2, "uint8"), ("open.onnx", None, "int32")):
        done = export_model(network, tmp_path / name, batch=batch, class_type=class_type, **options)
        given = open_artifact(done.path)(pictures)
        assert given.dtype == class_type and given.shape == expected.shape
        assert (given == expected).mean() > 0.999
        assert done.verification.max_difference is None
    assert json.loads(done.sidecar.read_text())["input"]["shape"] == [-1, *SIZE, 3]
    assert open_artifact(done.path)(pictures[:1]).shape == (1, *SIZE)


def _swapped_channels(model, refinement, image, target, answer=graph.answer):
    return answer(model, refinement, image[..., ::-1], target)


def _corner_aligned(model, refinement, image, target, answer=graph.answer):
    model.to_input_size.align_corners = True
    try:
        return answer(model, refinement, image, target)
    finally:
        model.to_input_size.align_corners = False


def _training_mode(model, refinement, image, target):
    return model(image, training=True)["logits"]


@pytest.mark.parametrize("fault", [_swapped_channels, _corner_aligned, _training_mode])
@pytest.mark.parametrize("name", ["net.onnx", "net.tflite"])
def test_faulty_graphs_are_refused(network, photographs, tmp_path, monkeypatch, fault, name):
    monkeypatch.setattr(graph, "answer", fault)
    before = [np.array(weight) for weight in network.weights]
    with pytest.raises(ValueError, match=r"would not be the network|has operations that"):
        export_model(network, tmp_path / name, size=SIZE, pictures=photographs)
    assert not list(tmp_path.iterdir())
    for weight, value in zip(network.weights, before, strict=True):
        weight.assign(value)


def test_an_older_file_stays_when_an_export_fails(network, photographs, tmp_path, monkeypatch):
    done = export_model(network, tmp_path / "net.onnx", size=SIZE, pictures=photographs)
    content, sidecar = done.path.read_bytes(), done.sidecar.read_text()
    monkeypatch.setattr(graph, "answer", _swapped_channels)
    with pytest.raises(ValueError, match="was not written"):
        export_model(network, done.path, size=SIZE, pictures=photographs)
    assert (done.path.read_bytes(), done.sidecar.read_text()) == (content, sidecar)


def test_bad_requests(network, photographs, tmp_path):
    for options, error, message in [
        ({"path": tmp_path / "net.pb"}, ValueError, "tells no format"),
        ({"path": tmp_path / "net.onnx", "format": "litert"}, ValueError, "not the name of a litert"),
        ({"path": tmp_path / "net.onnx", "precision": "int8"}, ValueError, "calibrated with real pictures"),
        ({"path": tmp_path / "net.onnx", "pictures": tmp_path / "none"}, FileNotFoundError, "no folder of pictures"),
        ({"path": tmp_path / "net.onnx", "pictures": tmp_path}, ValueError, "holds no pictures"),
        ({"path": tmp_path / "net.onnx", "refine": "dense"}, ValueError, "Unknown refinement of an export 'dense'"),
        ({"path": tmp_path / "net.tflite", "check_tensorrt": ["8.2"]}, ValueError, "TensorRT reads ONNX"),
        ({"path": tmp_path}, ValueError, "is there already"),
    ]:
        with pytest.raises(error, match=message):
            export_model(network, **{"size": SIZE, "pictures": photographs, **options})
    assert not list(tmp_path.iterdir())


def test_a_sidecar_is_of_its_file_alone(network, photographs, tmp_path):
    done = export_model(network, tmp_path / "net.onnx", size=SIZE, pictures=photographs)
    with open(done.path, "ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="is not the file that its sidecar describes"):
        read_sidecar(done.path)
    done.sidecar.write_text('{"kzoo_sidecar": 2}')
    with pytest.raises(ValueError, match="no sidecar of version 1"):
        read_sidecar(done.path)
    done.sidecar.unlink()
    with pytest.raises(FileNotFoundError, match="has no sidecar"):
        read_sidecar(done.path)


def test_other_peoples_loggers_are_left_alone(network, photographs, tmp_path):
    loggers = [logging.getLogger(), logging.getLogger("tf2onnx")]
    before = [logger.level for logger in loggers]
    export_model(
        network, tmp_path / "net.onnx", size=SIZE, precision="int8", calibration=photographs, pictures=photographs
    )
    assert [logger.level for logger in loggers] == before


def test_a_missing_package_is_named_with_its_extra(network, photographs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingPackageError, match=r"tf2onnx is not installed: pip install 'kzoo\[onnx\]'"):
        export_model(network, tmp_path / "net.onnx", size=SIZE, pictures=photographs)
    assert not list(tmp_path.iterdir())
