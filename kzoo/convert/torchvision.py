"""Checkpoints of torchvision: ImageNet's ResNet-50, 101 and 152."""

from __future__ import annotations

from kzoo.convert.key_map import KeyMap

RESNET = KeyMap(
    "torchvision",
    (
        ("conv1", "stem_conv1"),
        ("bn1", "stem_bn1"),
        ("layer*.*.conv*", "layer{}_{}_conv{}"),
        ("layer*.*.bn*", "layer{}_{}_bn{}"),
        ("layer*.*.downsample.0", "layer{}_{}_downsample_conv"),
        ("layer*.*.downsample.1", "layer{}_{}_downsample_bn"),
    ),
    dropped=("fc.*", "*.num_batches_tracked"),
)
