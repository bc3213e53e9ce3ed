"""Checkpoints of ZS3Net (valeoai): DeepLab v3+ on ResNet-101, `.pth.tar` files with the weights as `state_dict`.

The final files (`..._GMMN_final`, `..._GMMN_GC_final`) have this layout, too: a classifier of all classes. The word
vectors that it learned from and the generator are not in them.
"""

from __future__ import annotations

from kzoo.convert import torchvision
from kzoo.convert.key_map import KeyMap

_BACKBONE = tuple((f"backbone.{module}", layer) for module, layer in torchvision.RESNET.modules)

_HEAD = (
    ("aspp.aspp*.atrous_conv", "head/branch_{}/conv"),
    ("aspp.aspp*.bn", "head/branch_{}/bn"),
    ("aspp.global_avg_pool.1", "head/pooled/conv"),
    ("aspp.global_avg_pool.2", "head/pooled/bn"),
    ("aspp.conv1", "head/project/conv"),
    ("aspp.bn1", "head/project/bn"),
    ("decoder.conv1", "head/low_level/conv"),
    ("decoder.bn1", "head/low_level/bn"),
    ("decoder.last_conv.0", "head/decoder_1/conv"),
    ("decoder.last_conv.1", "head/decoder_1/bn"),
    ("decoder.last_conv.4", "head/decoder_2/conv"),
    ("decoder.last_conv.5", "head/decoder_2/bn"),
    ("decoder.pred_conv", "classifier"),
)

# Of the two networks with these layers, `deeplab_v3plus` and `zs3net`, the second has more of its own.
DEEPLAB_V3PLUS = KeyMap(
    "ZS3Net", _BACKBONE + _HEAD, dropped=("*.num_batches_tracked",), kept=("embeddings", "generator/*")
)
