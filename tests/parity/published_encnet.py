"""EncNet in PyTorch with the modules, and so the checkpoint keys, of the two codes that published weights for it.

An independent statement: it shares no table of names with `kzoo.convert`. Inputs are normalised pictures (B, 3, H, W);
the result is a dict of `logits`, `se_logits` and `aux`, in training and in inference alike.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional as F

from tests.parity.torch_encnet import encode_by_products

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Bottleneck(nn.Module):
    def __init__(self, inplanes: int, planes: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = None
        if stride > 1 or inplanes != 4 * planes:
            shortcut = nn.Conv2d(inplanes, 4 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * planes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(out)) + (x if self.downsample is None else self.downsample(x)))


def stage(inplanes: int, planes: int, blocks: int, stride: int, first_dilation: int, dilation: int) -> nn.Sequential:
    rest = [Bottleneck(4 * planes, planes, 1, dilation) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(inplanes, planes, stride, first_dilation), *rest)


def deep_stem(first: int, out: int) -> list[nn.Module]:
    """Three 3x3 convolutions, without the BatchNorm and ReLU behind the last."""
    return [
        nn.Conv2d(3, first, 3, 2, 1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        nn.Conv2d(first, first, 3, 1, 1, bias=False),
        nn.BatchNorm2d(first),
        nn.ReLU(),
        nn.Conv2d(first, out, 3, 1, 1, bias=False),
    ]


class _ResNet(nn.Module):
    """Stages 1 to 4 at output stride 8; subclasses have the stem."""

    def __init__(self, depth: int, inplanes: int) -> None:
        super().__init__()
        one, two, three, four = DEPTHS[depth]
        self.layer1 = stage(inplanes, 64, one, 1, 1, 1)
        self.layer2 = stage(256, 128, two, 2, 1, 1)
        # Strides become dilations; the first block of a stage keeps the dilation of the stage before.
        self.layer3 = stage(512, 256, three, 1, 1, 2)
        self.layer4 = stage(1024, 512, four, 1, 2, 4)

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = F.max_pool2d(x, 3, 2, 1)
        features = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


class ResNetS(_ResNet):
    """PyTorch-Encoding's "s": stem 64-64-128."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth, 128)
        self.conv1 = nn.Sequential(*deep_stem(64, 128))
        self.bn1 = nn.BatchNorm2d(128)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.stages(F.relu(self.bn1(self.conv1(x))))


class ResNetV1c(_ResNet):
    """MMSegmentation's "v1c": stem 32-32-64."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth, 64)
        self.stem = nn.Sequential(*deep_stem(32, 64), nn.BatchNorm2d(64), nn.ReLU())

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.stages(self.stem(x))


class TorchvisionResNet(_ResNet):
    """torchvision's: one 7x7 convolution."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth, 64)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.stages(F.relu(self.bn1(self.conv1(x))))


