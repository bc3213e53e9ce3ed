"""Heads of atrous convolutions: DeepLab's large field of view and atrous spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kzoo.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="kzoo")
class LargeFOV(keras.layers.Layer):
    """An atrous convolution and a 1x1 convolution, each with ReLU and dropout: VGG's fc6 and fc7 made convolutional.

    The rate widens the field of view without weights: `kernel_size=3, rate=12` sees 25 x 25 features at the cost of
    3 x 3, and was the best of the paper (table 2) with the fewest parameters.

    Args:
        kernel_size: side of the first kernel.
        rate: its dilation.
        filters: output channels of both convolutions.
        dropout: rate after each.
        batchnorm: normalise each convolution's output in place of its bias, as backbones with BatchNorm are used to;
            DeepLab v1 has none.

    Input shape: (B, H, W, C).
    Output shape: (B, H, W, filters).

    Raises: `ValueError` for sizes below 1 or a dropout outside of [0, 1).
    Reference: Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR
        2015, arXiv 1412.7062, section 3.2.
    """

    def __init__(
        self,
        kernel_size: int = 3,
        rate: int = 12,
        filters: int = 1024,
        dropout: float = 0.5,
        batchnorm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size, self.rate, self.filters = int(kernel_size), int(rate), int(filters)
        self.dropout, self.batchnorm = float(dropout), bool(batchnorm)
        if min(self.kernel_size, self.rate, self.filters) < 1:
            raise ValueError(
                "LargeFOV needs kernel_size, rate and filters of at least 1. "
                f"Received: kernel_size={kernel_size}, rate={rate}, filters={filters}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"LargeFOV: dropout must be at least 0 and below 1. Received: dropout={dropout}")
        form: dict[str, Any] = {"use_bias": not self.batchnorm, "dtype": self.dtype_policy}
        atrous: dict[str, Any] = {"dilation_rate": self.rate, "padding": "same", "name": "fc6"}
        self.fc6 = keras.layers.Conv2D(self.filters, self.kernel_size, **atrous, **form)
        self.fc7 = keras.layers.Conv2D(self.filters, 1, name="fc7", **form)
        self.fc6_bn = BatchNormalization(dtype=self.dtype_policy, name="fc6_bn") if self.batchnorm else None
        self.fc7_bn = BatchNormalization(dtype=self.dtype_policy, name="fc7_bn") if self.batchnorm else None
        self.drop6 = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="drop6")
        self.drop7 = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="drop7")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        output_shape = self.compute_output_shape(input_shape)
        self.fc6.build(input_shape)
        self.fc7.build(output_shape)
        for bn in (self.fc6_bn, self.fc7_bn):
            if bn is not None:
                bn.build(output_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.fc6(inputs)
        x = x if self.fc6_bn is None else self.fc6_bn(x, training=training)
        x = self.drop6(ops.relu(x), training=training)
        x = self.fc7(x)
        x = x if self.fc7_bn is None else self.fc7_bn(x, training=training)
        return self.drop7(ops.relu(x), training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "rate": self.rate,
            "filters": self.filters,
            "dropout": self.dropout,
            "batchnorm": self.batchnorm,
        }


@keras.saving.register_keras_serializable(package="kzoo")
class ASPP(keras.layers.Layer):
    """Atrous spatial pyramid pooling: the sum of parallel 3x3 convolutions that differ in their rate.

    Objects of several sizes are seen by the rate that suits each. With as many filters as classes it is the whole
    head of DeepLab v2's ResNet.

    Args:
        rates: the branches' dilations.
        filters: output channels.

    Input shape: (B, H, W, C).
    Output shape: (B, H, W, filters).

    Raises: `ValueError` for no rates, or rates or filters below 1.
    Reference: Chen et al., DeepLab, TPAMI 2018, arXiv 1606.00915, section 3.2.
    """

    def __init__(self, rates: Sequence[int] = (6, 12, 18, 24), filters: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rates, self.filters = tuple(int(rate) for rate in rates), int(filters)
        if min(self.rates, default=0) < 1 or self.filters < 1:
            raise ValueError(
                f"ASPP needs one rate or more, and rates and filters of at least 1. Received: rates={rates}, "
                f"filters={filters}"
            )
        self.branches = [
            keras.layers.Conv2D(
                self.filters, 3, dilation_rate=rate, padding="same", dtype=self.dtype_policy, name=f"rate_{rate}"
            )
            for rate in self.rates
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for branch in self.branches:
            branch.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return sum(branch(inputs) for branch in self.branches)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rates": list(self.rates), "filters": self.filters}
