"""ZS3Net: a classifier trained on real features of seen classes and generated ones of unseen classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import keras
import tensorflow as tf
from keras import ops

from kzoo.backbones.backbone import full_precision
from kzoo.losses import ZS3_BANDWIDTHS, cross_entropy, mmd
from kzoo.models.zero_shot.generators import FeatureGenerator, GraphFeatureGenerator, class_adjacency
from kzoo.models.zero_shot.network import ZeroShotSegmenter
from kzoo.models.zero_shot.sampling import pixels_of, sample_by_class


@keras.saving.register_keras_serializable(package="kzoo")
class ZS3Net(ZeroShotSegmenter):
    """Features of a class from its word and noise, as like to the real ones as the maximum mean discrepancy can tell.

    Each step moves the classifier on all real pixels and on `samples` generated ones of each unseen class, and the
    generator on `samples` pixels of each seen class in the batch. (The paper trains one after the other, the
    authors' code both in each step.) Backbone and head have been trained before, on the same seen classes:
    `freeze_features` leaves them so.

    Args:
        noise_size: length of the noise.
        noise: its distribution, `"uniform"` in 0..1 as in the authors' code, or `"normal"` as in the paper.
        hidden, dropout: of the generator, see `FeatureGenerator`.
        graph: the paper's graph context: a class's features depend on the classes that it touches, too, see
            `GraphFeatureGenerator`. The graphs are those of the batch's pictures; an unseen class is given the place
            of a seen one.
        bandwidths: of the discrepancy's Gaussian kernels.
        samples: pixels a class and step.
        unseen_weight: weight of the generated pixels' mean cross-entropy, beside the real pixels'.
        Others: see `ZeroShotSegmenter`.

    Reference: Bucher et al., Zero-Shot Semantic Segmentation, NeurIPS 2019, arXiv 1906.00817.
    """

    HEAD_OF_LOSS: ClassVar[dict[str, str]] = {
        "ce_loss": "logits",
        "unseen_loss": "generated",
        "generator_loss": "generated",
    }

    def __init__(
        self,
        num_classes: int,
        *,
        noise_size: int = 300,
        noise: Literal["uniform", "normal"] = "uniform",
        hidden: Sequence[int] = (256,),
        dropout: Sequence[float] = (0.5,),
        graph: bool = False,
        bandwidths: Sequence[float] = ZS3_BANDWIDTHS,
        samples: int = 128,
        unseen_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        self._method_config: dict[str, Any] = {
            "noise_size": noise_size,
            "noise": noise,
            "hidden": list(hidden),
            "dropout": list(dropout),
            "graph": bool(graph),
            "bandwidths": list(bandwidths),
            "samples": samples,
            "unseen_weight": unseen_weight,
        }
        if noise not in ("uniform", "normal"):
            raise ValueError(f"ZS3Net: noise must be uniform or normal. Received: noise={noise!r}")
        self.noise_size, self.noise, self.samples = int(noise_size), noise, int(samples)
        self.bandwidths, self.unseen_weight = tuple(bandwidths), float(unseen_weight)
        self.graph = bool(graph)
        kind = GraphFeatureGenerator if self.graph else FeatureGenerator
        self.generator = kind(self.head.filters, hidden, dropout, initial_bias=0.01, name="generator")
        self.classifier = keras.layers.Conv2D(self.num_classes, 1, dtype=full_precision(), name="classifier")
        self.phases = {"both": 1}
        self.seed = keras.random.SeedGenerator()
        self.build()

    def build(self, input_shape: Any = None) -> None:
        graph = [(None, None)] if self.graph else []
        self.generator.build((None, self.embedding_size), (None, self.noise_size), *graph)
        super().build(input_shape)

    def classify(self, features: Any, training: bool | None = None) -> Any:
        return self.classifier(features)

    def classifier_parts(self) -> tuple[Callable[[Any], Any], keras.layers.Conv2D]:
        """What comes before the last convolution, and that."""
        return (lambda features: features), self.classifier

    def generate(self, classes: Sequence[int], count: int, adjacency: Any = None, training: bool | None = None) -> Any:
        """Features (len(classes), count, D) of classes, from their embeddings and noise.

        With `graph`, `adjacency` (count, C, C) is the graph that each of the features stands in; without it classes
        stand alone.
        """
        if not self.graph:
            words = pixels_of(self.embeddings, classes, count)
            return self.generator(words, self._noise(words), training=training)
        words = ops.tile(self.embeddings[None], (count, 1, 1))
        if adjacency is None:
            adjacency = ops.eye(self.num_classes)[None]
        everything = self.generator(words, self._noise(words), adjacency, training=training)
        return ops.take(ops.swapaxes(everything, 0, 1), ops.convert_to_tensor(list(classes)), axis=0)

    def _noise(self, words: Any) -> Any:
        draw = keras.random.uniform if self.noise == "uniform" else keras.random.normal
        return draw((*words.shape[:2], self.noise_size), seed=self.seed)

    def _other_groups(self) -> dict[str, list[Any]]:
        return {"generator_optimizer": self.generator.trainable_variables}

    def turn(self, images: Any, labels: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            features = self.pixel_features(images)
            places = self.labels_at(labels, features)
            logits = self.never_ignored(self.classify(features, training=True))
            real_loss = self.cross_entropy(self.with_own_labels(places, logits), logits)
            graphs = self._graphs(places)
            unseen_loss = self._unseen_loss(graphs)
            total = real_loss + self.unseen_weight * unseen_loss
        self.minimize(self.optimizer, tape, total, self.segmentation_variables)
        real, valid = sample_by_class(ops.stop_gradient(features), places, self.seen, self.samples, self.seed)
        with tf.GradientTape() as tape:
            generated = self.generate(self.seen, self.samples, graphs, training=True)
            generator_loss = mmd(real, generated, bandwidths=self.bandwidths, real_weights=valid)
        self.minimize(
            self.all_optimizers()["generator_optimizer"], tape, generator_loss, self.generator.trainable_variables
        )
        return {"ce_loss": real_loss, "unseen_loss": unseen_loss, "generator_loss": generator_loss}

    def _unseen_loss(self, graphs: Any) -> Any:
        drawn = [
            self.generate((label,), self.samples, self._in_place_of_seen(graphs, label), training=True)
            for label in self.unseen
        ]
        generated = ops.stop_gradient(ops.concatenate(drawn))
        logits = self.never_ignored(self.classify(generated[None], training=True))
        labels = ops.repeat(ops.convert_to_tensor([list(self.unseen)])[..., None], self.samples, axis=2)
        return cross_entropy(labels, logits, ignore_label=self.ignore_label)

    def _graphs(self, labels: Any) -> Any:
        """The graph of a picture of the batch for each sample, (samples, C, C); None where there are no graphs."""
        if not self.graph:
            return None
        graphs = class_adjacency(labels, self.num_classes, self.ignore_label)
        drawn = keras.random.randint((self.samples,), 0, ops.shape(graphs)[0], seed=self.seed)
        return ops.take(graphs, drawn, axis=0)

    def _in_place_of_seen(self, graphs: Any, label: int) -> Any:
        """The graphs with `label` and a seen class that has neighbours, drawn for each, changed for each other."""
        if graphs is None:
            return None
        diagonal = ops.diagonal(graphs, axis1=1, axis2=2)  # below 1 where a class touches another
        chances = keras.random.uniform(ops.shape(diagonal), seed=self.seed) * ops.cast(diagonal < 1, "float32")
        chosen = ops.cast(ops.argmax(chances, axis=1), "int32")[:, None]
        chosen = ops.where(ops.max(chances, axis=1, keepdims=True) > 0, chosen, label)
        order = ops.arange(self.num_classes, dtype="int32")[None]
        order = ops.where(order == label, chosen, ops.where(order == chosen, label, order))
        rows = ops.take_along_axis(graphs, order[:, :, None], axis=1)
        return ops.take_along_axis(rows, order[:, None, :], axis=2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._method_config}
