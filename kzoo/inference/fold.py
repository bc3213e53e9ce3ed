"""Rewriting of an inference graph so that the runtime's own optimiser makes the most of it.

TensorFlow's optimiser (grappler) fuses a convolution with the bias and the activation behind it. But it leaves batch
normalisation unfolded where anything stands between it and the convolution, and the pair of copies (space to batch,
batch to space) with which TensorFlow spells out a dilated convolution. Both are rewritten here; grappler runs
afterwards and does the fusing.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")

# Reads tensors of the graph for pictures of some sizes: (tensor names, sizes (height, width)) -> values for each size.
Probe = Callable[[list[str], Sequence[tuple[int, int]]], list[list[np.ndarray]]]
# Two small pictures of odd and even sides, to see what the shape arithmetic around a dilated convolution comes to.
PROBED_SIZES = ((64, 64), (75, 91))


class Graph:
    """A graph definition without control inputs, with the look-ups that rewriting needs.

    Attributes:
        nodes: node definitions by name; rewriting changes them in place.
        values: what the placeholders of the weights stand for, by node name; rewriting adds folded weights.
    """

    def __init__(self, graph_def: Any, values: dict[str, Any]) -> None:
        self.nodes: dict[str, Any] = {node.name: node for node in graph_def.node}
        self.values = values
        self.versions = graph_def.versions
        self.consumers: dict[str, list[str]] = defaultdict(list)
        for node in graph_def.node:
            for tensor in node.input:
                self.consumers[producer(tensor)].append(node.name)

    def input(self, node: Any, index: int = 0) -> Any:
        return self.nodes[producer(node.input[index])]

    def only_consumer(self, node: Any) -> Any | None:
        """The one node that reads `node`, or None when there are several or none."""
        names = self.consumers[node.name]
        return self.nodes[names[0]] if len(names) == 1 else None

    def value(self, node: Any, index: int) -> np.ndarray | None:
        """The weight behind an input, before any cast to the compute type; None if there is something else."""
        source = self.input(node, index)
        while source.op in ("Identity", "Cast"):
            source = self.input(source)
        return self.values.get(source.name)

    def add_weight(self, name: str, value: np.ndarray) -> str:
        self.nodes[name] = tf.compat.v1.NodeDef(name=name, op="Placeholder")
        self.nodes[name].attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        self.values[name] = value
        return name

    def replace(self, old: Any, new: Any) -> None:
        """Lets everything that reads `old` read `new`, a node with one output that nothing else reads."""
        self.nodes[new.name] = new
        self.consumers[new.name] = self.consumers.pop(old.name, [])
        for name in self.consumers[new.name]:
            inputs = self.nodes[name].input
            for i, tensor in enumerate(inputs):
                if producer(tensor) == old.name:
                    inputs[i] = new.name

    def bypass(self, node: Any, consumer: Any) -> None:
        """Lets `consumer`, which reads `node` first, read what `node` reads first."""
        consumer.input[0] = node.input[0]
        readers = self.consumers[producer(node.input[0])]
        readers.append(consumer.name)
        self.consumers[node.name].remove(consumer.name)
        if not self.consumers[node.name]:
            readers.remove(node.name)

    def ancestors(self, outputs: Iterable[str]) -> Any:
        """The graph definition of `outputs` and all that they need."""
        needed: set[str] = set()
        waiting = [producer(tensor) for tensor in outputs]
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting.extend(producer(tensor) for tensor in self.nodes[name].input)
        result = tf.compat.v1.GraphDef()
        result.versions.CopyFrom(self.versions)
        result.node.extend(node for name, node in self.nodes.items() if name in needed)
        return result


def producer(tensor: str) -> str:
    """The name of the node behind an input such as `node` or `node:1`."""
    return tensor.split(":")[0]


def join_dilated_convolutions(graph: Graph, probe: Probe) -> None:
    """Makes one dilated convolution of space to batch, convolution and batch to space.

    Args:
        graph: rewritten in place.
        probe: reads the padding that the surrounding shape arithmetic arrives at, for two sizes of picture. A chain
            that is not a convolution padded by nothing or by "same" stays as it is.
    """
    chains = []
    for conv in graph.nodes.values():
        if conv.op not in CONVOLUTIONS or conv.attr["padding"].s != b"VALID":
            continue
        if conv.op == "DepthwiseConv2dNative" and not _depthwise_kernel_can_dilate(tf.as_dtype(conv.attr["T"].type)):
            continue
        split, join = graph.input(conv), graph.only_consumer(conv)
        if split.op == "SpaceToBatchND" and join is not None and join.op == "BatchToSpaceND":
            chains.append((split, conv, join))
    wanted = [tensor for split, _, join in chains for tensor in (*split.input[1:3], *join.input[1:3])]
    if not wanted:
        return
    probed = probe(wanted, PROBED_SIZES)
    for i, (split, conv, join) in enumerate(chains):
        kernel = graph.value(conv, 1)
        if kernel is None:
            continue
        rate = probed[0][4 * i]
        paddings = {_padding(kernel.shape[:2], *values[4 * i : 4 * i + 4]) for values in probed}
        if paddings not in ({b"SAME"}, {b"VALID"}):
            continue
        graph.bypass(split, conv)
        conv.attr["dilations"].list.i[:] = [1, *rate.tolist(), 1]
        conv.attr["padding"].s = paddings.pop()
        graph.replace(join, conv)


def _padding(kernel: Any, rate: Any, paddings: Any, join_rate: Any, crops: Any) -> bytes | None:
    """The padding of the dilated convolution that a chain stands for; None if it stands for another operation.

    The split pads by the convolution's own padding and, at the end, by what makes the size divisible by the rate; the
    join crops the latter again.
    """
    if not np.array_equal(rate, join_rate) or crops[:, 0].any():
        return None
    before, after = paddings[:, 0], paddings[:, 1] - crops[:, 1]
    if not before.any() and not after.any():
        return b"VALID"
    same = (np.array(kernel) - 1) * rate
    return b"SAME" if np.array_equal(before, same // 2) and np.array_equal(before + after, same) else None


@functools.cache
def _depthwise_kernel_can_dilate(dtype: tf.DType) -> bool:
    """Whether this TensorFlow runs dilated depthwise convolutions as they are (with oneDNN, and not in float64)."""
    picture, kernel = tf.ones((1, 5, 5, 1), dtype), tf.ones((3, 3, 1, 1), dtype)
    try:
        # In a graph, as oneDNN's kernels run only there.
        tf.function(
            lambda: tf.raw_ops.DepthwiseConv2dNative(
                input=picture, filter=kernel, strides=[1] * 4, padding="VALID", dilations=[1, 2, 2, 1]
            )
        )()
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        return False
    return True


def fold_batch_normalisation(graph: Graph) -> None:
    """Scales the kernel of every convolution by the batch normalisation behind it, whose shift becomes a bias."""
    for norm in [node for node in graph.nodes.values() if node.op == "FusedBatchNormV3"]:
        source = graph.input(norm)
        # Scaling passes through the joining half of a dilated convolution that was left as it was.
        conv = graph.input(source) if source.op == "BatchToSpaceND" else source
        if conv.op not in CONVOLUTIONS or norm.attr["is_training"].b:
            continue
        if len(graph.consumers[source.name]) != 1 or len(graph.consumers[conv.name]) != 1:
            continue
        kernel = graph.value(conv, 1)
        gamma, beta, mean, variance = (graph.value(norm, i) for i in range(1, 5))
        if kernel is None or gamma is None or beta is None or mean is None or variance is None:
            continue
        scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + norm.attr["epsilon"].f)
        # A depthwise kernel is (h, w, channels, multiplier); its outputs run over both of the last axes.
        per_output = scale.reshape(kernel.shape[2:]) if conv.op == "DepthwiseConv2dNative" else scale
        dtype = tf.as_dtype(conv.attr["T"].type).as_numpy_dtype
        conv.input[1] = graph.add_weight(f"{conv.name}/folded_kernel", (kernel * per_output).astype(dtype))
        shift = graph.add_weight(f"{conv.name}/folded_bias", (beta - mean * scale).astype(dtype))
        bias = tf.compat.v1.NodeDef(name=f"{norm.name}/folded", op="BiasAdd", input=[norm.input[0], shift])
        bias.attr["T"].CopyFrom(conv.attr["T"])
        graph.replace(norm, bias)
