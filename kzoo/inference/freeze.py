"""kzoo's inference graph: constants frozen, batch normalisation folded, and never stale."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.inference.fold import Graph, fold_batch_normalisation, join_dilated_convolutions

_frozen: weakref.WeakKeyDictionary[keras.Model, FrozenModel] = weakref.WeakKeyDictionary()


def freeze(model: keras.Model) -> FrozenModel:
    """The inference graph of `model`, made on the first call and kept as long as the model lives.

    Args:
        model: takes pictures (B, H, W, 3) and returns one tensor of logits.
    """
    if model not in _frozen:
        _frozen[model] = FrozenModel(model)
    return _frozen[model]


class FrozenModel:
    """A model as a graph of constants: called with float32 pictures (B, H, W, 3), returns the logits (a tensor).

    A network's refinement is not part of the graph: it runs behind it, and `unrefined` is the network without it.

    The graph is made when it is first needed, and made anew when any weight of the model has changed since, be it by
    `fit`, `load_weights` or a plain `assign`: every call compares a fingerprint (64 bits of hash, of the bytes in
    their order) with the one the graph was made from. On two cores that takes 1 % of the time of EncNet on ResNet-101
    and 6 % of it on MobileNetV2, at 480x480.

    One graph serves all picture sizes and batch sizes: freezing takes seconds (2 for MobileNetV2, 20 for ResNet-101),
    and a graph made for one fixed size runs no faster once the dilated convolutions' shape arithmetic is gone, which
    `kzoo.inference.fold` sees to.

    Attributes:
        function: the concrete function that runs, images -> [unrefined logits]; None before the first call.

    Raises:
        ValueError: the model returns something else than one tensor, or no longer exists.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = weakref.ref(model)
        self._fingerprint = b""
        self.function: Any = None
        self._fingerprint_of: tuple[list[int], Any] = ([], None)

    def __call__(self, images: Any) -> Any:
        logits = self.unrefined(images)
        refinement = getattr(self._model(), "refinement", None)
        return logits if refinement is None else refinement(logits, tf.cast(images, tf.float32))

    def unrefined(self, images: Any) -> Any:
        """The logits before the network's refinement, if it has one: where passes are averaged first."""
        model = self._model()
        if model is None:
            raise ValueError("The model behind this inference graph no longer exists: keep the model, and freeze it.")
        fingerprint = self.fingerprint(model)
        if self.function is None or fingerprint != self._fingerprint:
            self.function = _frozen_function(model)
            # The first call builds a model that was never called, so that its weights exist only now.
            self._fingerprint = self.fingerprint(model)
        return self.function(tf.cast(images, tf.float32))[0]

    def fingerprint(self, model: keras.Model) -> bytes:
        """A fingerprint of all the model's weights: FarmHash, 64 bits, of the bytes of each kernel and all vectors."""
        variables = [weight.value for weight in model.weights]
        if not variables:
            return b""
        identities = [id(variable) for variable in variables]
        known, function = self._fingerprint_of
        if identities != known:
            function = tf.function(lambda: _hashes(variables), autograph=False).get_concrete_function()
            self._fingerprint_of = identities, function
        return bytes(function().numpy().tobytes())


def _hashes(variables: list[Any]) -> Any:
    """(N, 8) bytes. Vectors of one type are hashed together: they are many, and each operation costs its start."""
    groups: list[list[Any]] = [[variable] for variable in variables if variable.shape.rank != 1]
    vectors = [variable for variable in variables if variable.shape.rank == 1]
    groups += [[v for v in vectors if v.dtype == dtype] for dtype in dict.fromkeys(v.dtype for v in vectors)]
    with tf.device("CPU"):
        joined = [tf.concat([tf.reshape(variable, (-1,)) for variable in group], axis=0) for group in groups]
        return tf.concat([tf.fingerprint(values[tf.newaxis]) for values in joined], axis=0)


def _frozen_function(model: keras.Model) -> Any:
    """A concrete function (B, H, W, 3) float32 -> [logits] in which the model's weights are constants."""
    signature = tf.TensorSpec((None, None, None, 3), tf.float32, name="images")
    options = {} if getattr(model, "refinement", None) is None else {"refine": False}
    function = tf.function(lambda images: model(images, training=False, **options), autograph=False)
    traced = function.get_concrete_function(signature)
    if len(traced.outputs) != 1:
        raise ValueError(
            f"Only a model that returns one tensor of logits can be frozen; {model.name!r} returns "
            f"{len(traced.outputs)} tensors: {traced.structured_outputs}."
        )
    picture, logits = traced.inputs[0].name, traced.outputs[0].name
    captured = {placeholder.op.name: tensor for tensor, placeholder in traced.graph.captures}
    graph_def = _without_control_inputs(traced.graph.as_graph_def())
    plain = Graph(graph_def, captured)

    def probe(tensors: list[str], sizes: Sequence[tuple[int, int]]) -> list[list[np.ndarray]]:
        function = _function(plain, picture, tensors)
        return [[value.numpy() for value in function(tf.zeros((1, *size, 3)))] for size in sizes]

    graph = _without_variables(graph_def, captured)
    join_dilated_convolutions(graph, probe)
    fold_batch_normalisation(graph)
    return _function(graph, picture, [logits])


def _without_control_inputs(graph_def: Any) -> Any:
    """The graph without the order of its reads: inference has no side effects."""
    for node in graph_def.node:
        data = [tensor for tensor in node.input if not tensor.startswith("^")]
        node.ClearField("input")
        node.input.extend(data)
    return graph_def


def _without_variables(graph_def: Any, captured: dict[str, Any]) -> Graph:
    """The graph with a placeholder, and its value, for each variable that is read and each captured tensor."""
    graph = Graph(graph_def, {})
    for node in graph_def.node:
        if node.op == "ReadVariableOp":
            handle = captured[graph.input(node).name]
            value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=node.attr["dtype"].type).numpy()
        elif node.name in captured and captured[node.name].dtype != tf.resource:
            value = captured[node.name].numpy()
        else:
            continue
        graph.add_weight(node.name, value)
    return graph


def _function(graph: Graph, picture: str, outputs: list[str]) -> Any:
    """A concrete function from pictures to the tensors `outputs` of the graph, with the graph's values inside."""
    outputs = [name if ":" in name else f"{name}:0" for name in outputs]
    graph_def = graph.ancestors(outputs)
    needed = {node.name for node in graph_def.node}

    def run(images: Any) -> Any:
        # NumPy arrays become constants of the function, handles of variables are captured by it.
        values = {f"{name}:0": tf.convert_to_tensor(value) for name, value in graph.values.items() if name in needed}
        return tf.graph_util.import_graph_def(graph_def, {picture: images, **values}, outputs, name="")

    return tf.function(run, autograph=False).get_concrete_function(tf.TensorSpec((None, None, None, 3), tf.float32))
