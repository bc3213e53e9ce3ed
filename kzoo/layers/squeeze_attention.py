"""Squeeze-and-attention and, for the comparison, squeeze-and-excitation."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from kzoo.layers.conv_bn_relu import ConvBNReLU, DoubleConv
from kzoo.layers.resize import Resize

GATES = {"sigmoid": ops.sigmoid, "relu": ops.relu}


@keras.saving.register_keras_serializable(package="kzoo")
class SqueezeAttention(keras.layers.Layer):
    """Squeeze-and-attention: `X_attn * X_res + X_attn`.

    `X_res` (two 3x3 convolutions with BN and ReLU) looks at pixels; `X_attn` looks at groups of them: the input is
    pooled, but not down to one pixel as in squeeze-and-excitation, passes two 3x3 convolutions and a gate, and is
    brought back to full size. The added `X_attn` lets groups speak where the pixels' branch is silent.

    The paper leaves open how far to pool, how many channels the attention convolutions have and what the gate is.
    Here: by `pool` in each direction, a quarter of the channels between the two convolutions, a sigmoid; pool and gate
    were chosen by measurement, see docs/results.md.

    Args:
        filters: output channels.
        pool: side of the pooled squares.
        reduction: output channels to one channel between the attention's convolutions.
        gate: `"sigmoid"` or `"relu"`.
        separable: depthwise-separable convolutions where the input enters, for mobile backbones.
        align_corners: how the attention is brought back to full size.

    Input shape: (B, H, W, C).
    Output shape: (B, H, W, filters).

    Raises: `ValueError` for sizes below 1 or an unknown gate.
    Reference: Zhong et al., Squeeze-and-Attention Networks for Semantic Segmentation, CVPR 2020, arXiv 1909.03402,
        section 3.
    """

    def __init__(
        self,
        filters: int,
        pool: int = 2,
        reduction: int = 4,
        gate: Literal["sigmoid", "relu"] = "sigmoid",
        separable: bool = False,
        align_corners: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.pool, self.reduction = int(filters), int(pool), int(reduction)
        self.gate, self.separable, self.align_corners = gate, bool(separable), bool(align_corners)
        if min(self.filters, self.pool, self.reduction) < 1:
            raise ValueError(
                "SqueezeAttention needs filters, pool and reduction of at least 1. "
                f"Received: filters={filters}, pool={pool}, reduction={reduction}"
            )
        if gate not in GATES:
            raise ValueError(f"SqueezeAttention: gate must be one of {', '.join(GATES)}. Received: gate={gate!r}")
        policy: dict[str, Any] = {"dtype": self.dtype_policy}
        self.residual = DoubleConv(self.filters, self.separable, name="residual", **policy)
        # Squares at the border of a picture that does not divide count only the pixels that they have.
        self.squeeze = keras.layers.AveragePooling2D(self.pool, padding="same", name="squeeze", **policy)
        between = max(1, self.filters // self.reduction)
        self.reduce = ConvBNReLU(between, 3, separable=self.separable, name="reduce", **policy)
        self.restore = keras.layers.Conv2D(self.filters, 3, padding="same", name="restore", **policy)
        self.unsqueeze = Resize(align_corners=self.align_corners, name="unsqueeze", **policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.residual.build(input_shape)
        self.reduce.build(input_shape)
        self.restore.build(self.reduce.compute_output_shape(input_shape))

    def branches(self, inputs: Any, training: bool | None = None) -> tuple[Any, Any]:
        """`X_attn` and `X_res`, both (B, H, W, filters)."""
        main = self.residual(inputs, training=training)
        attention = self.restore(self.reduce(self.squeeze(inputs), training=training))
        return self.unsqueeze(GATES[self.gate](attention), main), main

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        attention, main = self.branches(inputs, training)
        return attention * main + attention

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "pool": self.pool,
            "reduction": self.reduction,
            "gate": self.gate,
            "separable": self.separable,
            "align_corners": self.align_corners,
        }


@keras.saving.register_keras_serializable(package="kzoo")
class SqueezeExcitation(keras.layers.Layer):
    """Squeeze-and-excitation: `w * X_in + X_res`, one weight a channel from the mean over all pixels.

    The form that the squeeze-and-attention paper compares itself with: `X_res` is that module's, and `X_in` passes a
    1x1 convolution, because a head changes the number of channels.

    Args:
        filters: output channels.
        reduction: output channels to one channel between the two fully connected layers.
        separable: depthwise-separable convolutions, for mobile backbones.

    Input shape: (B, H, W, C).
    Output shape: (B, H, W, filters).

    Raises: `ValueError` for sizes below 1.
    References: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018; Zhong et al., CVPR 2020, equations 1 and 2.
    """

    def __init__(self, filters: int, reduction: int = 4, separable: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.reduction, self.separable = int(filters), int(reduction), bool(separable)
        if min(self.filters, self.reduction) < 1:
            raise ValueError(
                "SqueezeExcitation needs filters and reduction of at least 1. "
                f"Received: filters={filters}, reduction={reduction}"
            )
        policy: dict[str, Any] = {"dtype": self.dtype_policy}
        self.residual = DoubleConv(self.filters, self.separable, name="residual", **policy)
        self.project = ConvBNReLU(self.filters, name="project", **policy)
        between = max(1, self.filters // self.reduction)
        self.reduce = keras.layers.Dense(between, activation="relu", name="reduce", **policy)
        self.restore = keras.layers.Dense(self.filters, activation="sigmoid", name="restore", **policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.residual.build(input_shape)
        self.project.build(input_shape)
        self.reduce.build((None, 1, 1, input_shape[-1]))
        self.restore.build((None, 1, 1, self.reduce.units))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        main = self.residual(inputs, training=training)
        weights = self.restore(self.reduce(ops.mean(inputs, axis=(1, 2), keepdims=True)))
        return weights * self.project(inputs, training=training) + main

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "reduction": self.reduction,
            "separable": self.separable,
        }
