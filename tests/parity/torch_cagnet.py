"""CaGNet as its authors' code has it, stated in PyTorch in evaluation mode and at one scale of the picture.

The modules, and so the keys, are as far as they are known; below `contextual*`, `gen.mlp` and `dis` they are one
possibility of several, see `kzoo.convert.cagnet`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from tests.parity.torch_deeplab import DeepLabV2


def context(inplanes: int, planes: int, dilation: int = 1, kernel: int = 3, relu: bool = True) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inplanes, planes, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, *([nn.ReLU()] if relu else []))


class Scale(DeepLabV2):
    def __init__(self, features: int, filters: int, depth: int) -> None:
        super().__init__(features, depth)
        self.contextual1 = context(features, filters)
        self.contextual2 = context(filters, filters, 2)
        self.contextual3 = context(filters, filters, 5)
        self.fc_1 = context(3 * filters, 3)
        self.contextualpool = context(3 * filters, features, kernel=1)
        self.contextuallocalmu = context(features, features, relu=False)
        self.contextuallocalsigma = context(features, features)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The features, the latent code (its mean), and its log-variance."""
        x = F.max_pool2d(F.relu(self.layer1(pictures)), 3, 2, 1, ceil_mode=True)
        for layer in (self.layer2, self.layer3, self.layer4, self.layer5):
            x = layer(x)
        h = self.aspp(x)
        one = self.contextual1(torch.sigmoid(h))
        two = self.contextual2(one)
        three = self.contextual3(two)
        scales = torch.sigmoid(self.fc_1(torch.cat([one, two, three], 1)))
        weighted = [x * scales[:, i : i + 1] for i, x in enumerate((one, two, three))]
        pooled = self.contextualpool(torch.cat(weighted, 1))
        z = self.contextuallocalmu(pooled)
        return torch.sigmoid(h + h * torch.sigmoid(z)), z, self.contextuallocalsigma(pooled)


class Perceptron(nn.Module):
    def __init__(self, sizes: Sequence[int], rates: Sequence[float]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, rate in zip(sizes, sizes[1:-1], rates, strict=False):
            layers += [nn.Conv2d(before, after, 1), nn.LeakyReLU(0.2), nn.Dropout(rate)]
        self.mlp = nn.Sequential(*layers, nn.Conv2d(sizes[-2], sizes[-1], 1), nn.Sigmoid())

    def forward(self, words: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return self.mlp(torch.cat([words, codes], 1))


class Judge(nn.Module):
    def __init__(self, features: int, filters: int, num_classes: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(features, filters, 1), nn.ReLU(), nn.Dropout(0.5))
        self.pred = nn.Sequential(nn.Conv2d(filters, 1, 1), nn.Sigmoid())
        self.cls = nn.Conv2d(filters, num_classes, 1)


class CaGNet(nn.Module):
    def __init__(
        self, num_classes: int, features: int, filters: int, hidden: Sequence[int], shared: int, depth: int
    ) -> None:
        super().__init__()
        self.back = nn.Module()
        self.back.scale = Scale(features, filters, depth)
        self.gen = Perceptron((2 * features, *hidden, features), (0.1, 0.1, 0.3, 0.5, 0.5))
        self.dis = Judge(features, shared, num_classes)
        self.Em_fasttext = nn.Parameter(torch.randn(num_classes, features // 2))
        self.Em_word2vec = nn.Parameter(torch.randn(num_classes, features // 2))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features, _, _ = self.back.scale(pictures)
        logits = self.dis.cls(self.dis.model(features))
        return F.interpolate(logits, pictures.shape[-2:], mode="bilinear", align_corners=False)

    def generated(self, classes: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Features (B, D, h, w) of classes (B, h, w) and codes (B, D, h, w)."""
        words = torch.cat([self.Em_fasttext, self.Em_word2vec], 1)[classes].permute(0, 3, 1, 2)
        return self.gen(words, codes)
