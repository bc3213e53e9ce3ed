"""What all segmentation networks share: the door for pictures, the heads' losses, prediction, serialisation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from kzoo import backbones
from kzoo.backbones import Backbone
from kzoo.backbones.backbone import full_precision, picture_input
from kzoo.errors import unknown_name
from kzoo.layers import Normalize, Resize
from kzoo.layers.resize import corner_aligned
from kzoo.losses import cross_entropy, semantic_encoding_loss
from kzoo.losses.replicas import replica_count
from kzoo.shapes import class_map

MOST_CLASSES = 255


class Segmenter(keras.Model):
    """A segmentation network: RGB pictures (B, H, W, 3) in 0..255 to logits (B, H, W, num_classes).

    `model(images)` gives the logits; `model(images, training=True)` a dict of all heads. With `refine` a CRF sharpens
    the logits along the picture's edges; `model(images, refine=False)` are those before it. After `compile(optimizer)`,
    `fit` on a dataset of (image, mask) trains all heads with the network's own losses: cross-entropy on `logits`,
    `aux_weight` times cross-entropy on `aux`, `se_weight` times the semantic-encoding loss on every head whose name
    begins with `se_logits`. A loss given to `compile` takes the place of all of them and sees the logits alone.

    Subclasses build their heads and write `heads(features, training)`; those with losses of their own write
    `head_losses` and `HEAD_OF_LOSS`, too.

    Args:
        num_classes: number of classes.
        backbone: a name of `kzoo.backbones.names()`.
        output_stride: of the backbone, 8, 16 or 32.
        backbone_args: further arguments of the backbone's builder (`stem`, `width`).
        backbone_weights: `None`, `"imagenet"` or a path, as the backbone takes them. Not part of the model's config:
            a model that is loaded from a file gets its weights from there.
        align_corners: whether logits are resized corner-aligned (as published) or at half-pixel centres.
        ignore_label: label of the pixels that no loss counts.
        class_weights: weights of the classes in the cross-entropies, or none.
        aux_weight: weight of the auxiliary head's cross-entropy.
        se_weight: weight of the semantic-encoding losses.
        refine: the CRF behind the network, `model.refinement`, at the picture's size: `"dense"` is post-processing,
            which training leaves out; `"rnn"` and `"conv"` have weights and are trained with the network.
        refine_args: arguments of the CRF's layer, and `preset`, a name of `kzoo.crf.PRESETS`: see `kzoo.crf.create`.
    """

    # Under which name each loss is logged, and a head without which there is none.
    HEAD_OF_LOSS: ClassVar[dict[str, str]] = {"ce_loss": "logits", "aux_loss": "aux", "se_loss": "se_logits"}
    # Whether training compares the logits at feature resolution with the labels at their places.
    shrink_labels = False
    # Features of the backbone that the heads cannot do without.
    required_features: tuple[str, ...] = ("c4",)

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str,
        output_stride: int,
        backbone_args: dict[str, Any] | None = None,
        backbone_weights: str | os.PathLike[str] | None = None,
        align_corners: bool = True,
        ignore_label: int = 255,
        class_weights: Sequence[float] | None = None,
        aux_weight: float = 0.2,
        se_weight: float = 0.2,
        refine: Literal["dense", "rnn", "conv"] | None = None,
        refine_args: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        # Pictures reach the first layer as they are: a half-precision policy must not round 0..255 at the door.
        super().__init__(name=name, autocast=False)
        if isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer)) or num_classes < 1:
            raise ValueError(f"num_classes must be a positive integer. Received: num_classes={num_classes!r}")
        if num_classes > MOST_CLASSES:
            raise ValueError(
                f"num_classes can be at most {MOST_CLASSES}: masks have 8 bits. Received: num_classes={num_classes!r}"
            )
        if class_weights is not None and len(class_weights) != num_classes:
            raise ValueError(
                f"class_weights must have one weight for each of the {num_classes} classes. "
                f"Received {len(class_weights)} weights: {list(class_weights)}"
            )
        self._refine_config = {"refine": refine, "refine_args": dict(refine_args or {})}
        self.refinement = _refinement(refine, refine_args or {})
        self.num_classes = int(num_classes)
        self.ignore_label, self.align_corners = int(ignore_label), bool(align_corners)
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        self.aux_weight, self.se_weight = float(aux_weight), float(se_weight)
        self.class_names = tuple(f"class {index}" for index in range(self.num_classes))
        self.palette: tuple[tuple[int, int, int], ...] = ()
        # Height and width of the pictures that the weights learned from, as far as a card or a recipe tells.
        self.trained_size: tuple[int, int] | None = None
        self._backbone_config = {
            "backbone": backbone,
            "output_stride": output_stride,
            "backbone_args": dict(backbone_args or {}),
        }
        self.backbone: Backbone = backbones.create(
            backbone, output_stride=output_stride, weights=backbone_weights, **(backbone_args or {})
        )
        if not set(self.required_features) <= self.backbone.channels.keys():
            raise ValueError(
                f"{type(self).__name__} builds on the features {', '.join(self.required_features)}; the backbone "
                f"{backbone!r} has {', '.join(self.backbone.channels)}."
            )
        preprocessing = self.backbone.preprocessing
        self.preprocessing = Normalize(
            preprocessing.scale, preprocessing.offset, preprocessing.bgr, dtype=full_precision(), name="preprocessing"
        )
        self.to_input_size = self._make_to_input_size()
        self._head_losses: dict[str, keras.metrics.Mean] = {}

    def _make_to_input_size(self) -> keras.Layer:
        """What brings the heads' maps to the size of the pictures, called with both."""
        return Resize(align_corners=self.align_corners, dtype=full_precision(), name="to_input_size")

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        """All heads' outputs: `logits` at feature resolution, and when training also `aux`, `se_logits`, ...

        `features` are the backbone's, and `image`, the pictures as the backbone takes them.
        """
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Creates the weights; subclasses call it at the end of their constructor."""
        if self._head_losses:
            return
        # One symbolic pass in training mode creates the weights of all heads, the auxiliary ones too.
        outputs = self.call(picture_input(), training=True)
        self.built = True
        for name, head in self.HEAD_OF_LOSS.items():
            if head in outputs:
                self._head_losses[name] = keras.metrics.Mean(name=name)

    def call(self, images: Any, training: bool | None = None, refine: bool = True) -> Any:
        pictures = self.preprocessing(images)
        outputs = self.heads({"image": pictures, **self.backbone(pictures, training=training)}, training)
        post_processing = self._refine_config["refine"] == "dense"
        refine = refine and self.refinement is not None and not (training and post_processing)
        if training and self.shrink_labels and not refine:
            return outputs
        resized = {
            key: self.to_input_size(value, images) if len(value.shape) == 4 else value for key, value in outputs.items()
        }
        if refine:
            resized["logits"] = self.refinement(resized["logits"], images, training=training)
        return resized if training else resized["logits"]

    def freeze_backbone(self, until: str | None = None, *, batchnorm: bool = False) -> None:
        """Keeps parts of the backbone as they are in the training to come; call it before `compile()`.

        A frozen BatchNorm uses its stored statistics in training too. `model.backbone.trainable = False` freezes all.

        Args:
            until: the feature, a name in `model.backbone.strides`, up to which layers are frozen, with the layer that
                gives it.
            batchnorm: whether every BatchNorm of the backbone is frozen.

        Raises: `ValueError` if the backbone has no such feature.
        """
        layers = self.backbone.layers
        if until is not None:
            if until not in self.backbone.output:
                raise unknown_name("feature", until, self.backbone.output)
            last = self.backbone.output[until]._keras_history.operation
            for layer in layers[: layers.index(last) + 1]:
                layer.trainable = False
        if batchnorm:
            for layer in layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False

    # Losses -----------------------------------------------------------------------------------------------------

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        outputs = y_pred if isinstance(y_pred, dict) else {"logits": y_pred}
        y = self._labels_of(x, y, outputs["logits"])
        if self._compile_loss is not None:
            return super().compute_loss(x, y, outputs["logits"], sample_weight, training)
        if sample_weight is not None:
            raise ValueError(
                "The networks' own losses take no sample_weight: mark pixels with the ignore label "
                f"{self.ignore_label}, give class_weights to the model, or give a loss to compile()."
            )
        losses = self.head_losses(y, outputs)
        for key, (_, value) in losses.items():
            self._head_losses[key].update_state(value * replica_count())
        # The replicas' losses are summed: each adds its share of what the layers themselves ask for (regularisers).
        return sum(weight * value for weight, value in losses.values()) + sum(self.losses) / replica_count()

    def head_losses(self, labels: Any, outputs: dict[str, Any]) -> dict[str, tuple[float, Any]]:
        """The weight and the value of each head's loss, by the name it is logged under."""
        losses = {"ce_loss": (1.0, self.cross_entropy(labels, outputs["logits"]))}
        if "aux" in outputs:
            losses["aux_loss"] = (self.aux_weight, self.cross_entropy(labels, outputs["aux"]))
        presence = [value for key, value in outputs.items() if key.startswith("se_logits")]
        if presence:
            value = sum(semantic_encoding_loss(labels, logits, ignore_label=self.ignore_label) for logits in presence)
            losses["se_loss"] = (self.se_weight, value)
        return losses

    def cross_entropy(self, labels: Any, logits: Any) -> Any:
        """Cross-entropy with the network's ignore label and class weights."""
        return cross_entropy(labels, logits, ignore_label=self.ignore_label, class_weights=self.class_weights)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        outputs = y_pred if isinstance(y_pred, dict) else {"logits": y_pred}
        results = super().compute_metrics(x, self._labels_of(x, y, outputs["logits"]), outputs["logits"], sample_weight)
        # Losses of heads that are not there (all but the logits, in validation) are not reported as zeros.
        own = self._compile_loss is None
        missing = {name for name, head in self.HEAD_OF_LOSS.items() if not own or head not in outputs}
        return {key: value for key, value in results.items() if key not in missing}

    def _labels_of(self, images: Any, labels: Any, logits: Any) -> Any:
        """The labels at the places of the logits."""
        return corner_aligned(class_map(labels, images), logits) if self.shrink_labels else labels

    @property
    def optimizer_names(self) -> tuple[str, ...]:
        """The optimizers that `compile` takes: one, or in networks with generators several."""
        return ("optimizer",)

    def all_optimizers(self) -> dict[str, Any]:
        """What `compile` was given, by name."""
        return {"optimizer": self.optimizer}

    @property
    def segmentation_variables(self) -> list[Any]:
        """The trainable variables that `optimizer` moves: all, in networks with one optimizer."""
        return list(self.trainable_variables)

    def build_optimizers(self) -> None:
        """Creates the optimizers' variables, so that a run's state can be read into them."""
        self.optimizer.build(self.segmentation_variables)

    def expect_steps(self, steps: int) -> int:
        """How many of the steps that a training will take in all move `optimizer`: all of them."""
        return steps

    def taken_from(self, other: Segmenter) -> list[Any]:
        """The weights that training takes from `other`: all."""
        return list(self.weights)

    # Doors to other rooms -----------------------------------------------------------------------------------------

    def make_predict_function(self, force: bool = False) -> Any:
        """`predict` runs the inference graph: constants frozen, BatchNorm folded, made anew when a weight changes."""
        strategy = getattr(self, "distribute_strategy", None)  # the one that the model was made under
        if self.run_eagerly or (strategy is not None and strategy.num_replicas_in_sync > 1):
            return super().make_predict_function(force)
        from kzoo.inference import freeze

        frozen = freeze(self)

        def predict(batches: list[Any]) -> Any:
            logits = [frozen(keras.utils.unpack_x_y_sample_weight(batch)[0]) for batch in batches]
            return logits[0] if len(logits) == 1 else ops.concatenate(logits, axis=0)

        self.predict_function = predict
        return predict

    def predict_image(self, image: Any, **options: Any) -> np.ndarray:
        """The class map (H, W) uint8 of one picture at its own size; see `kzoo.inference.predict_mask`."""
        from kzoo.inference import predict_mask

        return predict_mask(self, image, **options)

    def export(self, path: str | os.PathLike[str], **options: Any) -> Any:
        """Writes the network as `.onnx`, `.tflite` or a SavedModel, verified; see `kzoo.export.export_model`."""
        from kzoo.export import export_model

        return export_model(self, path, **options)

    @property
    def head_variables(self) -> list[Any]:
        """The trainable variables outside the backbone, which recipes give a higher learning rate."""
        backbone = {id(variable) for variable in self.backbone.trainable_variables}
        return [variable for variable in self.trainable_variables if id(variable) not in backbone]

    def get_config(self) -> dict[str, Any]:
        return {
            "num_classes": self.num_classes,
            **self._backbone_config,
            "align_corners": self.align_corners,
            "ignore_label": self.ignore_label,
            "class_weights": self.class_weights,
            "aux_weight": self.aux_weight,
            "se_weight": self.se_weight,
            **self._refine_config,
            "class_names": list(self.class_names),
            "palette": [list(color) for color in self.palette],
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Segmenter:
        config = dict(config)
        class_names, palette = config.pop("class_names"), config.pop("palette")
        model = cls(**config)
        model.class_names = tuple(class_names)
        model.palette = tuple((red, green, blue) for red, green, blue in palette)
        return model


def _refinement(kind: str | None, args: dict[str, Any]) -> Any:
    """The CRF layer, or None. TensorFlow's operations are in it, so that it is imported only where it is wanted."""
    if kind is None:
        if args:
            raise ValueError(f"refine_args are arguments of a refinement: give refine too. Received: {args!r}")
        return None
    from kzoo.crf import create

    return create(kind, args, name="refinement")
