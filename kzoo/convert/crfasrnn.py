"""Checkpoints of CRF-RNN: `crfrnn_keras_model.h5` of crfasrnn_keras and `crfasrnn_weights.pth` of crfasrnn_pytorch.

Both hold the same network. They differ in names, in the order of axes, and in the sign of the label compatibility:
crfasrnn_keras subtracts the message from the scores, as the Caffe original does, crfasrnn_pytorch adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kzoo.convert.key_map import KeyMap

_MATRICES = {
    "spatial_ker_weights": "spatial_weights",
    "bilateral_ker_weights": "bilateral_weights",
    "compatibility_matrix": "compatibility",
}
_KERAS_NAMES = {"kernel": "weight", "bias": "bias", **_MATRICES}


def _prepared(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors as PyTorch would name and order them, with the sign of crfasrnn_keras, which is kzoo's."""
    prepared = {}
    for key, tensor in tensors.items():
        if key.endswith(":0"):  # crfasrnn_keras: `<layer>/<scope>/<name>:0`, where the scope may be numbered
            name = key.rpartition("/")[2].removesuffix(":0")
            # Kernels of convolutions, transposed ones too, lie the other way round in PyTorch.
            value = tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor
            prepared[f"{key.partition('/')[0]}.{_KERAS_NAMES.get(name, name)}"] = value
        else:
            module, _, name = key.rpartition(".")
            prepared[f"{module}.{_MATRICES.get(name, name)}"] = (
                -1 * tensor if name == "compatibility_matrix" else tensor
            )
    return prepared


CRFRNN = KeyMap(
    "crfasrnn_keras or crfasrnn_pytorch",
    (
        ("conv*_*", "conv{}_{}"),
        ("fc*", "fc{}"),
        ("score-fr", "score_fr"),
        ("score_fr", "score_fr"),
        ("score2", "score2"),
        ("upscore2", "score2"),
        ("score-pool*", "score_pool{}"),
        ("score_pool*", "score_pool{}"),
        ("score4", "score4"),
        ("upscore_pool4", "score4"),
        ("upsample", "upsample"),
        ("upscore8", "upsample"),
        ("crfrnn", "refinement"),
    ),
    prepare=_prepared,
)
