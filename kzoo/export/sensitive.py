"""Which parts of a network stay in float when the rest is quantised.

Told by the names of layers and operations, which both converters keep: regular expressions of a part of the path
`enc_net/context/encoding/Softmax`. How the list was found: `kzoo export --report` (docs/deployment.md has the figures).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kzoo.models import Segmenter

# Mean-field iterations: exponentials, and logits that grow with each of them. Their matrix products can be quantised:
# what goes into them are beliefs, in 0..1, and they would be 3 % of the arithmetic.
_REFINEMENT = "refinement/(?!Conv2D)"
# The logits on their way to the picture's size; in LiteRT the last operation has the name of the graph's output.
_TO_INPUT_SIZE = ("to_input_size/", "StatefulPartitionedCall")
# The layer computes in float32 whatever the policy: |x|^2 and sums over thousands of pixels do not fit float16.
_HALF = {"EncNet": ("encoding/",)}
# In int8 the two matrix products, which are most of its arithmetic, can be quantised: their ranges are calibrated.
_INT8 = {
    "CaGNet": ("contextual_module/.*Sigmoid",),
    # Single layers cost little; all of them in int8 0.7 points of mIoU, and 0.4 with the first of them in float.
    "DeepLabV1": ("preprocessing/", "Conv1(_relu)?/"),
    "EncNet": ("encoding/(?!.*MatMul)", "encoding_bn/"),
    # The scores' way up, 0.2 % of the arithmetic. LiteRT quantises transposed convolutions all the same.
    "FCN8s": ("score2/", "score4/", "upsample/"),
    "SANet": ("attention_c[1-4]/.*Sigmoid",),
    # The logits of unseen classes, learned from generated features, can be ten times those of all others: in int8, with
    # one range for all, the seen classes' logits fall together (of a ResNet-101 33 % of the pixels changed).
    "ZS3Net": ("classifier/", *_TO_INPUT_SIZE),
}
# The sums of the scores of five scales: in int8 each addition rounds to 1/255 of the largest score that there is
# anywhere.
_INT8_MULTI_SCALE = ("^[^/]*/add$", *_TO_INPUT_SIZE)
# The first separable convolution of MobileNetV2: its channels' ranges are so far apart that its quantisation alone
# changes as many pixels as that of all other layers together, and half precision makes five times the difference. Of
# EfficientNet it is the first block, too, that changes most.
_HALF_BACKBONES = {"mobilenet_v2": ("expanded_conv_depthwise",)}
_INT8_BACKBONES = {
    "efficientnet_b0": ("block1a_",),
    "efficientnet_b7": ("stem", "block1", "block2[abc]_"),
    "mobilenet_v2": ("expanded_conv_depthwise", "expanded_conv_project"),
}


def float_layers(model: Segmenter, precision: str) -> tuple[str, ...]:
    """What an export of `model` leaves in float32, as `operations_of` takes it."""
    config = model.get_config()
    network, backbone = type(model).__name__, config["backbone"]
    if precision == "int8":
        sums = _INT8_MULTI_SCALE if config.get("multi_scale") else ()
        return (*_INT8.get(network, ()), *_INT8_BACKBONES.get(backbone, ()), *sums, _REFINEMENT)
    if precision == "fp16":
        return (*_HALF.get(network, ()), *_HALF_BACKBONES.get(backbone, ()), _REFINEMENT)
    return ()


def operations_of(layers: Sequence[str], names: Iterable[str]) -> list[str]:
    """Those of the operations `names` that belong to one of the layers.

    Operations are called by the path of their layer, `enc_net_1/context_1/encoding_1/MatMul`; the numbers, which
    Keras gives the second and later calls of a layer, do not count. LiteRT joins the names of fused operations by `;`,
    the last one first.
    """
    if not layers:
        return []
    pattern = re.compile(rf"(^|/)({'|'.join(layers)})")
    return [name for name in names if pattern.search(re.sub(r"_\d+(?=/|$)", "", name.split(";")[0]))]
