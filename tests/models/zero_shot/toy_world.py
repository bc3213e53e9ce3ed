"""A world in which it is known what can be known: pixel features made of class embeddings and a context.

A pixel's feature is a nonlinear map of its class's embedding and of a smooth field over the picture, and noise. Whoever
learns the map from the seen classes knows the features of the unseen ones.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

CLASSES, EMBEDDING, FEATURES, CONTEXT = 24, 6, 24, 2
UNSEEN = (3, 9, 15, 21)
SIDE = 12
NOISE = 0.5


class World:
    """The map, and pictures of it: (class, context 1, context 2) where other pictures have RGB."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        vectors = self.rng.normal(size=(CLASSES, EMBEDDING))
        self.embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")
        self.of_class = (self.rng.normal(size=(EMBEDDING, FEATURES)) * 1.5).astype("float32")
        self.of_context = (self.rng.normal(size=(CONTEXT, FEATURES)) * 1.0).astype("float32")

    def pictures(self, count: int, classes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (count, SIDE, SIDE, 3) and masks in which each block of 3x3 pixels has one of `classes`."""
        blocks = self.rng.choice(classes, (count, SIDE // 3, SIDE // 3))
        masks = blocks.repeat(3, axis=1).repeat(3, axis=2)
        coarse = self.rng.normal(size=(count, 3, 3, CONTEXT)).astype("float32")
        context = tf.image.resize(coarse, (SIDE, SIDE)).numpy()
        return np.concatenate([masks[..., None], context], axis=-1).astype("float32"), masks.astype("int32")

    def features(self, pictures: tf.Tensor) -> tf.Tensor:
        """(B, SIDE, SIDE, FEATURES)."""
        words = tf.gather(self.embeddings, tf.cast(pictures[..., 0], tf.int32))
        clean = tf.nn.leaky_relu(words @ self.of_class + pictures[..., 1:] @ self.of_context, 0.3)
        return clean + NOISE * tf.random.normal(tf.shape(clean))


def in_world(method: type, world: World) -> type:
    """A zero-shot network of this kind whose pictures and features are the world's."""

    class InWorld(method):
        def pixel_features(self, images):
            return world.features(images)

        def call(self, images, training=None, refine=True):
            if isinstance(images, keras.KerasTensor) or images.shape[-1] != 3:
                return super().call(images, training=training)
            logits = self.classify(world.features(images), training=training)
            return {"logits": logits} if training else logits

    return InWorld
