"""How a kernel's messages are normalised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

NORMALIZATIONS = ("none", "before", "after", "symmetric")


def normalized(
    kernel: Callable[[Any], Any], ones: Any, normalization: str, weight: float = 1.0
) -> Callable[[Any], Any]:
    """The linear operator `weight D1 K D2` for a kernel K, with the diagonal n = 1 / K(1).

    - `none`: K itself, in whatever scale it comes;
    - `before`: K(n x), each point sends as much as every other;
    - `after`: n K(x), each point receives a weighted mean (DeepLab's fork of densecrf, CRF-as-RNN);
    - `symmetric`: sqrt(n) K(sqrt(n) x) (pydensecrf's default).

    Args:
        kernel: the linear operator K, (..., C) -> (..., C).
        ones: ones in the values' shape but for a single channel, (..., 1).
        normalization: one of `NORMALIZATIONS`.
        weight: of the kernel.
    """
    if normalization == "none":
        return lambda values: kernel(values * weight)
    norm = kernel(ones)
    scale = tf.stop_gradient(tf.math.rsqrt(norm) if normalization == "symmetric" else 1.0 / norm)

    def apply(values: Any) -> Any:
        if normalization == "before":
            return kernel(values * (scale * weight))
        sent = values if normalization == "after" else values * scale
        return kernel(sent) * (scale * weight)

    return apply
