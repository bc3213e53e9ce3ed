"""Networks whose answers are known: each pixel's class is the colour of the palette that it is nearest to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("background", "fur", "wall")
PALETTE = ((20, 20, 20), (150, 100, 60), (190, 170, 150))
TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}


def write_network(
    folder: Path,
    size: tuple[int, int],
    *,
    batch: int = 1,
    layout: str = "NHWC",
    input_type: str = "float32",
    kind: str = "logits",
    precision: str = "fp32",
    name: str = "network.onnx",
) -> Path:
    """Writes the network and its sidecar.

    A pixel's squared distance to colour c is |x|² - 2 c·x + |c|²; the logit is the part that depends on c, negated:
    one 1×1 convolution.

    Args:
        folder: where to.
        size: height and width.
        batch: -1 leaves it open.
        layout, input_type, kind: as in the sidecar.
        precision: what the sidecar says; the file is fp32 in any case.
        name: the file's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    channels_last = layout == "NHWC"
    colors = np.array(PALETTE, np.float32)
    weights = {"kernel": 2 * colors[:, :, None, None], "bias": -(colors**2).sum(1)}
    nodes, last = [], "image"

    def add(operator: str, *more: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(helper.make_node(operator, [last, *more], [f"t{len(nodes)}"], **attributes))
        last = f"t{len(nodes) - 1}"

    if input_type == "uint8":
        add("Cast", to=TensorProto.FLOAT)
    if channels_last:
        add("Transpose", perm=[0, 3, 1, 2])
    add("Conv", "kernel", "bias")
    output_layout, output_type, output_shape = "NCHW", "float32", [batch, len(CLASSES), *size]
    if kind == "classes":
        add("ArgMax", axis=1, keepdims=0)
        add("Cast", to=TensorProto.INT32)
        output_layout, output_type, output_shape = "NHW", "int32", [batch, *size]
    elif channels_last:
        add("Transpose", perm=[0, 2, 3, 1])
        output_layout, output_shape = "NHWC", [batch, *size, len(CLASSES)]
    nodes[-1].output[0] = kind
    input_shape = [batch, *size, 3] if channels_last else [batch, 3, *size]

    def tensor(name: str, element: str, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, TYPES[element], ["batch" if side == -1 else side for side in shape])

    graph = helper.make_graph(
        nodes,
        "colours",
        [tensor("image", input_type, input_shape)],
        [tensor(kind, output_type, output_shape)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path = folder / name
    onnx.save(model, path)
    sidecar = {
        "kzoo_sidecar": 1,
        "file": name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": "onnx",
        "precision": precision,
        "input": {
            "name": "image",
            "shape": input_shape,
            "layout": layout,
            "type": input_type,
            "color": "RGB",
            "range": [0, 255],
        },
        "output": {"name": kind, "shape": output_shape, "layout": output_layout, "type": output_type, "kind": kind},
        "classes": CLASSES,
        "palette": PALETTE,
        "ignore_label": 255,
    }
    sidecar_path(path).write_text(json.dumps(sidecar))
    return path


def sidecar_path(path: Path) -> Path:
    """Where a network's sidecar is."""
    return path.with_name(path.name + ".json")


def change_sidecar(path: Path, **fields: Any) -> None:
    """Overwrites fields of a network's sidecar; a dict changes the fields inside, None removes one."""
    sidecar = json.loads(sidecar_path(path).read_text())
    for name, value in fields.items():
        if value is None:
            del sidecar[name]
        elif isinstance(value, dict):
            sidecar[name].update(value)
        else:
            sidecar[name] = value
    sidecar_path(path).write_text(json.dumps(sidecar))
