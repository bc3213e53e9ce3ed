"""Batch normalisation: the Keras layer, with the fused kernel where that computes the same function."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kzoo")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with torch's defaults and TensorFlow's fused kernel.

    Keras 3 spells batch normalisation out in elementwise operations, each of which reads and writes the whole
    feature map. The fused kernel makes one pass: MobileNetV2 trains 1.7 times faster on a CPU. It is used for float
    inputs (B, H, W, C) normalised over the last axis on one device; everything else (several replicas, other axes,
    masks, float64) takes the Keras path. Both give the same outputs, gradients and moving statistics.

    Under a strategy with several replicas the statistics are those of the global batch (`synchronized=True`); the
    replicas' shares of it must be of one size.

    Args:
        momentum: of the moving statistics; 0.9 is torch's `momentum=0.1`.
        epsilon: added to the variance; 1e-5 is torch's default.
        synchronized: whether replicas share their statistics.
        **kwargs: as for `keras.layers.BatchNormalization`.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        synchronized: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, synchronized=synchronized, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not self._has_fused_kernel(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        if training and self.trainable:
            outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=self.epsilon, is_training=True
            )
            # The kernel reports the unbiased variance; Keras (and the synchronised path) keep the biased one.
            count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance * (count - 1.0) / count)
            return outputs
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=tf.convert_to_tensor(self.moving_mean),
            variance=tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=False,
        )[0]

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        replica = tf.distribute.get_replica_context()
        if not self.synchronized or mask is not None or replica is None or _replicas() == 1:
            return super()._moments(inputs, mask)
        # One all-reduce instead of Keras' three; the shift by the moving mean keeps E[x^2] - E[x]^2 from cancelling.
        shift = tf.stop_gradient(tf.cast(self.moving_mean, inputs.dtype))
        broadcast = [1] * inputs.shape.rank
        broadcast[self.axis] = -1
        shifted = inputs - tf.reshape(shift, broadcast)
        count = tf.cast(tf.size(inputs) // inputs.shape[self.axis], inputs.dtype)
        sums = tf.stack([tf.reduce_sum(shifted, self._reduction_axes), tf.reduce_sum(shifted**2, self._reduction_axes)])
        sums = replica.all_reduce(tf.distribute.ReduceOp.SUM, sums)
        # Every replica sees the same number of values: the pipeline drops incomplete batches.
        mean, square = tf.unstack(sums / (count * _replicas()))
        return mean + shift, tf.maximum(square - mean**2, 0.0)

    def _has_fused_kernel(self, inputs: Any, mask: Any) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and isinstance(inputs, tf.Tensor)
            and inputs.shape.rank == 4
            and self.axis in (-1, 3)
            and mask is None
            and self.scale
            and self.center
            and not self.renorm
            and inputs.dtype in (tf.float32, tf.bfloat16, tf.float16)
            and self.variable_dtype == "float32"
            and _replicas() == 1
        )

    def _move(self, variable: Any, value: Any) -> None:
        variable.assign(variable * self.momentum + value * (1.0 - self.momentum))


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
