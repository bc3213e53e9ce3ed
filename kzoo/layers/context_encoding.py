"""The Context Encoding Module: which classes does the scene hold, and which channels speak of them?"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.errors import unknown_name
from kzoo.layers.batch_normalization import BatchNormalization
from kzoo.layers.conv_bn_relu import ConvBNReLU
from kzoo.layers.encoding import Encoding

REDUCTIONS = ("mean", "sum")
GATES = ("residual", "product")


@keras.saving.register_keras_serializable(package="kzoo")
class ContextEncoding(keras.layers.Layer):
    """Highlights the channels that the scene's context asks for, and predicts which classes are present.

    The published code's form: 1x1 convolution + BN + ReLU, `Encoding`, BN over the codeword axis, ReLU, mean over the
    codewords: the context vector (B, C). A dense layer with sigmoid turns it into channel gates, and the features leave
    as `ReLU(x + x * gate)`; another dense layer gives the class-presence logits that the semantic-encoding loss trains.
    The paper's own form is `projection=False, reduction="sum", gate="product"`.

    Args:
        num_classes: number of classes whose presence is predicted.
        num_codewords: number K of codewords; 0 takes the mean over all pixels in the encoding's place (the paper's
            ablation: global average pooling).
        projection: whether the 1x1 convolution precedes the encoding.
        reduction: `"mean"` or `"sum"` over the codewords.
        gate: `"residual"` for `ReLU(x + x * gate)`, `"product"` for `x * gate`.

    Input shape: (B, H, W, C).
    Output: a pair of the features (B, H, W, C) and the class-presence logits (B, num_classes), float32.
    Reference: Zhang et al., Context Encoding for Semantic Segmentation, CVPR 2018, section 3.
    """

    def __init__(
        self,
        num_classes: int,
        num_codewords: int = 32,
        projection: bool = True,
        reduction: str = "mean",
        gate: str = "residual",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if int(num_classes) < 1 or int(num_codewords) < 0:
            raise ValueError(
                "ContextEncoding needs num_classes >= 1 and num_codewords >= 0. "
                f"Received: num_classes={num_classes}, num_codewords={num_codewords}"
            )
        if reduction not in REDUCTIONS:
            raise unknown_name("reduction of ContextEncoding", reduction, REDUCTIONS)
        if gate not in GATES:
            raise unknown_name("gate of ContextEncoding", gate, GATES)
        self.num_classes, self.num_codewords = int(num_classes), int(num_codewords)
        self.projection, self.reduction, self.gate = bool(projection), reduction, gate

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(f"ContextEncoding needs a known channel count. Received: input shape {tuple(input_shape)}")
        policy = self.dtype_policy
        self.project: Any = None
        self.encoding: Any = None
        self.encoding_bn: Any = None
        if self.projection:
            self.project = ConvBNReLU(channels, dtype=policy, name="project")
            self.project.build(input_shape)
        if self.num_codewords:
            self.encoding = Encoding(self.num_codewords, dtype=policy, name="encoding")
            self.encoding.build(input_shape)
            # One mean and variance for each codeword: the published network normalises over batch and channels.
            self.encoding_bn = BatchNormalization(axis=1, dtype=policy, name="encoding_bn")
            self.encoding_bn.build((input_shape[0], self.num_codewords, channels))
        self.channel_gate = keras.layers.Dense(channels, activation="sigmoid", dtype=policy, name="channel_gate")
        self.channel_gate.build((input_shape[0], channels))
        presence_dtype = keras.backend.result_type(self.compute_dtype, "float32")
        self.presence = keras.layers.Dense(self.num_classes, dtype=presence_dtype, name="presence")
        self.presence.build((input_shape[0], channels))

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Any, Any]:
        context = self._context(inputs, training)
        gate = self._gate(context)
        gated = inputs * gate if self.gate == "product" else ops.relu(inputs + inputs * gate)
        return gated, self.presence(context)

    def _gate(self, context: Any) -> Any:
        """The channels' gates (B, 1, 1, C), by a 1x1 convolution: for a dense layer's product an ONNX file would turn
        the features to NHWC, and back."""
        dense = self.channel_gate
        kernel = ops.reshape(dense.kernel, (1, 1, *dense.kernel.shape))
        pixel = ops.reshape(context, (-1, 1, 1, context.shape[-1]))
        return dense.activation(ops.conv(pixel, kernel) + dense.bias)

    def _context(self, inputs: Any, training: bool | None) -> Any:
        x = inputs if self.project is None else self.project(inputs, training=training)
        if self.encoding is None:
            return ops.mean(x, axis=(1, 2))
        encoded = ops.relu(self.encoding_bn(self.encoding(x, training=training), training=training))
        return ops.mean(encoded, axis=1) if self.reduction == "mean" else ops.sum(encoded, axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[tuple[int | None, ...], ...]:
        return tuple(input_shape), (input_shape[0], self.num_classes)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> tuple[Any, Any]:
        return (
            keras.KerasTensor(inputs.shape, dtype=self.compute_dtype),
            keras.KerasTensor(
                (inputs.shape[0], self.num_classes), dtype=keras.backend.result_type(self.compute_dtype, "float32")
            ),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "num_codewords": self.num_codewords,
            "projection": self.projection,
            "reduction": self.reduction,
            "gate": self.gate,
        }
