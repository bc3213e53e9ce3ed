"""CaGNet's contextual module: what surrounds a pixel, as a latent code and as attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from kzoo.errors import unknown_name


@keras.saving.register_keras_serializable(package="kzoo")
class ContextualModule(keras.layers.Layer):
    """Pixel-wise context at several scales, a Gaussian latent code of it, and features attended by the code.

    A chain of dilated 3x3 convolutions gives context maps of growing reach, without pooling, so that pixels and codes
    stay in correspondence. The context selector weighs the maps at each pixel. From them come the code's mean and
    log-variance; the code `z` is drawn in training (`mean + exp(log_variance / 2) * noise`) and is the mean otherwise.
    The attended features are `X + X * sigmoid(z)`. No convolution has a bias; the forms have the same weights.

    Args:
        filters: channels of each context map.
        rates: dilations of the chain, one a map.
        form: `"paper"`, or `"code"` for the published code, in which the context sees `sigmoid(X)`, a ReLU stands in
            front of the selector's sigmoid (weights of 0.5 and more) and behind the log-variance (variances of 1 and
            more), and the attended features pass a sigmoid.
        selector: whether the maps are weighed; if not, all weights are 1.
        latent: whether the code is Gaussian; if not, it is its mean in training too, and there is no log-variance.
        seed: of the code's noise.

    Input shape: (B, H, W, C).
    Output: a dict of maps, (B, H, W, C) each: `features` (attended), `latent` (z), `mean` and, with `latent`,
        `log_variance`. The code is float32 at least, the features are in the layer's precision.

    Weights: `9 filters (C + (n - 1) filters)` for n maps, `9 n^2 filters` for the selector, `n filters C` for the 1x1
        convolution behind it, `9 C^2` each for mean and log-variance: 9,523,584 for C = 600 as published.

    Raises: `ValueError` for no rates, sizes below 1, or an unknown form.
    Reference: Gu et al., Context-aware Feature Generation for Zero-shot Semantic Segmentation, ACM MM 2020, arXiv
        2008.06893, section 3.2.
    """

    def __init__(
        self,
        filters: int = 256,
        rates: Sequence[int] = (1, 2, 5),
        form: Literal["paper", "code"] = "paper",
        selector: bool = True,
        latent: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.rates = int(filters), tuple(int(rate) for rate in rates)
        self.form, self.selector, self.latent, self.seed = form, bool(selector), bool(latent), seed
        if min(self.rates, default=0) < 1 or self.filters < 1:
            raise ValueError(
                "ContextualModule needs one rate or more, and rates and filters of at least 1. "
                f"Received: rates={rates}, filters={filters}"
            )
        if form not in ("paper", "code"):
            raise unknown_name("form of the contextual module", form, ("paper", "code"))
        self.noise = keras.random.SeedGenerator(seed) if self.latent else None
        self.contexts = [
            self._convolution(f"context_{index}", self.filters, 3, rate) for index, rate in enumerate(self.rates, 1)
        ]
        self.scale_weights = self._convolution("selector", len(self.rates), 3) if self.selector else None

    def _convolution(self, name: str, filters: int, size: int, rate: int = 1) -> keras.layers.Conv2D:
        return keras.layers.Conv2D(
            filters, size, dilation_rate=rate, padding="same", use_bias=False, dtype=self.dtype_policy, name=name
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(f"ContextualModule needs a known number of channels. Received: {input_shape}")
        self.pool = self._convolution("pool", channels, 1)
        self.mean = self._convolution("mean", channels, 3)
        self.log_variance = self._convolution("log_variance", channels, 3) if self.latent else None
        shape = input_shape
        for context in self.contexts:
            context.build(shape)
            shape = (*input_shape[:-1], self.filters)
        joined = (*input_shape[:-1], self.filters * len(self.contexts))
        self.pool.build(joined)
        for layer, layer_input in (
            (self.scale_weights, joined),
            (self.mean, input_shape),
            (self.log_variance, input_shape),
        ):
            if layer is not None:
                layer.build(layer_input)

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        as_code = self.form == "code"
        maps, x = [], ops.sigmoid(inputs) if as_code else inputs
        for context in self.contexts:
            x = ops.relu(context(x))
            maps.append(x)
        if self.scale_weights is not None:
            # One map's weights at a time: to split the convolution's channels costs transpositions on devices.
            joined, kernel = ops.concatenate(maps, axis=-1), ops.cast(self.scale_weights.kernel, self.compute_dtype)
            for index, x in enumerate(maps):
                scores = ops.conv(joined, kernel[..., index : index + 1], padding="same")
                maps[index] = x * ops.sigmoid(ops.relu(scores) if as_code else scores)
        context = ops.relu(self.pool(ops.concatenate(maps, axis=-1)))
        # Squares and exponentials of the code overflow and underflow in half precision.
        precision = keras.backend.result_type(self.compute_dtype, "float32")
        mean = latent = ops.cast(self.mean(context), precision)
        outputs = {}
        if self.log_variance is not None:
            log_variance = ops.cast(self.log_variance(context), precision)
            outputs["log_variance"] = log_variance = ops.relu(log_variance) if as_code else log_variance
            if training:
                noise = keras.random.normal(ops.shape(mean), dtype=precision, seed=self.noise)
                latent = mean + ops.exp(log_variance / 2) * noise
        features = inputs + inputs * ops.cast(ops.sigmoid(latent), inputs.dtype)
        return {"features": ops.sigmoid(features) if as_code else features, "latent": latent, "mean": mean, **outputs}

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        precision = keras.backend.result_type(self.compute_dtype, "float32")
        code = ("latent", "mean", *(("log_variance",) if self.latent else ()))
        outputs = {name: keras.KerasTensor(inputs.shape, dtype=precision) for name in code}
        return {"features": keras.KerasTensor(inputs.shape, dtype=self.compute_dtype), **outputs}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "rates": list(self.rates),
            "form": self.form,
            "selector": self.selector,
            "latent": self.latent,
            "seed": self.seed,
        }
