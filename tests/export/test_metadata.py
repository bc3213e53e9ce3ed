"""The sidecar inside a .tflite file, checked with the schema's own reader and LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skimage.data
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.tools import flatbuffer_utils

from kzoo.export.metadata import embed_sidecar, read_sidecar
from tests.deploy.litert.tiny_networks import HEIGHT, WIDTH, convert

SIDECAR = {"kzoo_sidecar": 1, "classes": ["Straße", "Fußgänger"], "palette": [[0, 0, 0], [1, 2, 3]]}
PICTURE = skimage.data.chelsea()[100 : 100 + HEIGHT, 150 : 150 + WIDTH]


@pytest.fixture(scope="module", params=["float32", "uint8"])
def tflite(request: pytest.FixtureRequest) -> bytes:
    return convert(request.param, PICTURE)


def outputs(tflite: bytes) -> np.ndarray:
    interpreter = Interpreter(model_content=tflite)  # checks the flatbuffer first
    interpreter.allocate_tensors()
    tensor = interpreter.get_input_details()[0]
    interpreter.set_tensor(tensor["index"], PICTURE[np.newaxis].astype(tensor["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def unpacked(value: Any) -> Any:
    """The schema's objects as plain values that compare."""
    if isinstance(value, list):
        return [unpacked(element) for element in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return {key: unpacked(field) for key, field in vars(value).items()} if hasattr(value, "__dict__") else value


def test_the_sidecar_comes_back_without_what_only_the_finished_file_has(tflite: bytes) -> None:
    assert read_sidecar(tflite) is None
    embedded = embed_sidecar(tflite, {**SIDECAR, "sha256": "0" * 64, "bytes": 5})
    assert read_sidecar(embedded) == SIDECAR


def test_outputs_are_the_same_bits(tflite: bytes) -> None:
    expected = outputs(tflite)
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(outputs(embed_sidecar(tflite, SIDECAR)), expected)


def test_the_schema_finds_the_old_file_and_one_entry_more(tflite: bytes) -> None:
    before = unpacked(schema.ModelT.InitFromPackedBuf(tflite))
    after = unpacked(schema.ModelT.InitFromPackedBuf(embed_sidecar(tflite, SIDECAR)))
    entry, buffer = after["metadata"].pop(), after["buffers"].pop()
    assert after == before
    assert before["metadata"] and before["signatureDefs"] is not None  # the comparison saw them
    assert entry == {"name": b"kzoo_sidecar", "buffer": len(before["buffers"])}
    assert '"Stra' in bytes(buffer["data"]).decode()


def test_a_sidecar_that_is_there_is_replaced(tflite: bytes) -> None:
    once = embed_sidecar(tflite, {"kzoo_sidecar": 1, "classes": ["old"] * 50})
    assert embed_sidecar(once, SIDECAR) == embed_sidecar(tflite, SIDECAR)


def test_a_file_without_metadata(tflite: bytes) -> None:
    """What other converters write."""
    model = flatbuffer_utils.read_model_from_bytearray(tflite)
    model.metadata = None
    embedded = embed_sidecar(flatbuffer_utils.convert_object_to_bytearray(model), SIDECAR)
    assert read_sidecar(embedded) == SIDECAR
    np.testing.assert_array_equal(outputs(embedded), outputs(tflite))


def test_other_files_are_refused(tflite: bytes) -> None:
    with pytest.raises(ValueError, match=r"no \.tflite file"):
        embed_sidecar(b"PK\x03\x04" + bytes(100), SIDECAR)
    with pytest.raises(ValueError, match="damaged"):
        read_sidecar(embed_sidecar(tflite, SIDECAR)[:120])
    with pytest.raises(ValueError, match="damaged"):
        embed_sidecar(tflite[:60], SIDECAR)
