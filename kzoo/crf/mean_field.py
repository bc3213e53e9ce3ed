"""Mean-field inference in a fully connected CRF: what the dense, the recurrent and the convolutional form share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import tensorflow as tf

from kzoo.crf.bilateral import bilateral_kernel
from kzoo.crf.normalization import NORMALIZATIONS, normalized
from kzoo.crf.presets import PRESETS
from kzoo.crf.spatial import SpatialKernel
from kzoo.errors import unknown_name

Kernel = Callable[[Any], Any]


class MeanFieldCRF(keras.layers.Layer):
    """The base of the CRF layers: `crf(logits, images)` gives refined logits.

    Every pixel is connected with every other by two Gaussian kernels, one of their distance and one of distance and
    colour. With the logits l of a network, mean-field inference repeats

        Q = softmax(l');  l' = l + message(K_spatial Q, K_bilateral Q)

    from l' = l, and returns the last l'. As in the published codes a pixel's message to itself is not taken out.

    Computes in float32 under half-precision policies (float64 under a float64 policy) and returns that type, unless
    the layer is given a `dtype` of its own. Gradients flow to the logits and to weights, never to the images.

    Args:
        spatial_sigma: width of the spatial kernel in pixels.
        spatial_weight: its weight.
        bilateral_sigma_xy: width of the bilateral kernel in pixels.
        bilateral_sigma_rgb: width of the bilateral kernel in grey values of 0..255.
        bilateral_weight: its weight.
        iterations: number of mean-field iterations, at least 1.
        normalization: of both kernels, `"none"`, `"before"`, `"after"` or `"symmetric"`, see
            `kzoo.crf.normalized`. `"none"` leaves the bilateral kernel in the lattice's own scale.

    Call arguments:
        logits: (B, H, W, C), C known, also of several pictures and as a NumPy array.
        images: (B, H, W, 3) RGB in 0..255, integers or floats.

    Output shape: (B, H, W, C).

    Raises:
        ValueError: widths that are not positive, weights that are not finite, no iterations, an unknown
            normalisation; logits and images whose shapes do not fit; NaN logits (seen only outside of graphs).

    Reference: Krähenbühl and Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials,
        NeurIPS 2011.
    """

    def __init__(
        self,
        spatial_sigma: float = 3.0,
        spatial_weight: float = 3.0,
        bilateral_sigma_xy: float = 49.0,
        bilateral_sigma_rgb: float = 5.0,
        bilateral_weight: float = 4.0,
        iterations: int = 10,
        normalization: str = "after",
        **kwargs: Any,
    ) -> None:
        float64 = keras.config.dtype_policy().compute_dtype == "float64"
        kwargs.setdefault("dtype", "float64" if float64 else "float32")
        # Pictures reach the layer as they are: half precision must not round 0..255.
        super().__init__(**kwargs, autocast=False)
        self.spatial_sigma = _width("spatial_sigma", spatial_sigma)
        self.bilateral_sigma_xy = _width("bilateral_sigma_xy", bilateral_sigma_xy)
        self.bilateral_sigma_rgb = _width("bilateral_sigma_rgb", bilateral_sigma_rgb)
        self.spatial_weight = _finite("spatial_weight", spatial_weight)
        self.bilateral_weight = _finite("bilateral_weight", bilateral_weight)
        self.iterations = positive("iterations", iterations)
        if normalization not in NORMALIZATIONS:
            raise unknown_name("normalization of a CRF", normalization, NORMALIZATIONS)
        self.normalization = normalization
        # The lattice's operations have no fixed shapes, which XLA would need.
        self.supports_jit = False

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """The layer with published hyper-parameters, a name of `kzoo.crf.PRESETS`; `overrides` replace some of them."""
        if name not in PRESETS:
            raise unknown_name("CRF preset", name, PRESETS)
        return cls(**{**PRESETS[name], **overrides})

    def call(self, logits: Any, images: Any, training: bool | None = None) -> Any:
        self._check(tuple(logits.shape), tuple(images.shape))
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        logits, images = tf.cast(logits, dtype), tf.cast(images, dtype)
        iterations = self._iterations(training)
        if tf.executing_eagerly():
            if bool(tf.reduce_any(tf.math.is_nan(logits))):
                raise ValueError(f"{type(self).__name__} expects logits without NaN. Received logits with NaN.")
            # One picture at a time: memory for one, and faster than tensors that outgrow the caches.
            pictures = [
                self._refine_outside_graphs(logits[i : i + 1], images[i : i + 1], iterations)
                for i in range(logits.shape[0])
            ]
            refined = pictures[0] if len(pictures) == 1 else tf.concat([logits[:0], *pictures], 0)
        else:
            refined = self._refine_in_graphs(logits, images, iterations)
        return tf.cast(refined, self.compute_dtype)

    def _refine(self, logits: Any, images: Any, iterations: int) -> Any:
        weights = self._kernel_weights()
        spatial = normalized(self._spatial_kernel(logits), logits, self.normalization, weights[0])
        bilateral = normalized(self._bilateral_kernel(images), logits, self.normalization, weights[1])
        return mean_field(logits, lambda belief: self._messages(spatial(belief), bilateral(belief)), iterations)

    def _refine_outside_graphs(self, logits: Any, images: Any, iterations: int) -> Any:
        return self._refine(logits, images, iterations)

    def _refine_in_graphs(self, logits: Any, images: Any, iterations: int) -> Any:
        if logits.shape[0] is not None:
            return self._refine(logits, images, iterations)
        # A replica may get no picture of an epoch's last batch, and a lattice without points ends the process.
        count = tf.shape(logits)[0]
        padding = [[0, tf.cast(count == 0, tf.int32)], [0, 0], [0, 0], [0, 0]]
        logits, images = (tf.ensure_shape(tf.pad(values, padding), values.shape) for values in (logits, images))
        return self._refine(logits, images, iterations)[:count]

    def _iterations(self, training: bool | None) -> int:
        return self.iterations

    def _spatial_kernel(self, logits: Any) -> Kernel:
        return SpatialKernel(self.spatial_sigma, logits)

    def _bilateral_kernel(self, images: Any) -> Kernel:
        return bilateral_kernel(images, self.bilateral_sigma_xy, self.bilateral_sigma_rgb)

    def _kernel_weights(self) -> tuple[float, float]:
        """Fixed weights of the spatial and the bilateral kernel."""
        raise NotImplementedError

    def _messages(self, spatial: Any, bilateral: Any) -> tuple[Any, Any]:
        """What is added to the logits, from the two filtered and weighted beliefs."""
        raise NotImplementedError

    def _check(self, logits: tuple[int | None, ...], images: tuple[int | None, ...]) -> None:
        name = type(self).__name__
        if len(logits) != 4 or logits[-1] is None or len(images) != 4 or images[-1] != 3:
            raise ValueError(
                f"{name} expects logits (B, H, W, C) with a known C and RGB images (B, H, W, 3). "
                f"Received shapes: {logits} and {images}"
            )
        if any(None not in pair and pair[0] != pair[1] for pair in zip(logits[:3], images[:3], strict=True)):
            raise ValueError(
                f"{name} expects as many logits as images, of the same height and width: resize one to the other. "
                f"Received shapes: {logits} and {images}"
            )

    def compute_output_shape(self, logits_shape: Any, images_shape: Any) -> tuple[int | None, ...]:
        return tuple(logits_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "spatial_sigma": self.spatial_sigma,
            "spatial_weight": self.spatial_weight,
            "bilateral_sigma_xy": self.bilateral_sigma_xy,
            "bilateral_sigma_rgb": self.bilateral_sigma_rgb,
            "bilateral_weight": self.bilateral_weight,
            "iterations": self.iterations,
            "normalization": self.normalization,
        }


def mean_field(logits: Any, messages: Callable[[Any], Sequence[Any]], iterations: int) -> Any:
    """The refined logits (B, H, W, C): `l' = l + sum(messages(softmax(l')))`, repeated from `l' = l`."""
    refined = logits
    for _ in range(iterations):
        refined = tf.add_n([logits, *messages(tf.nn.softmax(refined))])
    return refined


def positive(name: str, value: Any) -> int:
    """The value as an int; raises ValueError unless it is a whole number of at least 1."""
    if isinstance(value, bool) or value != int(value) or value < 1:
        raise ValueError(f"A CRF needs {name} to be a whole number of at least 1. Received: {name}={value!r}")
    return int(value)


def _width(name: str, value: Any) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"A CRF needs kernels of positive width. Received: {name}={value!r}")
    return float(value)


def _finite(name: str, value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"A CRF needs finite weights of its kernels. Received: {name}={value!r}")
    return float(value)
