"""Checkpoints of DeepLab v2 in kazuto1011's PyTorch layout, and of CaGNet, which has it behind `back.scale.`.

CaGNet's own files may not be used commercially: they are never fetched, and read only where a user has one. No such
file has been opened for this table. Known are the modules

    back.scale.contextual1 ... 3, fc_1, contextualpool, contextuallocalmu, contextuallocalsigma
    gen.mlp                 a perceptron of 1x1 convolutions, from word and latent code, joined in this order
    dis                     a 1x1 convolution that `pred` and `cls` share
    Em_*                    word vectors

but not what lies between them and their tensors. So a contextual module may have its convolution anywhere below its
name; the perceptron's layers are taken in the order of the numbers in their names, as `torch.nn.Sequential` counts them
(0, 3, 6, ... with activations and dropout between them); the shared layer of `dis` is the one that is called neither
`pred` nor `cls`; several tables of word vectors are joined in the file's order. Whatever does not fit that is an error:
a tensor more or less, a bias in the contextual module, or a shape.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from kzoo.convert.key_map import KeyMap

_CONTEXT = re.compile(r"(contextual\d|fc_1|contextualpool|contextuallocalmu|contextuallocalsigma)(?:\..+)?\.(\w+)")
_PERCEPTRON = re.compile(r"gen\.mlp\.(.+)\.(weight|bias)")
_JUDGE = re.compile(r"dis\.(.+)\.(\w+)")
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


def prepared_whole(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """As `prepared`, with CaGNet's further layers under one name each, and its word vectors as one table `embeddings`.

    A name that two tensors would have is given to neither: they keep their own, which the table does not know.
    """
    tensors = prepared(tensors)
    found = {match[1] for key in tensors if (match := _PERCEPTRON.fullmatch(key))}
    layers = sorted(found, key=lambda module: ([int(number) for number in re.findall(r"\d+", module)], module))
    names = {key: _name(key, layers) for key in tensors}
    counts = Counter(names.values())
    named = {names[key] if counts[names[key]] == 1 else key: tensor for key, tensor in tensors.items()}
    for key, tensor in named.items():
        if key.startswith("gen.mlp.layer") and tensor.shape[2:] == (1, 1):  # kzoo's layers there are no convolutions
            named[key] = tensor.reshape(tensor.shape[:2])
    words = {key: tensor for key, tensor in named.items() if key.startswith("Em_") and tensor.ndim == 2}
    if words and len({len(tensor) for tensor in words.values()}) == 1:
        named = {key: tensor for key, tensor in named.items() if key not in words}
        named["embeddings"] = np.concatenate(list(words.values()), axis=1)
    return named


def _name(key: str, layers: list[str]) -> str:
    if match := _CONTEXT.fullmatch(key):
        return f"{match[1]}.{match[2]}"
    if match := _PERCEPTRON.fullmatch(key):
        return f"gen.mlp.layer{layers.index(match[1]) + 1}.{match[2]}"
    if match := _JUDGE.fullmatch(key):
        module = next((name for name in ("pred", "cls") if name in match[1].split(".")), "shared")
        return f"dis.{module}.{match[2]}"
    return key


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

GENERATIVE = (
    ("contextual*", "contextual_module/context_{}"),
    ("fc_1", "contextual_module/selector"),
    ("contextualpool", "contextual_module/pool"),
    ("contextuallocalmu", "contextual_module/mean"),
    ("contextuallocalsigma", "contextual_module/log_variance"),
    ("gen.mlp.layer*", "generator/linear_{}"),
    ("dis.shared", "classifier/shared"),
    ("dis.cls", "classifier/classes"),
    ("dis.pred", "discriminator/score"),
    ("", ""),  # the network's own weight, `embeddings`
)

CAGNET = KeyMap("CaGNet", BACKBONE + HEAD + GENERATIVE, dropped=("*.num_batches_tracked",), prepare=prepared_whole)

DEEPLAB_V2 = KeyMap("DeepLab v2 or CaGNet", BACKBONE + HEAD, dropped=("*.num_batches_tracked",), prepare=prepared)

# A backbone takes what is called `layer`, and leaves heads, generators and embeddings.
RESNET = KeyMap("DeepLab v2 or CaGNet", BACKBONE, dropped=("[!l]*", "*.num_batches_tracked"), prepare=prepared)
