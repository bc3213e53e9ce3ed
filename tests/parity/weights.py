"""Random states for parity tests, and their transfer from PyTorch modules to Keras layers."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import torch
from torch import nn

BN_WEIGHTS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Fills a module with random weights whose activations stay of order one, and BN statistics far from (0, 1)."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.data.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * (1.5 / fan_in) ** 0.5)
            if layer.bias is not None:
                uniform(layer.bias, -0.5, 0.5)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            uniform(layer.weight, 0.5, 1.2)
            uniform(layer.bias, -0.3, 0.3)
            uniform(layer.running_mean, -0.3, 0.3)
            uniform(layer.running_var, 0.6, 1.8)
    return module


def to_keras_array(name: str, array: np.ndarray) -> np.ndarray:
    """One torch tensor in Keras' axis order: OIHW -> HWIO, (out, in) -> (in, out)."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim == 2 and name == "kernel":
        return array.T
    return array


def pairs(
    module: nn.Module, model: keras.Model, rename: Callable[[str], str]
) -> list[tuple[torch.Tensor, keras.Variable, str]]:
    """Each torch tensor with its Keras variable and the variable's name.

    `rename` takes the torch module's dotted name to the Keras layer's path, e.g. "layer1.0.bn1" to "layer1_0_bn1".
    Raises AssertionError unless both sides have exactly the same tensors.
    """
    variables = {variable.path: variable for variable in model.weights if "seed_generator" not in variable.path}
    found = []
    for layer_name, layer in module.named_modules():
        tensors = {**dict(layer.named_parameters(recurse=False)), **dict(layer.named_buffers(recurse=False))}
        for tensor_name, tensor in tensors.items():
            if tensor_name == "num_batches_tracked":
                continue
            names = BN_WEIGHTS if hasattr(layer, "running_mean") else {"weight": "kernel", "bias": "bias"}
            name = names.get(tensor_name, tensor_name)
            path = f"{rename(layer_name)}/{name}"
            assert path in variables, f"no {path} for {layer_name}.{tensor_name} among {sorted(variables)}"
            found.append((tensor, variables.pop(path), name))
    assert not variables, f"in kzoo, not in the reference: {sorted(variables)}"
    return found


def copy(
    module: nn.Module, model: keras.Model, rename: Callable[[str], str]
) -> list[tuple[torch.Tensor, keras.Variable, str]]:
    """Copies every tensor of `module` into `model`, which must have the same ones; returns `pairs`."""
    found = pairs(module, model, rename)
    for tensor, variable, name in found:
        variable.assign(to_keras_array(name, tensor.detach().numpy()))
    return found
