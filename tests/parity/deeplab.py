"""What the parity tests of DeepLab v2 and v3+ share: random networks, pictures, files, and a bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch

from kzoo.convert import KeyMap, read_checkpoint, set_weights
from kzoo.models import Segmenter
from tests.parity import weights

NUM_CLASSES = 21


def random_network(network: torch.nn.Module) -> torch.nn.Module:
    """In inference mode. Residual branches weigh less than their shortcuts, as in trained networks: else rounding
    grows from block to block."""
    weights.randomise(network)
    for name, layer in network.named_modules():
        if name.endswith((".increase.bn", ".bn3")):
            layer.weight.data *= 0.4
    return network.eval()


def pictures(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).uniform(0, 255, (1, height, width, 3))


def to_torch(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.asarray(array).transpose(0, 3, 1, 2)))


def difference(actual: Any, expected: torch.Tensor) -> float:
    """The largest, in parts of the range."""
    array = expected.detach().numpy().transpose(0, 2, 3, 1)
    assert tuple(actual.shape) == array.shape
    return float(np.abs(np.asarray(actual) - array).max() / np.ptp(array))


def load(model: Segmenter, content: dict[str, Any], key_map: KeyMap, path: Path) -> None:
    """Saves a checkpoint and reads it into the network."""
    torch.save(content, path)
    set_weights(model, read_checkpoint(path), key_map, str(path))


def head_in_float64(head: keras.Layer, features: dict[str, np.ndarray]) -> keras.Model:
    """The head as a model, whose weights are called as a network's."""
    inputs = {name: keras.Input(array.shape[1:], dtype="float64", name=name) for name, array in features.items()}
    return keras.Model(inputs, head(inputs))


def parameters(network: torch.nn.Module) -> tuple[int, int]:
    """How many are learned, and how many BatchNorm counts."""
    counted = [buffer for name, buffer in network.named_buffers() if "num_batches" not in name]
    return sum(p.numel() for p in network.parameters()), sum(buffer.numel() for buffer in counted)


def of_model(model: Segmenter) -> tuple[int, int]:
    """The same of kzoo's network; random generators' seeds do not count."""
    fixed = [weight for weight in model.non_trainable_weights if "seed_generator" not in weight.path]
    return tuple(sum(int(np.prod(w.shape)) for w in group) for group in (model.trainable_weights, fixed))
