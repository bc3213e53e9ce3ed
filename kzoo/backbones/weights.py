"""Backbone weights from files, and BatchNorm statistics measured where a file has them folded in."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.backbones.backbone import Backbone
from kzoo.errors import FetchError


def load_keras_applications(backbone: Backbone, application: str, **arguments: Any) -> None:
    """Copies the ImageNet weights of Keras Applications (fetched, checked and cached by Keras) layer by layer.

    Args:
        backbone: its layers have the names of Keras Applications.
        application: the builder in `keras.applications`.
        **arguments: which network of that builder, if it has several.

    Raises: `FetchError` if Keras cannot fetch them; `ValueError` if nobody published such a network.
    """
    build = getattr(keras.applications, application)
    try:
        published = build(input_shape=(224, 224, 3), include_top=False, weights="imagenet", **arguments)
    except ValueError:  # a width that nobody published
        raise
    except Exception as error:  # what Keras raises when it cannot fetch
        call = f"{application}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
        raise FetchError(
            f"Keras could not fetch the ImageNet weights of {call}: {error}. Give a file of them as weights=PATH, or "
            "put Keras' file into ~/.keras/models (or $KERAS_HOME/models)."
        ) from error
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(published.get_layer(layer.name).get_weights())


def load_backbone_weights(backbone: Backbone, path: str | os.PathLike[str]) -> None:
    """Sets all weights of `backbone` from a Keras `.weights.h5` or an `.npz` with folded BatchNorm.

    The `.npz` holds `<layer>/kernel` and `<layer>/bias` for each convolution, a BatchNorm behind it folded in. That
    BatchNorm is set to add the bias and nothing else (mean 0, variance 1, gamma sqrt(1 + epsilon)), which is the
    file's function at inference; `unfold_batch_normalization` then gives it statistics to train with.

    Raises: `FileNotFoundError` if there is no such file; `ValueError` if it does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No backbone weights at {str(path)!r}: expected a `.weights.h5` or `.npz` file.")
    if path.suffix == ".npz":
        _load_folded(backbone, path)
    elif path.name.endswith(".weights.h5"):
        try:
            backbone.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{str(path)!r} does not fit the backbone {backbone.name!r}: {error}") from error
    else:
        raise ValueError(
            "Backbone weights are read from `.weights.h5` or `.npz` files; ResNets also take a checkpoint (`.pth`) as "
            f"weights=PATH. Received: {str(path)!r}"
        )


def _load_folded(backbone: Backbone, path: Path) -> None:
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} is no `.npz` file, or it is cut off: {error}") from error
    with file as arrays:
        pairs = convolution_norm_pairs(backbone)
        paired = {layer for pair in pairs for layer in pair}
        for layer in backbone.layers:
            if layer.weights and layer not in paired:
                layer.set_weights([_entry(arrays, f"{layer.name}/{w.name}", w.shape, path) for w in layer.weights])
        for convolution, norm in pairs:
            kernel = _entry(arrays, f"{convolution.name}/kernel", convolution.weights[0].shape, path)
            bias = _entry(arrays, f"{convolution.name}/bias", norm.beta.shape, path)
            convolution.set_weights([kernel])
            gamma = np.full(bias.shape, np.sqrt(1.0 + norm.epsilon), "float32")
            norm.set_weights([gamma, bias, np.zeros_like(bias), np.ones_like(bias)])


def _entry(arrays: Any, key: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    if key not in arrays:
        raise ValueError(f"{str(path)!r} has no entry {key!r}: it is not a folded weights file of this backbone.")
    try:
        array = arrays[key]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{str(path)!r}: entry {key!r} is damaged: {error}") from error
    if array.size != np.prod(shape):
        raise ValueError(f"{str(path)!r}: entry {key!r} should have shape {tuple(shape)}, it has {array.shape}.")
    return array.reshape(shape).astype("float32")


def convolution_norm_pairs(backbone: Backbone) -> list[tuple[keras.Layer, keras.layers.BatchNormalization]]:
    """Each convolution of the backbone with the BatchNorm that takes its output, in order."""
    pairs = []
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            source = layer.input._keras_history.operation
            if isinstance(source, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
                pairs.append((source, layer))
    return pairs


def unfold_batch_normalization(backbone: Backbone, batches: Iterable[Any]) -> None:
    """Gives every BatchNorm the statistics its input has on real pictures, without changing what it computes.

    A folded BatchNorm computes `z + bias`. With the measured mean and variance of z as statistics,
    `gamma = sqrt(variance + epsilon)` and `beta = bias + mean` compute the same at inference, and in training mode
    (statistics of the batch) nearly the same, so that fine-tuning with live BatchNorm starts where ImageNet ended.
    A backbone without BatchNorm stays as it is.

    Args:
        backbone: with weights loaded.
        batches: of images (B, H, W, 3) in the backbone's input range; a few dozen pictures suffice.

    Raises: `ValueError` if there is no batch.
    """
    pairs = convolution_norm_pairs(backbone)
    if not pairs:  # VGG-16
        return
    probe = keras.Model(backbone.inputs[0], [norm.input for _, norm in pairs])
    totals = [np.zeros((2, norm.gamma.shape[0])) for _, norm in pairs]
    counts = np.zeros(len(pairs))
    for images in batches:
        for index, feature in enumerate(probe(images, training=False)):
            values = np.asarray(keras.ops.convert_to_numpy(feature), "float64")
            totals[index] += [values.sum((0, 1, 2)), np.square(values).sum((0, 1, 2))]
            counts[index] += np.prod(values.shape[:3])
    if not counts.all():
        raise ValueError("unfold_batch_normalization received no pictures; expected at least one batch.")
    for (_, norm), (total, squares), count in zip(pairs, totals, counts, strict=True):
        old_gamma, old_beta, old_mean, old_variance = norm.get_weights()
        slope = old_gamma / np.sqrt(old_variance + norm.epsilon)
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0.0)
        gamma = slope * np.sqrt(variance + norm.epsilon)
        norm.set_weights([gamma, old_beta + slope * (mean - old_mean), mean, variance])
