"""Checkpoints of MMSegmentation: EncNet on ResNet-50 and 101 v1c, and the ImageNet backbones below it."""

from __future__ import annotations

from kzoo.convert.key_map import KeyMap

_BACKBONE = (
    ("stem.0", "stem_conv1"),
    ("stem.1", "stem_bn1"),
    ("stem.3", "stem_conv2"),
    ("stem.4", "stem_bn2"),
    ("stem.6", "stem_conv3"),
    ("stem.7", "stem_bn3"),
    ("layer*.*.conv*", "layer{}_{}_conv{}"),
    ("layer*.*.bn*", "layer{}_{}_bn{}"),
    ("layer*.*.downsample.0", "layer{}_{}_downsample_conv"),
    ("layer*.*.downsample.1", "layer{}_{}_downsample_bn"),
)

_HEAD = (
    ("decode_head.bottleneck.conv", "feature_head/conv5/conv"),
    ("decode_head.bottleneck.bn", "feature_head/conv5/bn"),
    ("decode_head.enc_module.encoding_project.conv", "context/project/conv"),
    ("decode_head.enc_module.encoding_project.bn", "context/project/bn"),
    ("decode_head.enc_module.encoding.0", "context/encoding"),
    ("decode_head.enc_module.encoding.1", "context/encoding_bn"),
    ("decode_head.enc_module.fc.0", "context/channel_gate"),
    ("decode_head.se_layer", "context/presence"),
    ("decode_head.conv_seg", "classifier"),
    ("auxiliary_head.convs.0.conv", "aux_head/conv5/conv"),
    ("auxiliary_head.convs.0.bn", "aux_head/conv5/bn"),
    ("auxiliary_head.conv_seg", "aux_head/classifier"),
)

ENCNET = KeyMap(
    "MMSegmentation",
    tuple((f"backbone.{module}", layer) for module, layer in _BACKBONE) + _HEAD,
    dropped=("*.num_batches_tracked",),
)

RESNET_V1C = KeyMap("MMSegmentation", _BACKBONE, dropped=("fc.*", "*.num_batches_tracked"))
