"""The Encoding layer: residuals to a learned dictionary, softly assigned and summed."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kzoo")
class Encoding(keras.layers.Layer):
    """Encodes a feature map against K learned codewords d_k with smoothing factors s_k.

    Each of the N pixels x_i is assigned to the codewords by
    `a_ik = softmax_k(s_k * |x_i - d_k|^2)`, and the residuals are aggregated to `e_k = sum_i a_ik (x_i - d_k)`.
    The minus sign of the paper's `exp(-s |r|^2)` lives in the learned `scale`, which starts negative, as in the
    published code and checkpoints.

    Neither step needs the N x K x C tensor of residuals: the squared distance is `|x|^2 - 2 x.d + |d|^2`, and
    `e = a^T x - (sum_i a_i) d`, a matrix product each. Distances, softmax and sums are computed in float32 at least,
    because `|x|^2` over hundreds of channels and sums over thousands of pixels do not fit the half-precision types.

    Args:
        num_codewords: number K of codewords.

    Input shape: (B, H, W, C) or (B, N, C).
    Output shape: (B, K, C).
    Raises: `ValueError` if `num_codewords` is below 1, or the input is not of rank 3 or 4 with a known last axis.
    Reference: Zhang et al., Context Encoding for Semantic Segmentation, CVPR 2018, equations 1 and 2.
    """

    def __init__(self, num_codewords: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if int(num_codewords) < 1:
            raise ValueError(f"Encoding needs num_codewords of at least 1. Received: num_codewords={num_codewords}")
        self.num_codewords = int(num_codewords)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) not in (3, 4) or input_shape[-1] is None:
            raise ValueError(
                "Encoding expects an input (B, H, W, C) or (B, N, C) whose channel count C is known. "
                f"Received: input shape {tuple(input_shape)}"
            )
        channels = input_shape[-1]
        limit = (self.num_codewords * channels) ** -0.5
        # autocast=False: the layer computes in float32 even where the policy asks for less.
        self.codewords = self.add_weight(
            name="codewords",
            shape=(self.num_codewords, channels),
            initializer=keras.initializers.RandomUniform(-limit, limit),
            autocast=False,
        )
        self.scale = self.add_weight(
            name="scale",
            shape=(self.num_codewords,),
            initializer=keras.initializers.RandomUniform(-1.0, 0.0),
            autocast=False,
        )
        self.input_spec = keras.InputSpec(ndim=len(input_shape), axes={-1: channels})

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        x = ops.cast(inputs, dtype)
        if len(x.shape) == 4:
            batch, height, width, channels = ops.shape(x)
            # Where the picture's size is known the batch is what is left open: an export then computes no shapes.
            known = isinstance(height, int) and isinstance(width, int)
            x = ops.reshape(x, (-1, height * width, channels) if known else (batch, -1, channels))
        codewords, scale = ops.cast(self.codewords, dtype), ops.cast(self._scale(training), dtype)
        return ops.cast(encode(x, codewords, scale), self.compute_dtype)

    def _scale(self, training: bool | None) -> Any:
        return self.scale

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.num_codewords, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_codewords": self.num_codewords}


def encode(x: Any, codewords: Any, scale: Any) -> Any:
    """Residual encoding of `x` (B, N, C) against `codewords` (K, C) with `scale` (K,): (B, K, C)."""
    # scale_k * (|x|^2 - 2 x.d_k + |d_k|^2), with the scale folded into the small factors.
    square_x = ops.sum(ops.square(x), axis=-1, keepdims=True)
    square_d = ops.sum(ops.square(codewords), axis=-1)
    weighted = ops.transpose(codewords * ops.expand_dims(-2.0 * scale, -1))
    # Of all pictures' pixels at once, and the batch left open, for the same reason.
    product = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), weighted)
    product = ops.reshape(product, (-1, ops.shape(x)[1], weighted.shape[-1]))
    assignment = ops.softmax(product + square_x * scale + square_d * scale, axis=-1)
    mass = ops.expand_dims(ops.sum(assignment, axis=1), -1)
    return ops.matmul(ops.transpose(assignment, (0, 2, 1)), x) - mass * codewords


@keras.saving.register_keras_serializable(package="kzoo")
class EncodingDrop(Encoding):
    """`Encoding` whose smoothing factors are drawn anew from U(-1, 0) at each training step and are -0.5 otherwise.

    The regulariser of the paper's CIFAR-10 networks. `scale` stays an (untrained) weight, so that checkpoints of both
    layers have the same layout.

    Args:
        num_codewords: number K of codewords.
        seed: of the random smoothing factors.
    """

    def __init__(self, num_codewords: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(num_codewords, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.scale.trainable = False

    def _scale(self, training: bool | None) -> Any:
        if training:
            return keras.random.uniform((self.num_codewords,), -1.0, 0.0, dtype="float32", seed=self.seed_generator)
        return ops.full((self.num_codewords,), -0.5, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}
