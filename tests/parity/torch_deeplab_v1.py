"""DeepLab v1 on VGG-16 stated in PyTorch from the released prototxts; modules have the names of Caffe's layers."""

from __future__ import annotations

import re

import torch
from torch import nn
from torch.nn import functional as F

BLOCKS = {1: (64, 2), 2: (128, 2), 3: (256, 3), 4: (512, 3), 5: (512, 3)}
# The scale branches: what they start from, its channels, and the stride that takes them to the last feature's size.
BRANCHES = {"data": (3, 8), "pool1": (64, 4), "pool2": (128, 2), "pool3": (256, 1), "pool4": (512, 1)}
OURS = {"data": "image", "pool1": "c0", "pool2": "c1", "pool3": "c2", "pool4": "c3"}


class DeepLab(nn.Module):
    """Takes BGR pictures without their mean. `forward` is the test network's, `training_logits` the training one's."""

    def __init__(self, num_classes: int = 21, multi_scale: bool = False) -> None:
        super().__init__()
        channels = 3
        for block, (filters, depth) in BLOCKS.items():
            for index in range(1, depth + 1):
                dilation = 2 if block == 5 else 1
                conv = nn.Conv2d(channels, filters, 3, padding=dilation, dilation=dilation)
                setattr(self, f"conv{block}_{index}", conv)
                channels = filters
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=12, dilation=12)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.fc8_voc12 = nn.Conv2d(1024, num_classes, 1)
        self.branches = BRANCHES if multi_scale else {}
        for name, (channels, _) in self.branches.items():
            setattr(self, f"{name}_conv", nn.Conv2d(channels, 128, 3))
            setattr(self, f"{name}_fc", nn.Conv2d(128, 128, 1))
            setattr(self, f"{name}_ms", nn.Conv2d(128, num_classes, 1))

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        found = {"data": x}
        for block, (_, depth) in BLOCKS.items():
            for index in range(1, depth + 1):
                x = F.relu(getattr(self, f"conv{block}_{index}")(x))
            x = F.max_pool2d(x, 3, stride=2 if block < 4 else 1, padding=1, ceil_mode=True)
            found[f"pool{block}"] = x
        x = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=True)
        found["fc8"] = self.fc8_voc12(F.relu(self.fc7(F.relu(self.fc6(x)))))
        return found

    def scores(self, features: dict[str, torch.Tensor], strided: bool) -> list[torch.Tensor]:
        scores = [features["fc8"]]
        for name, (_, stride) in self.branches.items():
            conv = getattr(self, f"{name}_conv")
            x = F.conv2d(features[name], conv.weight, conv.bias, stride=stride if strided else 1, padding=1)
            scores.append(getattr(self, f"{name}_ms")(F.relu(getattr(self, f"{name}_fc")(F.relu(x)))))
        return scores

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _sum(self.scores(self.features(x), strided=False), x)

    def training_logits(self, x: torch.Tensor) -> torch.Tensor:
        features = self.features(x)
        return _sum(self.scores(features, strided=True), features["fc8"])


def _sum(scores: list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    size = target.shape[-2:]
    return sum(F.interpolate(score, size, mode="bilinear", align_corners=True) for score in scores)


def keras_path(name: str, model: str) -> str:
    """The path of kzoo's layer for one of Caffe's."""
    if found := re.fullmatch(r"conv(\d)_(\d)", name):
        return f"block{found[1]}_conv{found[2]}"
    heads = {"fc6": "large_fov/fc6", "fc7": "large_fov/fc7", "fc8_voc12": "classifier"}
    source, _, kind = name.rpartition("_")
    return f"{model}/{heads.get(name) or f'msc_{OURS[source]}/' + {'ms': 'score'}.get(kind, kind)}"
