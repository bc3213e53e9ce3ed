"""CRF-as-RNN: mean-field iterations as a trainable layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kzoo.crf.mean_field import MeanFieldCRF, positive
from kzoo.errors import unknown_name

SIGNS = ("subtract", "add")


@keras.saving.register_keras_serializable(package="kzoo")
class RecurrentCRF(MeanFieldCRF):
    """The dense CRF with trainable kernel weights and label compatibility, as a layer of a network (CRF-as-RNN).

    `l' = l - M (W_spatial K_spatial Q + W_bilateral K_bilateral Q)` with (C, C) matrices that act on the classes:
    `spatial_weights` and `bilateral_weights` start as `spatial_weight` and `bilateral_weight` times the identity,
    `compatibility` M as minus the identity, the Potts model. Then the layer computes what `DenseCRF` does.

    Args:
        training_iterations: iterations while training; `iterations` counts otherwise. Few in training keep gradients
            from vanishing.
        **kwargs: those of `kzoo.crf.MeanFieldCRF`, with the paper's defaults.

    Raises:
        ValueError: also for logits with another number of classes than the layer was built for.

    Reference: Zheng et al., Conditional Random Fields as Recurrent Neural Networks, ICCV 2015.
    """

    def __init__(
        self,
        spatial_sigma: float = 3.0,
        spatial_weight: float = 3.0,
        bilateral_sigma_xy: float = 160.0,
        bilateral_sigma_rgb: float = 3.0,
        bilateral_weight: float = 5.0,
        iterations: int = 10,
        training_iterations: int = 5,
        normalization: str = "after",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            spatial_sigma=spatial_sigma,
            spatial_weight=spatial_weight,
            bilateral_sigma_xy=bilateral_sigma_xy,
            bilateral_sigma_rgb=bilateral_sigma_rgb,
            bilateral_weight=bilateral_weight,
            iterations=iterations,
            normalization=normalization,
            **kwargs,
        )
        self.training_iterations = positive("training_iterations", training_iterations)

    def build(self, logits_shape: Any, images_shape: Any) -> None:
        self._check(tuple(logits_shape), tuple(images_shape))
        classes = logits_shape[-1]

        def matrix(name: str, scale: float) -> Any:
            start = keras.initializers.Identity(scale)
            return self.add_weight(name=name, shape=(classes, classes), initializer=start, autocast=False)

        self.spatial_weights = matrix("spatial_weights", self.spatial_weight)
        self.bilateral_weights = matrix("bilateral_weights", self.bilateral_weight)
        self.compatibility = matrix("compatibility", -1.0)

    def set_published(self, spatial: Any, bilateral: Any, compatibility: Any, sign: str) -> None:
        """Takes over the three (C, C) matrices of a published network.

        Args:
            spatial: weights of the spatial kernel.
            bilateral: weights of the bilateral kernel.
            compatibility: the label compatibility.
            sign: `"subtract"` for codes that subtract the message from the logits (the Caffe original and
                crfasrnn_keras, whose compatibility starts as minus the identity), `"add"` for those that add it
                (crfasrnn_pytorch, plus the identity).
        """
        if sign not in SIGNS:
            raise unknown_name("sign of published CRF-as-RNN weights", sign, SIGNS)
        self.spatial_weights.assign(spatial)
        self.bilateral_weights.assign(bilateral)
        self.compatibility.assign(compatibility if sign == "subtract" else -tf.convert_to_tensor(compatibility))

    def _iterations(self, training: bool | None) -> int:
        return self.training_iterations if training else self.iterations

    def _kernel_weights(self) -> tuple[float, float]:
        return 1.0, 1.0  # the trainable weights follow

    def _messages(self, spatial: Any, bilateral: Any) -> tuple[Any, Any]:
        # -M (W Q) = (-M W) Q: the small matrices are multiplied first.
        return (
            _classwise(spatial, -self.compatibility, self.spatial_weights),
            _classwise(bilateral, -self.compatibility, self.bilateral_weights),
        )

    def _check(self, logits: tuple[int | None, ...], images: tuple[int | None, ...]) -> None:
        super()._check(logits, images)
        if self.built and logits[-1] != self.compatibility.shape[0]:
            raise ValueError(
                f"{type(self).__name__} layer {self.name!r} was built for {self.compatibility.shape[0]} classes: make "
                f"another one for other logits. Received logits of shape {logits}"
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "training_iterations": self.training_iterations}


def _classwise(values: Any, compatibility: Any, weights: Any) -> Any:
    """`compatibility @ weights` applied to the last axis of (B, H, W, C), as a 1x1 convolution."""
    matrix = tf.matmul(tf.cast(compatibility, values.dtype), tf.cast(weights, values.dtype))
    return tf.nn.conv2d(values, tf.transpose(matrix)[tf.newaxis, tf.newaxis], 1, "VALID")