class Encoding(nn.Module):
    def __init__(self, channels: int, codewords: int) -> None:
        super().__init__()
        limit = (codewords * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codewords, channels).uniform_(-limit, limit))
        self.scale = nn.Parameter(torch.empty(codewords).uniform_(-1, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return encode_by_products(x.flatten(2).transpose(1, 2), self.codewords, self.scale)


def conv_bn_relu(inplanes: int, planes: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inplanes, planes, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(planes), nn.ReLU()]


def gated(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return F.relu(x + x * gate[:, :, None, None])


class EncModule(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        encoding = [*conv_bn_relu(512, 512, 1), Encoding(512, 32), nn.BatchNorm1d(32), nn.ReLU()]
        self.encoding = nn.Sequential(*encoding)
        self.fc = nn.Sequential(nn.Linear(512, 512), nn.Sigmoid())
        self.selayer = nn.Linear(512, num_classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        context = self.encoding(x).mean(1)
        return gated(x, self.fc(context)), self.selayer(context)


class EncHead(nn.Module):
    def __init__(self, num_classes: int, lateral: bool) -> None:
        super().__init__()
        self.conv5 = nn.Sequential(*conv_bn_relu(2048, 512, 3))
        self.lateral = lateral
        if lateral:
            self.connect = nn.ModuleList(nn.Sequential(*conv_bn_relu(planes, 512, 1)) for planes in (512, 1024))
            self.fusion = nn.Sequential(*conv_bn_relu(3 * 512, 512, 3))
        self.encmodule = EncModule(num_classes)
        self.conv6 = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(512, num_classes, 1))

    def forward(self, c2: torch.Tensor, c3: torch.Tensor, c4: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.conv5(c4)
        if self.lateral:
            x = self.fusion(torch.cat([x, self.connect[0](c2), self.connect[1](c3)], 1))
        x, presence = self.encmodule(x)
        return self.conv6(x), presence


class FCNHead(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv5 = nn.Sequential(*conv_bn_relu(1024, 256, 3), nn.Dropout(0.1), nn.Conv2d(256, num_classes, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv5(x)


class PyTorchEncodingEncNet(nn.Module):
    """Corner-aligned, on ResNet-50s or 101s."""

    def __init__(self, num_classes: int, depth: int, lateral: bool) -> None:
        super().__init__()
        self.pretrained = ResNetS(depth)
        self.head = EncHead(num_classes, lateral)
        self.auxlayer = FCNHead(num_classes)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        _, c2, c3, c4 = self.pretrained(images)
        logits, presence = self.head(c2, c3, c4)
        return resized({"logits": logits, "aux": self.auxlayer(c3)}, images, True) | {"se_logits": presence}


class ConvModule(nn.Module):
    def __init__(self, inplanes: int, planes: int, kernel: int) -> None:
        super().__init__()
        self.conv, self.bn, _ = conv_bn_relu(inplanes, planes, kernel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class MMEncModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoding_project = ConvModule(512, 512, 1)
        self.encoding = nn.Sequential(Encoding(512, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.fc = nn.Sequential(nn.Linear(512, 512), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        context = self.encoding(self.encoding_project(x)).mean(1)
        return context, gated(x, self.fc(context))


class MMEncHead(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(512, num_classes, 1)
        self.bottleneck = ConvModule(2048, 512, 3)
        self.enc_module = MMEncModule()
        self.se_layer = nn.Linear(512, num_classes)

    def forward(self, c4: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        context, x = self.enc_module(self.bottleneck(c4))
        return self.conv_seg(x), self.se_layer(context)


class MMFCNHead(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(256, num_classes, 1)
        self.convs = nn.Sequential(ConvModule(1024, 256, 3))

    def forward(self, c3: torch.Tensor) -> torch.Tensor:
        return self.conv_seg(self.convs(c3))


class MMSegmentationEncNet(nn.Module):
    """On ResNet-50 or 101 v1c, without lateral connections; half-pixel, the 769x769 ones corner-aligned."""

    def __init__(self, num_classes: int, depth: int, align_corners: bool) -> None:
        super().__init__()
        self.backbone = ResNetV1c(depth)
        self.decode_head = MMEncHead(num_classes)
        self.auxiliary_head = MMFCNHead(num_classes)
        self.align_corners = align_corners

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        _, _, c3, c4 = self.backbone(images)
        logits, presence = self.decode_head(c4)
        heads = {"logits": logits, "aux": self.auxiliary_head(c3)}
        return resized(heads, images, self.align_corners) | {"se_logits": presence}


def resized(heads: dict[str, torch.Tensor], images: torch.Tensor, align_corners: bool) -> dict[str, torch.Tensor]:
    size = images.shape[2:]
    return {
        name: F.interpolate(head, size, mode="bilinear", align_corners=align_corners) for name, head in heads.items()
    }


def measure_statistics(network: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Gives every BatchNorm the mean and variance that its input really has over the batches."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the plain average over the batches
    with torch.no_grad():
        for images in batches:
            network.train()(images)
    network.eval()
