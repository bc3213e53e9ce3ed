"""A class that a trained zero-shot network did not know, from its word alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from kzoo.models.zero_shot.network import ZeroShotSegmenter
from kzoo.models.zero_shot.spnet import SPNet

STEPS, PIXELS, LEARNING_RATE = 300, 64, 1e-2


def add_class(
    model: ZeroShotSegmenter,
    name: str,
    vector: NDArray[Any],
    color: tuple[int, int, int] = (255, 255, 0),
    seed: int = 0,
) -> ZeroShotSegmenter:
    """A copy of a network with one more unseen class; the network itself stays as it is.

    SPNet needs the vector alone. In ZS3Net and CaGNet a classifier's column for the class is fitted to features that
    the network's generator makes, of this class and of all others: no picture is needed, and no other class's logits
    change. A class is lost to the new one only where the new one's logit is higher. In the fit the unseen classes, the
    new one among them, have together the weight of CaGNet's `unseen_share`, and of a half in ZS3Net, which has none.

    Args:
        model: a trained network with class names and embeddings.
        name: the class; one that the network ignores gets its place, any other one comes last.
        vector: (embedding_size,) its embedding, from the same source as the network's own.
        color: RGB, of a class that comes last.
        seed: of the generated features.

    Raises: `ValueError` if the network has no embeddings, knows the class already, or the vector does not fit.
    """
    vector = np.asarray(vector, np.float32)
    if vector.shape != (model.embedding_size,) or not np.isfinite(vector).all() or not vector.any():
        raise ValueError(
            f"The vector of {name!r} must be {model.embedding_size} finite numbers, as long as the network's own "
            f"embeddings, and not all zeros. Received: {vector.shape}"
        )
    if not np.any(ops.convert_to_numpy(model.embeddings)):
        raise ValueError(
            "The network has no class embeddings, as published files of ZS3Net have none, nor a trained generator: a "
            "class can be added only to a network that was trained with kzoo, or from a file with both."
        )
    names = list(model.class_names)
    if name in names and names.index(name) not in model.ignored:
        raise ValueError(f"The network knows {name!r} already; its classes are {', '.join(names)}.")
    label = names.index(name) if name in names else len(names)
    grown = _copy(model, name, label, color)
    embeddings = np.zeros((grown.num_classes, grown.embedding_size), np.float32)
    embeddings[: model.num_classes] = ops.convert_to_numpy(model.embeddings)
    embeddings[label] = vector
    grown.set_embeddings(embeddings)
    if not isinstance(grown, SPNet):
        _fit_column(grown, label, seed)
    return grown


def _copy(model: ZeroShotSegmenter, name: str, label: int, color: tuple[int, int, int]) -> ZeroShotSegmenter:
    """The network with `label` among its unseen classes, and room for it at the end if there is none."""
    config = model.get_config()
    config["unseen"] = sorted([*config["unseen"], label])
    config["ignored"] = [other for other in config["ignored"] if other != label]
    if label == model.num_classes:
        config["num_classes"] += 1
        config["class_names"] = [*config["class_names"], name]
        config["palette"] = [*config["palette"], list(color)] if config["palette"] else []
        if config["class_weights"] is not None:
            config["class_weights"] = [*config["class_weights"], 1.0]
    grown: Any = type(model).from_config(config)
    theirs = {weight.path: weight for weight in model.weights}
    for weight in grown.weights:
        value = ops.convert_to_numpy(theirs[weight.path])
        if value.shape != tuple(weight.shape):  # the classes are the last axis; of the embeddings the first
            room = np.zeros(weight.shape, value.dtype)
            room[tuple(slice(size) for size in value.shape)] = value
            value = room
        weight.assign(value)
    return grown


def _fit_column(model: Any, label: int, seed: int) -> None:
    """Fits the classifier's weights of one class to generated features of all classes that can be predicted."""
    keras.utils.set_random_seed(seed)
    classes = sorted({*model.seen, *model.unseen})
    place, known = classes.index(label), [other for other in classes if other != label]
    is_new = np.arange(len(classes)) == place
    share = getattr(model, "unseen_share", 0.5)
    of_unseen, of_seen = share / len(model.unseen), (1 - share) / len(model.seen)
    of_class = np.array([of_seen if other in model.seen else of_unseen for other in classes], np.float32)
    weights = np.repeat(of_class / PIXELS, PIXELS)
    truth = ops.repeat(ops.arange(len(classes)), PIXELS)
    before, last = model.classifier_parts()
    kernel, bias = (np.array(ops.convert_to_numpy(weight)) for weight in last.weights)
    column = keras.Variable(kernel[0, 0][:, known].mean(axis=1, keepdims=True))
    offset = keras.Variable(bias[known].mean(keepdims=True))
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build([column, offset])

    @tf.function
    def step() -> None:
        generated = model.generate(classes, PIXELS, training=True)
        x = ops.reshape(before(generated[None]), (len(truth), -1))
        others = ops.matmul(x, kernel[0, 0][:, classes]) + bias[classes]
        with tf.GradientTape() as tape:
            logits = ops.where(is_new, ops.matmul(x, column) + offset, others)
            loss = ops.sum(weights * ops.sparse_categorical_crossentropy(truth, logits, from_logits=True))
        optimizer.apply(tape.gradient(loss, [column, offset]), [column, offset])

    for _ in range(STEPS):
        step()
    kernel[0, 0, :, label], bias[label] = ops.convert_to_numpy(column)[:, 0], float(offset[0])
    last.set_weights([kernel, bias])
