"""Convolution, batch normalisation and ReLU: the unit that heads are built of, and two of them in a row."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="kzoo")
class ConvBNReLU(keras.layers.Layer):
    """`ReLU(BN(conv(x)))` with stride 1 and "same" padding, without a convolution bias.

    Args:
        filters: number of output channels.
        kernel_size: side of the square kernel.
        dilation_rate: dilation of the kernel.
        separable: if true, a depthwise convolution (with its own BN and ReLU) followed by a 1x1 convolution takes the
            place of the full convolution, as mobile heads have it.

    Input shape: (B, H, W, C).
    Output shape: (B, H, W, filters).
    """

    def __init__(
        self, filters: int, kernel_size: int = 1, dilation_rate: int = 1, separable: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size = int(filters), int(kernel_size)
        self.dilation_rate, self.separable = int(dilation_rate), bool(separable)
        if self.filters < 1 or self.kernel_size < 1 or self.dilation_rate < 1:
            raise ValueError(
                "ConvBNReLU needs filters, kernel_size and dilation_rate of at least 1. "
                f"Received: filters={filters}, kernel_size={kernel_size}, dilation_rate={dilation_rate}"
            )
        dilated: dict[str, Any] = {
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "padding": "same",
            "use_bias": False,
        }
        self.depthwise: Any = None
        self.depthwise_bn: Any = None
        if self.separable and self.kernel_size > 1:
            self.depthwise = keras.layers.DepthwiseConv2D(**dilated, dtype=self.dtype_policy, name="depthwise")
            self.depthwise_bn = BatchNormalization(dtype=self.dtype_policy, name="depthwise_bn")
            dilated = {"kernel_size": 1, "use_bias": False}
        self.conv = keras.layers.Conv2D(self.filters, **dilated, dtype=self.dtype_policy, name="conv")
        self.bn = BatchNormalization(dtype=self.dtype_policy, name="bn")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.depthwise is not None:
            self.depthwise.build(input_shape)
            self.depthwise_bn.build(input_shape)
        self.conv.build(input_shape)
        self.bn.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = inputs
        if self.depthwise is not None:
            x = keras.ops.relu(self.depthwise_bn(self.depthwise(x), training=training))
        return keras.ops.relu(self.bn(self.conv(x), training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "separable": self.separable,
        }


@keras.saving.register_keras_serializable(package="kzoo")
class DoubleConv(keras.layers.Layer):
    """Two 3x3 `ConvBNReLU`, one after the other.

    Args:
        filters: output channels of both.
        separable: as `ConvBNReLU` has it.

    Input shape: (B, H, W, C).
    Output shape: (B, H, W, filters).
    """

    def __init__(self, filters: int, separable: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.separable = int(filters), bool(separable)
        self.first = ConvBNReLU(self.filters, 3, separable=self.separable, dtype=self.dtype_policy, name="first")
        self.second = ConvBNReLU(self.filters, 3, separable=self.separable, dtype=self.dtype_policy, name="second")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.first.build(input_shape)
        self.second.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.second(self.first(inputs, training=training), training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "separable": self.separable}
