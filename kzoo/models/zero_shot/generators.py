"""Generators: pixel features of a class from its word vector and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import keras
from keras import ops

from kzoo.errors import unknown_name

Shape = tuple[int | None, ...]

_ACTIVATIONS = {None: lambda x: x, "sigmoid": ops.sigmoid}


class _Perceptron(keras.layers.Layer):
    """The layers of a generator; the arguments are `FeatureGenerator`'s."""

    def __init__(
        self,
        features: int,
        hidden: Sequence[int],
        dropout: Sequence[float],
        negative_slope: float = 0.2,
        output_activation: Literal["sigmoid"] | None = None,
        initial_bias: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.features, self.hidden = int(features), tuple(int(units) for units in hidden)
        self.dropout, self.negative_slope = tuple(float(rate) for rate in dropout), float(negative_slope)
        self.output_activation, self.initial_bias = output_activation, float(initial_bias)
        kind = type(self).__name__
        if min((self.features, *self.hidden)) < 1:
            raise ValueError(f"{kind} needs sizes of at least 1. Received: features={features}, hidden={hidden}")
        if len(self.dropout) != len(self.hidden) or not all(0 <= rate < 1 for rate in self.dropout):
            raise ValueError(
                f"{kind}: dropout must be a rate for each of the {len(self.hidden)} hidden layers, at least 0 and "
                f"below 1. Received: dropout={dropout}"
            )
        if output_activation not in _ACTIVATIONS:
            raise unknown_name("output_activation", output_activation, map(str, _ACTIVATIONS))
        policy: dict[str, Any] = {"dtype": self.dtype_policy}
        bias = keras.initializers.Constant(self.initial_bias)
        self.linear = [
            keras.layers.Dense(units, bias_initializer=bias, name=f"linear_{index}", **policy)
            for index, units in enumerate((*self.hidden, self.features), 1)
        ]
        self.drop = [keras.layers.Dropout(rate, name=f"drop_{i}", **policy) for i, rate in enumerate(self.dropout, 1)]

    @classmethod
    def zs3(cls, features: int = 256, **kwargs: Any) -> Self:
        """ZS3Net's: one hidden layer of 256 units; 219,648 weights for word vectors and noise of 300 each.

        Args:
            features: channels of what is generated.
            kwargs: as the class takes them.
        """
        return cls(features, (256,), (0.5,), initial_bias=0.01, **kwargs)

    def _build(self, embeddings_shape: Shape, noise_shape: Shape) -> None:
        channels: int | None = (embeddings_shape[-1] or 0) + (noise_shape[-1] or 0)
        for linear in self.linear:
            linear.build((*embeddings_shape[:-1], channels))
            channels = linear.units

    def _generate(self, embeddings: Any, noise: Any, training: bool | None, adjacency: Any = None) -> Any:
        """The layers in order, each behind a mixing of the nodes by `adjacency` where that is given."""
        x = ops.concatenate([embeddings, noise], axis=-1)
        for index, linear in enumerate(self.linear):
            x = linear(x if adjacency is None else ops.matmul(adjacency, x))
            if index < len(self.drop):
                x = self.drop[index](ops.leaky_relu(x, self.negative_slope), training=training)
        return _ACTIVATIONS[self.output_activation](x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "features": self.features,
            "hidden": list(self.hidden),
            "dropout": list(self.dropout),
            "negative_slope": self.negative_slope,
            "output_activation": self.output_activation,
            "initial_bias": self.initial_bias,
        }


@keras.saving.register_keras_serializable(package="kzoo")
class FeatureGenerator(_Perceptron):
    """A perceptron from word vectors and noise to features, applied to each element (pixel) on its own.

    Each hidden layer is a linear map, a leaky ReLU and dropout; the last is a linear map. `zs3` and `cagnet` are the
    published forms. Dropout is part of the noise: call it with `training=True` wherever features are drawn.

    Args:
        features: channels of what is generated.
        hidden: units of each hidden layer.
        dropout: rate behind each hidden layer.
        negative_slope: of the leaky ReLU.
        output_activation: `None` or `"sigmoid"`.
        initial_bias: the value that all biases begin with. Kernels begin as Glorot's (Xavier's) uniform.

    Call arguments:
        embeddings: word vectors (..., E).
        noise: (..., Z), with the same leading axes.

    Output shape: (..., features).

    Raises: `ValueError` for sizes below 1, another number of rates than of hidden layers, rates outside of [0, 1), or
        an unknown activation.
    References: Bucher et al., Zero-Shot Semantic Segmentation, NeurIPS 2019, arXiv 1906.00817, section 3; Gu et al.,
        CaGNet, ACM MM 2020, arXiv 2008.06893, section 3.3.
    """

    @classmethod
    def cagnet(cls, features: int = 600, form: Literal["paper", "code"] = "code", **kwargs: Any) -> Self:
        """CaGNet's, whose noise is the contextual latent code.

        The published code has five hidden layers and a sigmoid at the end, 4,720,088 weights for word vectors and
        codes of 600 each. The paper has one of 512 units, and as there is no sigmoid around its features, none here.

        Args:
            features: channels of what is generated.
            form: `"paper"` or `"code"`.
            kwargs: as the class takes them.
        """
        if form == "paper":
            return cls(features, (512,), (0.5,), **kwargs)
        if form == "code":
            rates = (0.1, 0.1, 0.3, 0.5, 0.5)
            return cls(features, (1024, 960, 864, 784, 720), rates, output_activation="sigmoid", **kwargs)
        raise unknown_name("form of CaGNet's generator", form, ("paper", "code"))

    def build(self, embeddings_shape: Shape, noise_shape: Shape) -> None:
        self._build(embeddings_shape, noise_shape)

    def call(self, embeddings: Any, noise: Any, training: bool | None = None) -> Any:
        return self._generate(embeddings, noise, training)

    def compute_output_shape(self, embeddings_shape: Shape, noise_shape: Shape) -> Shape:
        return (*embeddings_shape[:-1], self.features)


@keras.saving.register_keras_serializable(package="kzoo")
class GraphFeatureGenerator(_Perceptron):
    """A generator whose classes know which classes they touch: graph convolutions, one node a class.

    Each layer first replaces a node by the mean of itself and its neighbours, `A X W + b` with the row-normalised
    adjacency `A` (see `class_adjacency`); otherwise it is `FeatureGenerator`, whose arguments it has. Several features
    of each class come from several draws of noise along leading axes, along which `A` may have length 1.

    Call arguments:
        embeddings: word vectors (..., C, E).
        noise: (..., C, Z), with the same leading axes.
        adjacency: (..., C, C), rows with sum 1.

    Output shape: (..., C, features).

    References: Bucher et al., Zero-Shot Semantic Segmentation, NeurIPS 2019, arXiv 1906.00817, section 3.2; Kipf and
        Welling, Semi-Supervised Classification with Graph Convolutional Networks, ICLR 2017.
    """

    def build(self, embeddings_shape: Shape, noise_shape: Shape, adjacency_shape: Shape) -> None:
        self._build(embeddings_shape, noise_shape)

    def call(self, embeddings: Any, noise: Any, adjacency: Any, training: bool | None = None) -> Any:
        return self._generate(embeddings, noise, training, adjacency)

    def compute_output_shape(self, embeddings_shape: Shape, noise_shape: Shape, adjacency_shape: Shape) -> Shape:
        return (*embeddings_shape[:-1], self.features)


def class_adjacency(labels: Any, num_classes: int, ignore_label: int = 255) -> Any:
    """Which classes touch in each picture, as the graph that `GraphFeatureGenerator` takes.

    Two classes touch where a pixel of one lies above, below, left or right of a pixel of the other. Every class, also
    one that is not in the picture, touches itself. Pixels that are ignored or no class touch nothing, so that a rim of
    them, as PASCAL VOC's objects have, parts what it lies between: the coarser the labels, the less of it is left.

    Args:
        labels: integers (B, h, w).
        num_classes: number C of classes.
        ignore_label: label of the pixels that do not count.

    Returns: float32 (B, C, C), symmetric but for the normalisation: every row has sum 1.
    """
    labels = ops.cast(labels, "int32")
    counted = ops.logical_and(ops.not_equal(labels, ignore_label), labels >= 0)
    labels = ops.where(counted, ops.minimum(labels, num_classes), num_classes)
    batch, pairs = ops.shape(labels)[0], num_classes * num_classes
    counts: Any = 0
    for one, other in ((labels[:, 1:], labels[:, :-1]), (labels[:, :, 1:], labels[:, :, :-1])):
        # Pairs with a pixel that does not count go to a bin behind the matrix.
        bins = ops.where(ops.maximum(one, other) < num_classes, one * num_classes + other, pairs)
        counts = counts + ops.bincount(ops.reshape(bins, (batch, -1)), minlength=pairs + 1)[:, :pairs]
    touching = ops.reshape(counts, (batch, num_classes, num_classes)) > 0
    touching = ops.logical_or(touching, ops.swapaxes(touching, 1, 2))
    touching = ops.logical_or(touching, ops.eye(num_classes, dtype="bool"))
    adjacency = ops.cast(touching, "float32")
    return adjacency / ops.sum(adjacency, axis=-1, keepdims=True)
