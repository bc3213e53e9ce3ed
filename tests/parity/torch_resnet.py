"""ResNets of bottlenecks stated in PyTorch: the reference that kzoo.backbones.resnet is compared with.

Modules are named so that a state-dict key, its dots turned into underscores, is kzoo's layer name.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# Dilation of the 3x3 convolutions of stage 3 and 4: (first block, other blocks), and the stage's stride.
STAGE_GEOMETRY = {
    32: {3: (1, 1, 2), 4: (1, 1, 2)},
    16: {3: (1, 1, 2), 4: (1, 2, 1)},
    8: {3: (1, 2, 1), 4: (2, 4, 1)},
}


class Bottleneck(nn.Module):
    def __init__(self, channels_in: int, width: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.project = project
        if project:
            self.downsample_conv = nn.Conv2d(channels_in, 4 * width, 1, stride=stride, bias=False)
            self.downsample_bn = nn.BatchNorm2d(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self.downsample_bn(self.downsample_conv(x)) if self.project else x
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """Returns [c1, c2, c3, c4]."""

    def __init__(self, depth: int = 50, stem: str = "s", output_stride: int = 8) -> None:
        super().__init__()
        if stem == "b":
            self.stem_conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
            self.stem_bn1 = nn.BatchNorm2d(64)
            self.stem_depth, channels = 1, 64
        else:
            first, channels = {"c": (32, 64), "s": (64, 128)}[stem]
            self.stem_conv1 = nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False)
            self.stem_bn1 = nn.BatchNorm2d(first)
            self.stem_conv2 = nn.Conv2d(first, first, 3, padding=1, bias=False)
            self.stem_bn2 = nn.BatchNorm2d(first)
            self.stem_conv3 = nn.Conv2d(first, channels, 3, padding=1, bias=False)
            self.stem_bn3 = nn.BatchNorm2d(channels)
            self.stem_depth = 3
        geometry = {1: (1, 1, 1), 2: (1, 1, 2), **STAGE_GEOMETRY[output_stride]}
        for stage, blocks in enumerate(DEPTHS[depth], start=1):
            width = 32 * 2**stage
            first_dilation, dilation, stride = geometry[stage]
            layers = [Bottleneck(channels, width, stride, first_dilation, project=True)]
            channels = 4 * width
            layers += [Bottleneck(channels, width, 1, dilation, project=False) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        for index in range(1, self.stem_depth + 1):
            x = F.relu(getattr(self, f"stem_bn{index}")(getattr(self, f"stem_conv{index}")(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features
