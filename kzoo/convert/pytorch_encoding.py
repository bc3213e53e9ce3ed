"""Checkpoints of PyTorch-Encoding (Hang Zhang): EncNet on ResNet-50s and 101s, and the ImageNet backbones below it."""

from __future__ import annotations

from kzoo.convert.key_map import KeyMap

# The deep stem is one module of seven; its last BatchNorm bears the name of the ordinary stem's.
_BACKBONE = (
    ("conv1.0", "stem_conv1"),
    ("conv1.1", "stem_bn1"),
    ("conv1.3", "stem_conv2"),
    ("conv1.4", "stem_bn2"),
    ("conv1.6", "stem_conv3"),
    ("bn1", "stem_bn3"),
    ("layer*.*.conv*", "layer{}_{}_conv{}"),
    ("layer*.*.bn*", "layer{}_{}_bn{}"),
    ("layer*.*.downsample.0", "layer{}_{}_downsample_conv"),
    ("layer*.*.downsample.1", "layer{}_{}_downsample_bn"),
)

_HEAD = (
    ("head.conv5.0", "feature_head/conv5/conv"),
    ("head.conv5.1", "feature_head/conv5/bn"),
    ("head.connect.0.0", "feature_head/connect_c2/conv"),
    ("head.connect.0.1", "feature_head/connect_c2/bn"),
    ("head.connect.1.0", "feature_head/connect_c3/conv"),
    ("head.connect.1.1", "feature_head/connect_c3/bn"),
    ("head.fusion.0", "feature_head/fusion/conv"),
    ("head.fusion.1", "feature_head/fusion/bn"),
    ("head.encmodule.encoding.0", "context/project/conv"),
    ("head.encmodule.encoding.1", "context/project/bn"),
    # The learned scale is negative already: it is not negated.
    ("head.encmodule.encoding.3", "context/encoding"),
    ("head.encmodule.encoding.4", "context/encoding_bn"),
    ("head.encmodule.fc.0", "context/channel_gate"),
    ("head.encmodule.selayer", "context/presence"),
    ("head.conv6.1", "classifier"),
    ("auxlayer.conv5.0", "aux_head/conv5/conv"),
    ("auxlayer.conv5.1", "aux_head/conv5/bn"),
    ("auxlayer.conv5.4", "aux_head/classifier"),
)

ENCNET = KeyMap(
    "PyTorch-Encoding",
    tuple((f"pretrained.{module}", layer) for module, layer in _BACKBONE) + _HEAD,
    # Older files were saved with ImageNet's classifier; newer PyTorch counts the batches that BatchNorm has seen.
    dropped=("pretrained.fc.*", "*.num_batches_tracked"),
)

RESNET_S = KeyMap("PyTorch-Encoding", _BACKBONE, dropped=("fc.*", "*.num_batches_tracked"))
