"""DeepLab v2 and v3+ stated in PyTorch, each with the modules, and so the checkpoint keys, of a published code.

Inputs are pictures as the networks take them, (B, 3, H, W). The heads stand alone, too, so that they can be compared on
maps on which every rate reaches other features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from tests.parity.published_encnet import DEPTHS, Bottleneck, conv_bn_relu, stage


def resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)


# DeepLab v2 as in kazuto1011's code ------------------------------------------------------------------------------


class Unit(nn.Sequential):
    def __init__(self, inplanes: int, planes: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        conv = nn.Conv2d(inplanes, planes, kernel, stride, padding, dilation, bias=False)
        super().__init__(OrderedDict(conv=conv, bn=nn.BatchNorm2d(planes)))


class CaffeBottleneck(nn.Module):
    """The stride on the first 1x1; every 3x3 of a stage has the stage's dilation."""

    def __init__(self, inplanes: int, planes: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        self.reduce = Unit(inplanes, planes, 1, stride)
        self.conv3x3 = Unit(planes, planes, 3, dilation=dilation)
        self.increase = Unit(planes, 4 * planes, 1)
        self.proj = Unit(inplanes, 4 * planes, 1, stride) if project else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.increase(F.relu(self.conv3x3(F.relu(self.reduce(x)))))
        return F.relu(out + (x if self.proj is None else self.proj(x)))


class ASPP(nn.Module):
    def __init__(self, inplanes: int, planes: int, rates: Sequence[int] = (6, 12, 18, 24)) -> None:
        super().__init__()
        self.stages = nn.Module()
        for index, rate in enumerate(rates):
            self.stages.add_module(f"c{index}", nn.Conv2d(inplanes, planes, 3, 1, rate, rate))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([branch(x) for branch in self.stages.children()]).sum(0)


class DeepLabV2(nn.Module):
    """At output stride 8. `layer1` is the stem, `layer2` to `layer5` the stages."""

    def __init__(self, num_classes: int, depth: int) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(OrderedDict(conv1=Unit(3, 64, 7, 2)))
        inplanes = 64
        geometry = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))
        for index, (blocks, (planes, stride, dilation)) in enumerate(zip(DEPTHS[depth], geometry, strict=True), 2):
            layers = OrderedDict()
            for block in range(1, blocks + 1):
                first = block == 1
                layers[f"block{block}"] = CaffeBottleneck(inplanes, planes, stride if first else 1, dilation, first)
                inplanes = 4 * planes
            self.add_module(f"layer{index}", nn.Sequential(layers))
        self.aspp = ASPP(2048, num_classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.layer1(pictures)), 3, 2, 1, ceil_mode=True)
        for layer in (self.layer2, self.layer3, self.layer4, self.layer5):
            x = layer(x)
        return resized(self.aspp(x), pictures)


# DeepLab v3+ as in ZS3Net's code -----------------------------------------------------------------------------------


class Branch(nn.Module):
    def __init__(self, inplanes: int, planes: int, kernel: int, rate: int) -> None:
        super().__init__()
        self.atrous_conv = nn.Conv2d(inplanes, planes, kernel, 1, rate * (kernel // 2), rate, bias=False)
        self.bn = nn.BatchNorm2d(planes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.atrous_conv(x)))


class PooledASPP(nn.Module):
    def __init__(self, inplanes: int, planes: int, rates: Sequence[int] = (6, 12, 18)) -> None:
        super().__init__()
        self.aspp1 = Branch(inplanes, planes, 1, 1)
        self.aspp2, self.aspp3, self.aspp4 = (Branch(inplanes, planes, 3, rate) for rate in rates)
        self.global_avg_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), *conv_bn_relu(inplanes, planes, 1))
        self.conv1 = nn.Conv2d(5 * planes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        branches = (self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x), mean)
        return F.relu(self.bn1(self.conv1(torch.cat(branches, 1))))


class Decoder(nn.Module):
    def __init__(self, low_level: int, planes: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(low_level, 48, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(48)
        self.last_conv = nn.Sequential(
            *conv_bn_relu(planes + 48, planes, 3), nn.Dropout(0.5), *conv_bn_relu(planes, planes, 3), nn.Dropout(0.1)
        )
        self.pred_conv = nn.Conv2d(planes, num_classes, 1)

    def features(self, x: torch.Tensor, low_level: torch.Tensor) -> torch.Tensor:
        fine = F.relu(self.bn1(self.conv1(low_level)))
        return self.last_conv(torch.cat([resized(x, fine), fine], 1))


class ResNet(nn.Module):
    """torchvision's at output stride 16, with multi-grid (1, 2, 4): dilations 2, 4, 8."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        one, two, three, _ = DEPTHS[depth]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(64, 64, one, 1, 1, 1)
        self.layer2 = stage(256, 128, two, 2, 1, 1)
        self.layer3 = stage(512, 256, three, 2, 1, 1)
        self.layer4 = nn.Sequential(*(Bottleneck(n, 512, 1, rate) for n, rate in ((1024, 2), (2048, 4), (2048, 8))))


class DeepLabV3Plus(nn.Module):
    def __init__(self, num_classes: int, depth: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth)
        self.aspp = PooledASPP(2048, 256)
        self.decoder = Decoder(256, 256, num_classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        net = self.backbone
        c1 = net.layer1(F.max_pool2d(F.relu(net.bn1(net.conv1(pictures))), 3, 2, 1))
        c4 = net.layer4(net.layer3(net.layer2(c1)))
        return resized(self.decoder.pred_conv(self.decoder.features(self.aspp(c4), c1)), pictures)
