"""EncNet stated in PyTorch from its published facts: the reference that kzoo's layers and network are compared with.

Written to be read beside the paper: the encoding below forms every residual, as equations 1 and 2 do. Modules are named
like kzoo's, so that `keras_path` can tell which Keras layer a PyTorch module corresponds to.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.parity.torch_resnet import ResNet


def encode(x: torch.Tensor, codewords: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(B, N, C) against (K, C) and (K,): (B, K, C), residual by residual."""
    residuals = x[:, :, None, :] - codewords  # (B, N, K, C)
    assignment = torch.softmax(scale * residuals.square().sum(-1), dim=-1)  # (B, N, K)
    return (assignment[..., None] * residuals).sum(1)


def encode_by_products(x: torch.Tensor, codewords: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The same function in two matrix products, without the (B, N, K, C) tensor: for benchmarks."""
    squares = x.square().sum(-1, keepdim=True) - 2.0 * x @ codewords.T + codewords.square().sum(-1)
    assignment = torch.softmax(scale * squares, dim=-1)
    return assignment.transpose(1, 2) @ x - assignment.sum(1)[..., None] * codewords


class Encoding(nn.Module):
    """(B, C, H, W) -> (B, K, C)."""

    def __init__(self, channels: int, num_codewords: int, by_products: bool = False) -> None:
        super().__init__()
        limit = (num_codewords * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(num_codewords, channels).uniform_(-limit, limit))
        self.scale = nn.Parameter(torch.empty(num_codewords).uniform_(-1.0, 0.0))
        self.by_products = by_products

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = x.flatten(2).transpose(1, 2)
        return (encode_by_products if self.by_products else encode)(pixels, self.codewords, self.scale)


class ConvBNReLU(nn.Module):
    def __init__(self, channels_in: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class ContextEncoding(nn.Module):
    """Returns the re-weighed features and the class-presence logits; the options are the paper's form."""

    def __init__(
        self,
        channels: int,
        num_classes: int,
        num_codewords: int = 32,
        projection: bool = True,
        reduction: str = "mean",
        gate: str = "residual",
        by_products: bool = False,
    ) -> None:
        super().__init__()
        self.project = ConvBNReLU(channels, channels, 1) if projection else None
        self.encoding = Encoding(channels, num_codewords, by_products)
        self.encoding_bn = nn.BatchNorm1d(num_codewords)  # of (B, K, C): the codewords are its channels
        self.channel_gate = nn.Linear(channels, channels)
        self.presence = nn.Linear(channels, num_classes)
        self.reduction, self.gate = reduction, gate

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        encoded = F.relu(self.encoding_bn(self.encoding(self.project(x) if self.project else x)))
        context = encoded.mean(1) if self.reduction == "mean" else encoded.sum(1)
        gate = torch.sigmoid(self.channel_gate(context))[:, :, None, None]
        return (F.relu(x + x * gate) if self.gate == "residual" else x * gate), self.presence(context)


class FCNHead(nn.Module):
    def __init__(self, channels_in: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv5 = ConvBNReLU(channels_in, channels_in // 4, 3)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels_in // 4, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(self.conv5(x)))


class FeatureHead(nn.Module):
    def __init__(self, lateral: bool) -> None:
        super().__init__()
        self.conv5 = ConvBNReLU(2048, 512, 3)
        self.lateral = lateral
        if lateral:
            self.connect_c2 = ConvBNReLU(512, 512, 1)
            self.connect_c3 = ConvBNReLU(1024, 512, 1)
            self.fusion = ConvBNReLU(3 * 512, 512, 3)

    def forward(self, c2: torch.Tensor, c3: torch.Tensor, c4: torch.Tensor) -> torch.Tensor:
        x = self.conv5(c4)
        if self.lateral:
            x = self.fusion(torch.cat([x, self.connect_c2(c2), self.connect_c3(c3)], dim=1))
        return x


class EncNet(nn.Module):
    """Normalised pictures (B, 3, H, W) to a dict of `logits`, `se_logits` and, with `aux`, `aux`."""

    def __init__(
        self,
        num_classes: int,
        depth: int = 50,
        stem: str = "s",
        lateral: bool = False,
        aux: bool = True,
        align_corners: bool = True,
        dropout: float = 0.1,
        by_products: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = ResNet(depth, stem, output_stride=8)
        self.feature_head = FeatureHead(lateral)
        self.context = ContextEncoding(512, num_classes, by_products=by_products)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(512, num_classes, 1)
        self.aux_head = FCNHead(1024, num_classes, dropout) if aux else None
        self.align_corners = align_corners

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        _, c2, c3, c4 = self.backbone(images)
        x, se_logits = self.context(self.feature_head(c2, c3, c4))
        outputs = {"logits": self._resize(self.classifier(self.dropout(x)), images), "se_logits": se_logits}
        if self.training and self.aux_head is not None:
            outputs["aux"] = self._resize(self.aux_head(c3), images)
        return outputs

    def _resize(self, x: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, size=images.shape[2:], mode="bilinear", align_corners=self.align_corners)


def loss(
    outputs: dict[str, torch.Tensor],
    masks: torch.Tensor,
    aux_weight: float = 0.2,
    se_weight: float = 0.2,
    ignore_label: int = 255,
) -> torch.Tensor:
    """Cross-entropy of the heads and binary cross-entropy of the class presence, for masks (B, H, W)."""
    total = F.cross_entropy(outputs["logits"], masks, ignore_index=ignore_label)
    if "aux" in outputs:
        total = total + aux_weight * F.cross_entropy(outputs["aux"], masks, ignore_index=ignore_label)
    presence = torch.stack([(masks == label).flatten(1).any(1) for label in range(outputs["se_logits"].shape[1])], 1)
    se_loss = F.binary_cross_entropy_with_logits(outputs["se_logits"], presence.to(outputs["se_logits"].dtype))
    return total + se_weight * se_loss


def keras_path(name: str) -> str:
    """The path of kzoo's layer for the dotted name of an EncNet module."""
    if name.startswith("backbone."):
        return name.removeprefix("backbone.").replace(".", "_")
    return "enc_net/" + name.replace(".", "/")
