"""What can be asked for, and what cannot."""

import pytest

from kzoo.export import Target
from kzoo.export.target import format_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "Unknown export format 'tflite'"),
        ({"precision": "int4"}, "Unknown precision 'int4'"),
        ({"format": "onnx", "precision": "dynamic"}, "it has fp32, fp16, int8"),
        ({"format": "saved_model", "precision": "int8"}, "it has fp32"),
        ({"size": (0, 32)}, "two positive integers"),
        ({"size": (32,)}, "two positive integers"),
        ({"size": (32, 32.0)}, "two positive integers"),
        ({"batch": 0}, "batch is a positive integer"),
        ({"batch": True}, "batch is a positive integer"),
        ({"format": "litert", "batch": None}, "Only an ONNX can leave its batch open"),
        ({"input_type": "float16"}, "Unknown input type 'float16'"),
        ({"class_type": "int64"}, "Unknown type of the class map 'int64'"),
        ({"opset": 12}, "from 13"),
        ({"opset": 19}, "to 18"),
    ],
)
def test_what_does_not_exist_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Target(**{"format": "onnx", "size": (32, 48), **options})


def test_formats_are_told_by_endings():
    assert [format_of(path) for path in ("a/b.onnx", "B.TFLITE", "runs/saved")] == ["onnx", "litert", "saved_model"]
    with pytest.raises(ValueError, match=r"'net\.pb'"):
        format_of("net.pb")
