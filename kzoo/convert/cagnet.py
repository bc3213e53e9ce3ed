"""Checkpoints of DeepLab v2 in kazuto1011's PyTorch layout, as CaGNet has it behind `back.scale.`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kzoo.convert.key_map import KeyMap

_BLOCK = re.compile(r"layer(\d+)\.block(\d+)")


def prepared(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors without the prefixes of multi-scale inputs; stages and blocks counted as ResNets are elsewhere.

    `back.scale.layer2.block1.reduce.conv.weight` becomes `layer1.0.reduce.conv.weight`.
    """

    def counted(found: re.Match[str]) -> str:
        return f"layer{int(found[1]) - 1}.{int(found[2]) - 1}"

    return {
        _BLOCK.sub(counted, key.removeprefix("back.").removeprefix("scale.")): tensor for key, tensor in tensors.items()
    }


BACKBONE = (
    ("layer1.conv1.conv", "stem_conv1"),
    ("layer1.conv1.bn", "stem_bn1"),
    ("layer*.*.reduce.conv", "layer{}_{}_conv1"),
    ("layer*.*.reduce.bn", "layer{}_{}_bn1"),
    ("layer*.*.conv3x3.conv", "layer{}_{}_conv2"),
    ("layer*.*.conv3x3.bn", "layer{}_{}_bn2"),
    ("layer*.*.increase.conv", "layer{}_{}_conv3"),
    ("layer*.*.increase.bn", "layer{}_{}_bn3"),
    # Later versions of the layout call it by the second name.
    ("layer*.*.proj.conv", "layer{}_{}_downsample_conv"),
    ("layer*.*.proj.bn", "layer{}_{}_downsample_bn"),
    ("layer*.*.shortcut.conv", "layer{}_{}_downsample_conv"),
    ("layer*.*.shortcut.bn", "layer{}_{}_downsample_bn"),
)

HEAD = (
    ("aspp.stages.c0", "head/aspp/rate_6"),
    ("aspp.stages.c1", "head/aspp/rate_12"),
    ("aspp.stages.c2", "head/aspp/rate_18"),
    ("aspp.stages.c3", "head/aspp/rate_24"),
)

DEEPLAB_V2 = KeyMap("DeepLab v2 or CaGNet", BACKBONE + HEAD, dropped=("*.num_batches_tracked",), prepare=prepared)

# A backbone takes what is called `layer`, and leaves heads, generators and embeddings.
RESNET = KeyMap("DeepLab v2 or CaGNet", BACKBONE, dropped=("[!l]*", "*.num_batches_tracked"), prepare=prepared)
