"""SANet stated in PyTorch: the reference that kzoo's layers and network are compared with.

Modules are named like kzoo's, so that `keras_path` can tell which Keras layer a PyTorch module corresponds to.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from tests.parity.torch_encnet import ConvBNReLU
from tests.parity.torch_resnet import ResNet

STAGES = {"c1": 256, "c2": 512, "c3": 1024, "c4": 2048}
GATES = {"sigmoid": torch.sigmoid, "relu": torch.relu}


def pool_squares(x: torch.Tensor, side: int) -> torch.Tensor:
    """Means over squares; where they do not divide the picture it is padded evenly, with pixels that do not count."""
    missing = [-length % side for length in x.shape[2:]]
    (top, left) = (count // 2 for count in missing)
    padding = (left, missing[1] - left, top, missing[0] - top)
    total = F.avg_pool2d(F.pad(x, padding), side) * side**2
    return total / (F.avg_pool2d(F.pad(torch.ones_like(x), padding), side) * side**2)


def double_conv(channels: int, filters: int) -> nn.Sequential:
    first, second = ConvBNReLU(channels, filters, 3), ConvBNReLU(filters, filters, 3)
    return nn.Sequential(OrderedDict(first=first, second=second))


class SqueezeAttention(nn.Module):
    def __init__(
        self, channels: int, filters: int, pool: int = 2, gate: str = "sigmoid", align_corners: bool = True
    ) -> None:
        super().__init__()
        self.residual = double_conv(channels, filters)
        self.reduce = ConvBNReLU(channels, filters // 4, 3)
        self.restore = nn.Conv2d(filters // 4, filters, 3, padding=1)
        self.pool, self.gate, self.align_corners = pool, GATES[gate], align_corners

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.residual(x)
        attention = self.gate(self.restore(self.reduce(pool_squares(x, self.pool))))
        size = x.shape[2:]
        attention = F.interpolate(attention, size=size, mode="bilinear", align_corners=self.align_corners)
        return attention * residual + attention


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.residual = double_conv(channels, filters)
        self.project = ConvBNReLU(channels, filters, 1)
        self.reduce = nn.Linear(channels, filters // 4)
        self.restore = nn.Linear(filters // 4, filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.sigmoid(self.restore(torch.relu(self.reduce(x.mean((2, 3))))))
        return weights[:, :, None, None] * self.project(x) + self.residual(x)


class SANet(nn.Module):
    """On ResNet-50 at output stride 8. Normalised pictures (B, 3, H, W) to `logits`, `masks` and `categories`."""

    def __init__(self, num_classes: int, attention: str = "sa", pool: int = 2, align_corners: bool = True) -> None:
        super().__init__()
        self.backbone = ResNet(50, "s", output_stride=8)
        self.align_corners = align_corners
        for name, channels in STAGES.items():
            head: nn.Module = SqueezeExcitation(channels, channels // 4)
            if attention == "sa":
                head = SqueezeAttention(channels, channels // 4, pool, align_corners=align_corners)
            self.add_module(f"attention_{name}", head)
            self.add_module(f"mask_{name}", nn.Conv2d(channels // 4, num_classes, 1))
        self.categories = nn.Linear(512, num_classes)
        self.dense_head = ConvBNReLU(2048, 512, 3)
        self.dense_classifier = nn.Conv2d(512, num_classes, 1)
        self.guide = nn.Conv2d(num_classes, num_classes, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        features = dict(zip(STAGES, self.backbone(images), strict=True))
        heads = {name: getattr(self, f"attention_{name}")(feature) for name, feature in features.items()}
        size = features["c1"].shape[2:]
        masks = sum(self._resize(getattr(self, f"mask_{name}")(head), size) for name, head in heads.items())
        dense = self._resize(self.dense_classifier(self.dense_head(features["c4"])), size)
        return {
            "logits": self._resize(dense + self.guide(masks), images.shape[2:]),
            "masks": self._resize(masks, images.shape[2:]),
            "categories": self.categories(heads["c4"].mean((2, 3))),
        }

    def _resize(self, x: torch.Tensor, size: torch.Size) -> torch.Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)


def loss(outputs: dict[str, torch.Tensor], masks: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    """`mask + alpha * categorical + beta * dense` for masks (B, H, W) with 255 ignored."""
    presence = torch.stack([(masks == label).flatten(1).any(1) for label in range(outputs["categories"].shape[1])], 1)
    categorical = F.binary_cross_entropy_with_logits(outputs["categories"], presence.to(outputs["categories"].dtype))
    mask = F.cross_entropy(outputs["masks"], masks, ignore_index=255)
    return mask + alpha * categorical + beta * F.cross_entropy(outputs["logits"], masks, ignore_index=255)


def keras_path(name: str) -> str:
    """The path of kzoo's layer for the dotted name of a SANet module."""
    if name.startswith("backbone."):
        return name.removeprefix("backbone.").replace(".", "_")
    return "sa_net/" + name.replace(".", "/")
