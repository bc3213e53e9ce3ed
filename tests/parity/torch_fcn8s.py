"""FCN-8s on VGG-16 in PyTorch, with the modules, and so the checkpoint keys, of crfasrnn_pytorch, at any width.

An independent statement: it shares no names, offsets or paddings with `kzoo`. Inputs are (B, 3, H, W), blue, green, red
minus their means; the result is the scores at the picture's size, before the CRF.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

VGG16 = {1: (2, 64), 2: (2, 128), 3: (3, 256), 4: (3, 512), 5: (3, 512)}
MEAN_BGR = (103.939, 116.779, 123.68)


class FCN8s(nn.Module):
    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        channels = 3
        for block, (count, full) in VGG16.items():
            for index in range(1, count + 1):
                # Caffe pads the first convolution by the whole margin.
                padding = 100 if (block, index) == (1, 1) else 1
                layer = nn.Conv2d(channels, round(full * width), 3, padding=padding)
                self.add_module(f"conv{block}_{index}", layer)
                channels = round(full * width)
        fc = round(4096 * width)
        self.fc6, self.fc7 = nn.Conv2d(channels, fc, 7), nn.Conv2d(fc, fc, 1)
        self.score_fr = nn.Conv2d(fc, classes, 1)
        self.score_pool3 = nn.Conv2d(round(256 * width), classes, 1)
        self.score_pool4 = nn.Conv2d(round(512 * width), classes, 1)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, stride=2)
        self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False)
        self.upscore8 = nn.ConvTranspose2d(classes, classes, 16, stride=8, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled, x = {}, images
        for block, (count, _) in VGG16.items():
            for index in range(1, count + 1):
                x = F.relu(self.get_submodule(f"conv{block}_{index}")(x))
            pooled[block] = x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = F.relu(self.fc7(F.relu(self.fc6(x))))
        x = self.upscore2(self.score_fr(x))
        x = self.upscore_pool4(x + cropped(self.score_pool4(pooled[4]), 5, x))
        x = self.upscore8(x + cropped(self.score_pool3(pooled[3]), 9, x))
        return cropped(x, 31, images)


class CRFRNN(FCN8s):
    """With the CRF's matrices beside it, which `forward` has no use for."""

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__(classes, width)
        self.crfrnn = nn.Module()
        for name in ("spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix"):
            self.crfrnn.register_parameter(name, nn.Parameter(torch.empty(classes, classes)))


def cropped(x: torch.Tensor, offset: int, like: torch.Tensor) -> torch.Tensor:
    height, width = like.shape[2:]
    return x[:, :, offset : offset + height, offset : offset + width]


def randomised(network: CRFRNN, seed: int = 0) -> CRFRNN:
    """Fills the network with random weights that keep activations alive; no two of a layer's axes can be swapped."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.named_parameters():
        values = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim == 4:
            up = name.startswith("upscore")
            reach = tensor[:, 0].numel() / network.get_submodule(name.split(".")[0]).stride[0] ** 2 if up else 0
            scale = (2.0 / (reach or tensor[0].numel())) ** 0.5
        elif "crfrnn" in name:
            scale = 0.3
        else:
            scale = 0.1
        tensor.data.copy_(values * scale)
    # Pixels of 0..255 come in; activations of order one are wanted.
    network.conv1_1.weight.data.mul_(1 / 60)
    for name, start in (("spatial_ker_weights", 1.0), ("bilateral_ker_weights", 1.0), ("compatibility_matrix", 1.0)):
        getattr(network.crfrnn, name).data.add_(start * torch.eye(network.score_fr.out_channels))
    return network
