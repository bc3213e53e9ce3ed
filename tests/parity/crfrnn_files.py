"""A network in PyTorch as a file of each of the two layouts that CRF-RNN is published in."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch

from tests.parity.torch_fcn8s import CRFRNN

# What the module of crfasrnn_pytorch is called in crfasrnn_keras, where it differs.
KERAS_NAMES = {
    "score_fr": "score-fr",
    "score_pool3": "score-pool3",
    "score_pool4": "score-pool4",
    "upscore2": "score2",
    "upscore_pool4": "score4",
    "upscore8": "upsample",
}
WITHOUT_WEIGHTS = ("input_1", "zero_padding2d_1", "pool1", "dropout_1", "cropping2d_1", "add_1")


def save_pth(network: CRFRNN, path: Path) -> None:
    torch.save(network.state_dict(), path)


def save_h5(network: CRFRNN, path: Path) -> None:
    """As `model.save_weights` of Keras 2 writes it: a group a layer, and in it the scope of the weight's name."""
    layers: dict[str, dict[str, np.ndarray]] = {name: {} for name in WITHOUT_WEIGHTS}
    for key, tensor in network.state_dict().items():
        module, name = key.split(".")
        array = tensor.numpy()
        if name == "compatibility_matrix":
            array = -array  # this code subtracts the message, the other adds it
        elif name == "weight":
            # Keras: (height, width, in, out), and of transposed convolutions (height, width, out, in);
            # PyTorch: (out, in, height, width), and of transposed convolutions (in, out, height, width).
            name, array = "kernel", np.einsum("abhw->hwba", array)
        layers.setdefault(KERAS_NAMES.get(module, module), {})[f"{name}:0"] = array
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0.8"
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}".encode() for name in weights]
            for name, array in weights.items():
                group.create_dataset(f"{layer}/{name}", data=array)


SAVE = {"crfasrnn_keras": save_h5, "crfasrnn_pytorch": save_pth}
FILES = {"crfasrnn_keras": "crfrnn_keras_model.h5", "crfasrnn_pytorch": "crfasrnn_weights.pth"}
