"""The sidecar inside a .tflite file: an entry of its `metadata`, which every runtime that does not know it skips."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

METADATA_NAME = "kzoo_sidecar"
_OF_THE_FINISHED_FILE = ("sha256", "bytes")


def embed_sidecar(tflite: bytes, sidecar: dict[str, Any]) -> bytes:
    """The file with `sidecar` inside, all but its `sha256` and `bytes`, which only the finished file has.

    The file is unpacked and packed again, as TensorFlow's own converter does last; it computes the same.

    Args:
        tflite: a .tflite file; a sidecar that is inside already is replaced.
        sidecar: what JSON can hold.

    Raises:
        ValueError: no .tflite file, or a damaged one.
    """
    from tensorflow.lite.python.schema_py_generated import BufferT, MetadataT
    from tensorflow.lite.tools import flatbuffer_utils

    read_sidecar(tflite)  # refuses what is no such file
    text = json.dumps({key: value for key, value in sidecar.items() if key not in _OF_THE_FINISHED_FILE})
    model = flatbuffer_utils.read_model_from_bytearray(tflite)
    model.metadata = model.metadata or []
    entry = next((entry for entry in model.metadata if entry.name == METADATA_NAME.encode()), None)
    if entry is None:
        entry = MetadataT(name=METADATA_NAME, buffer=len(model.buffers))
        model.metadata.append(entry)
        model.buffers.append(BufferT())
    model.buffers[entry.buffer].data = np.frombuffer(text.encode(), np.uint8)
    packed: bytes = flatbuffer_utils.convert_object_to_bytearray(model)
    return packed


def read_sidecar(tflite: bytes) -> dict[str, Any] | None:
    """The sidecar inside a .tflite file, or None.

    Raises:
        ValueError: no .tflite file, or a damaged one.
    """
    from tensorflow.lite.python.schema_py_generated import Model

    if tflite[4:8] != b"TFL3":
        raise ValueError(f"This is no .tflite file: its bytes 4 to 8 are {tflite[4:8]!r}, expected b'TFL3'.")
    try:
        model = Model.GetRootAs(tflite, 0)
        for entry in (model.Metadata(index) for index in range(model.MetadataLength())):
            if entry.Name() == METADATA_NAME.encode():
                sidecar: dict[str, Any] = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
                return sidecar
    except Exception as error:  # what flatbuffers raises depends on where the damage leads it
        raise ValueError(f"The .tflite file is damaged: its metadata cannot be read ({error}).") from error
    return None
