"""What the zero-shot networks share: a split, class embeddings, pixel features, and training in turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kzoo.errors import unknown_name
from kzoo.layers.resize import corner_aligned
from kzoo.losses.replicas import replica_count
from kzoo.models.deeplab_v2 import DeepLabV2Head
from kzoo.models.deeplab_v3plus import DeepLabV3PlusHead
from kzoo.models.segmenter import Segmenter
from kzoo.shapes import class_map

HEADS: dict[str, type[keras.layers.Layer]] = {"deeplab_v2": DeepLabV2Head, "deeplab_v3plus": DeepLabV3PlusHead}


class ZeroShotSegmenter(Segmenter):
    """A network that knows some of its classes from their words alone.

    Pictures become pixel features by a backbone and a head, which are trained on seen classes; a classifier tells all
    classes apart. Labels of unseen classes never reach a loss: `seen_labels` takes them out whatever the data holds.
    The class embeddings are a weight of the network (`set_embeddings`), so that a saved network has them.

    Subclasses write `classify`, and those that learn from generated features `phases` and `turn`.

    Args:
        num_classes: number of all classes, seen and unseen and ignored.
        unseen: labels of the classes without training pictures.
        ignored: labels of classes that are neither trained nor evaluated, and never predicted.
        embedding_size: length of the class embeddings.
        head: the layers between backbone and features, `"deeplab_v2"` or `"deeplab_v3plus"`.
        head_args: further arguments of the head's layer (`filters`, `low_level`, `separable`, ...).
        freeze_features: whether backbone and head stay as they are in training, dropout switched off.
        self_training: share of the batch's unlabelled pixels of which the network says that they are of an unseen
            class, the surest ones, that are trained on as such; 0 is none. For a second run that starts from a trained
            network, on pictures whose unseen classes are unlabelled (`unseen_pictures: ignore` of a recipe).
        backbone, output_stride, backbone_args, backbone_weights, align_corners, ignore_label, class_weights: see
            `Segmenter`.

    Raises: `ValueError` for labels outside of the classes, a class that is unseen and ignored, no unseen or no seen
        class, or an unknown head.
    """

    HEAD_OF_LOSS: ClassVar[dict[str, str]] = {"ce_loss": "logits"}
    # The phases in which `optimizer` moves nothing.
    RESTING: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        num_classes: int,
        *,
        unseen: Sequence[int],
        embedding_size: int,
        ignored: Sequence[int] = (),
        backbone: str = "resnet101",
        output_stride: int = 16,
        head: str = "deeplab_v3plus",
        head_args: dict[str, Any] | None = None,
        freeze_features: bool = False,
        self_training: float = 0.0,
        backbone_weights: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes, backbone=backbone, output_stride=output_stride, backbone_weights=backbone_weights, **kwargs
        )
        # In which turns training goes, and how many steps each takes before the next one comes; none is Keras' own way.
        self.phases: dict[str, int] = {}
        self._steps_ahead = 0  # of the first phase, before the turns begin
        self.unseen, self.ignored = tuple(sorted(unseen)), tuple(sorted(ignored))
        self.seen = tuple(label for label in range(self.num_classes) if label not in (*self.unseen, *self.ignored))
        self._check_split()
        if head not in HEADS:
            raise unknown_name("head", head, HEADS)
        if embedding_size < 1:
            raise ValueError(f"embedding_size must be the length of the class embeddings. Received: {embedding_size!r}")
        self._zero_shot_config: dict[str, Any] = {
            "unseen": list(self.unseen),
            "ignored": list(self.ignored),
            "embedding_size": int(embedding_size),
            "head": head,
            "head_args": dict(head_args or {}),
            "freeze_features": bool(freeze_features),
            "self_training": float(self_training),
        }
        if not 0 <= self_training <= 1:
            raise ValueError(f"self_training must be a share, 0 to 1. Received: self_training={self_training!r}")
        self.self_training = float(self_training)
        self.embedding_size, self.freeze_features = int(embedding_size), bool(freeze_features)
        resizing = {} if head == "deeplab_v2" else {"align_corners": self.align_corners}
        self.head = HEADS[head](**{**resizing, **(head_args or {})}, name="head")
        self.embeddings = self.add_weight(
            shape=(self.num_classes, self.embedding_size), initializer="zeros", trainable=False, name="embeddings"
        )
        if self.freeze_features:
            self.backbone.trainable = self.head.trainable = False

    def _check_split(self) -> None:
        for name, labels in (("unseen", self.unseen), ("ignored", self.ignored)):
            if len(set(labels)) != len(labels) or any(not 0 <= label < self.num_classes for label in labels):
                raise ValueError(
                    f"{name} must be different labels in 0..{self.num_classes - 1}. Received: {name}={list(labels)}"
                )
        both = sorted(set(self.unseen) & set(self.ignored))
        if both:
            raise ValueError(f"A class is unseen or ignored, not both. Received in both: {both}")
        if not self.unseen or not self.seen:
            raise ValueError(
                "A zero-shot network needs seen and unseen classes. Received: "
                f"num_classes={self.num_classes}, unseen={list(self.unseen)}, ignored={list(self.ignored)}"
            )

    def set_embeddings(self, vectors: Any) -> None:
        """Sets the class embeddings, (num_classes, embedding_size), in label order.

        Raises: `ValueError` for another shape, or values that are not finite.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.shape != (self.num_classes, self.embedding_size) or not np.isfinite(vectors).all():
            raise ValueError(
                f"Expected finite embeddings ({self.num_classes}, {self.embedding_size}), one row a class. Received: "
                f"{vectors.shape}{'' if np.isfinite(vectors).all() else ', some of them not finite'}"
            )
        self.embeddings.assign(vectors)

    # The way of a picture -------------------------------------------------------------------------------------------

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        x = self.head(features, training=False if self.freeze_features else training)
        return {"logits": self.never_ignored(self.classify(x, training=training))}

    def classify(self, features: Any, training: bool | None = None) -> Any:
        """Logits of all classes (B, h, w, num_classes) of the head's features (B, h, w, D)."""
        raise NotImplementedError

    def pixel_features(self, images: Any) -> Any:
        """The head's features of pictures in training; without gradient where they are frozen."""
        training = not self.freeze_features
        pictures = self.preprocessing(images)
        x = self.head({"image": pictures, **self.backbone(pictures, training=training)}, training=training)
        return x if training else ops.stop_gradient(x)

    def taken_from(self, other: Segmenter) -> list[Any]:
        """All of a network of the same kind; backbone and head of another one."""
        if isinstance(other, type(self)):
            return super().taken_from(other)
        return [*self.backbone.weights, *self.head.weights]

    def never_ignored(self, logits: Any) -> Any:
        """The logits with those of ignored classes so low that no pixel takes them."""
        return logits if not self.ignored else logits + self._where(self.ignored, -1e4)

    def _where(self, labels: Sequence[int], value: float) -> Any:
        """(num_classes,) with `value` at `labels` and 0 elsewhere."""
        row = np.zeros(self.num_classes, np.float32)
        row[list(labels)] = value
        return ops.convert_to_tensor(row)

    # Training -------------------------------------------------------------------------------------------------------

    def seen_labels(self, labels: Any, images: Any) -> Any:
        """The class map (B, H, W) int32 in which every label that is not a seen class's is the ignore label."""
        labels = ops.cast(class_map(labels, images), "int32")
        is_seen = ops.take(self._where(self.seen, 1.0) > 0, ops.clip(labels, 0, self.num_classes - 1))
        is_class = ops.logical_and(labels >= 0, labels < self.num_classes)
        return ops.where(ops.logical_and(is_class, is_seen), labels, self.ignore_label)

    def labels_at(self, labels: Any, features: Any) -> Any:
        """The labels (B, h, w) at the places of the features, as the logits are resized back from there."""
        if self.align_corners:
            return corner_aligned(labels, features)
        for axis in (1, 2):
            there, here = tf.shape(labels)[axis], tf.shape(features)[axis]
            labels = tf.gather(labels, ((2 * tf.range(here) + 1) * there) // (2 * here), axis=axis)
        return labels

    def with_own_labels(self, labels: Any, logits: Any) -> Any:
        """The labels (B, h, w) with the surest unlabelled pixels of unseen classes as the network labels them."""
        if not self.self_training:
            return labels
        chances = ops.softmax(ops.stop_gradient(logits))
        chosen = ops.cast(ops.argmax(chances, axis=-1), labels.dtype)
        is_unseen = ops.take(self._where(self.unseen, 1.0) > 0, chosen)
        free = ops.logical_and(ops.equal(labels, self.ignore_label), is_unseen)
        sureness = ops.where(free, ops.max(chances, axis=-1), 0.0)
        count = ops.cast(ops.ceil(self.self_training * ops.sum(ops.cast(free, "float32"))), "int32")
        least = ops.take(ops.flip(ops.sort(ops.reshape(sureness, (-1,)))), ops.maximum(count - 1, 0))
        return ops.where(ops.logical_and(free, sureness >= least), chosen, labels)

    def head_losses(self, labels: Any, outputs: dict[str, Any]) -> dict[str, tuple[float, Any]]:
        logits = outputs["logits"]
        return {"ce_loss": (1.0, self.cross_entropy(self.seen_labels(labels, logits), logits))}

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        for name in self.HEAD_OF_LOSS:  # those of generated features, too, which are no outputs
            if name not in self._head_losses:
                self._head_losses[name] = keras.metrics.Mean(name=name)

    def compile(
        self,
        optimizer: Any = "adam",
        *,
        generator_optimizer: Any = "adam",
        discriminator_optimizer: Any = "adam",
        **kwargs: Any,
    ) -> None:
        """As Keras' `compile`, with an optimizer for each further part that the network has."""
        super().compile(optimizer=optimizer, **kwargs)
        further = {"generator_optimizer": generator_optimizer, "discriminator_optimizer": discriminator_optimizer}
        # In a place where Keras does not look for what belongs into a file of weights.
        self._further_optimizers = SimpleNamespace(
            **{name: keras.optimizers.get(further[name]) for name in self._other_groups()}
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Nothing: a loaded network is not compiled. What a run's optimizers had come to is in its folder."""

    @property
    def segmentation_variables(self) -> list[Any]:
        """The trainable variables that `optimizer` moves: those that no further optimizer does."""
        others = {id(variable) for group in self._other_groups().values() for variable in group}
        return [variable for variable in self.trainable_variables if id(variable) not in others]

    def _other_groups(self) -> dict[str, list[Any]]:
        """The variables of each further optimizer, by the optimizer's name."""
        return {}

    @property
    def optimizer_names(self) -> tuple[str, ...]:
        return (*super().optimizer_names, *self._other_groups())

    def all_optimizers(self) -> dict[str, Any]:
        return super().all_optimizers() | vars(self._further_optimizers)

    def build_optimizers(self) -> None:
        super().build_optimizers()
        for name, variables in self._other_groups().items():
            self.all_optimizers()[name].build(variables)

    def turn(self, images: Any, labels: Any) -> dict[str, Any]:
        """One step of the phase `self.phase`: moves variables, returns losses by the names of `HEAD_OF_LOSS`."""
        raise NotImplementedError

    def train_step(self, data: Any) -> dict[str, Any]:
        if not self.phases:
            return super().train_step(data)
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None:
            raise ValueError(f"{type(self).__name__} takes no sample_weight: mark pixels with the ignore label.")
        losses = self.turn(images, self.seen_labels(labels, images))
        self._loss_tracker.update_state(sum(losses.values()) * replica_count())
        for name, value in losses.items():
            self._head_losses[name].update_state(value * replica_count())
        return self.get_metrics_result()

    def make_train_function(self, force: bool = False) -> Any:
        """With phases, one graph for each; which one a step takes depends on the number of steps done alone."""
        if not self.phases or (getattr(self, "train_function", None) is not None and not force):
            return super().make_train_function(force)
        if self.steps_per_execution != 1:
            raise ValueError(f"{type(self).__name__} changes phases between steps: steps_per_execution must be 1.")
        with self.distribute_strategy.scope():
            self.build_optimizers()
        self.train_function: Any
        functions: dict[str, Callable[[Any], Any]] = {}
        for phase in self.phases:
            super().make_train_function(force=True)
            functions[phase] = self.train_function

        def train(iterator: Any) -> Any:
            # A graph is traced at its first call, so that the phase must be set at the time.
            self.phase = self._phase_of(int(ops.convert_to_numpy(self.steps_done)))
            return functions[self.phase](iterator)

        self.train_function = train
        return train

    def expect_steps(self, steps: int) -> int:
        """Arranges the turns so that training ends with a whole one of the last phase: what is over comes first.

        Training that ends in another phase ends with a classifier that leans to the seen classes. Fewer steps than each
        phase takes once change nothing.

        Returns: how many of the steps move `optimizer`, for its schedule.
        """
        turns = sum(self.phases.values())
        self._steps_ahead = steps % turns if 0 < turns <= steps else 0
        return sum(self._phase_of(step) not in self.RESTING for step in range(steps))

    def _phase_of(self, step: int) -> str:
        place = max(0, step - self._steps_ahead) % max(1, sum(self.phases.values()))
        for phase, steps in self.phases.items():
            if place < steps:
                return phase
            place -= steps
        return ""  # without phases

    @property
    def steps_done(self) -> Any:
        """Steps trained, of all phases: the count of an optimizer that moves in each."""
        return self.optimizer.iterations

    def minimize(self, optimizer: Any, tape: tf.GradientTape, loss: Any, variables: list[Any]) -> None:
        """One step of `optimizer` down the gradient of `loss`; variables that it does not depend on rest."""
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(tape.gradient(loss, variables), variables, strict=True)
            if gradient is not None
        ]
        optimizer.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._zero_shot_config}
