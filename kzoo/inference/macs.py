"""How many multiplications a network costs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.backbones.backbone import full_precision

PRODUCTS = ("MatMul", "BatchMatMulV2")


def count_macs(model: keras.Model, size: tuple[int, int]) -> int:
    """Multiply-accumulate operations of one picture through the network, as it infers.

    Counted are convolutions (dilated ones at the places that they write) and matrix products, which is what papers
    count; additions, activations, resizing and the mean-field iterations of a lattice are not.

    Args:
        model: takes pictures (B, H, W, 3).
        size: height and width, pixels.

    Raises: `ValueError` for a network with a function inside, as Keras makes of a grouped convolution.
    """
    signature = tf.TensorSpec((1, *size, 3), full_precision())
    graph = tf.function(lambda images: model(images, training=False), autograph=False).get_concrete_function(signature)
    definition = graph.graph.as_graph_def(add_shapes=True)
    nodes = {node.name: node for node in definition.node}
    consumers: dict[str, list[Any]] = defaultdict(list)
    for node in definition.node:
        for name in node.input:
            consumers[_producer(name)].append(node)

    def shape(name: str) -> list[int]:
        name, _, index = name.partition(":")
        listed = nodes[name].attr["_output_shapes"].list.shape[int(index or 0)]
        return [dim.size for dim in listed.dim]

    total = 0
    for node in definition.node:
        if node.op in ("PartitionedCall", "StatefulPartitionedCall"):
            raise ValueError(f"{model.name}: {node.name!r} is a function of its own, whose operations are not counted.")
        written = shape(node.name) if node.op in (*PRODUCTS, "Conv2D", "DepthwiseConv2dNative") else []
        if node.op in PRODUCTS:
            transposed = node.attr["transpose_a"].b or node.attr["adj_x"].b
            total += int(np.prod(written)) * shape(node.input[0])[-2 if transposed else -1]
        elif written:
            rows, columns, channels, _ = shape(node.input[1])
            after = consumers[node.name]
            # TensorFlow spells a dilated convolution as a plain one on an interleaved copy, which it pads.
            if len(after) == 1 and after[0].op == "BatchToSpaceND":
                written = shape(after[0].name)
            inputs = channels if node.op == "Conv2D" else 1
            total += int(np.prod(written)) * rows * columns * inputs
    return total


def _producer(name: str) -> str:
    return name.removeprefix("^").partition(":")[0]
