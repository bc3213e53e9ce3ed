"""How a kernel's messages are normalised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

NORMALIZATIONS = ("none", "before", "after", "symmetric")


def normalized(
    kernel: Callable[[Any], Any], like: Any, normalization: str, weight: float = 1.0
) -> Callable[[Any], Any]:
    """The linear operator `weight D1 K D2` for a kernel K, with the diagonal n = 1 / K(1).

    - `none`: K itself, in whatever scale it comes;
    - `before`: K(n x), each point sends as much as every other;
    - `after`: n K(x), each point receives a weighted mean (DeepLab's fork of densecrf, CRF-as-RNN);
    - `symmetric`: sqrt(n) K(sqrt(n) x) (pydensecrf's default).

    Args:
        kernel: the linear operator K, (..., C) -> (..., C). If it has a method `scaled(received, sent)`, that is asked
            for `diag(received) K diag(sent)`, factors (..., 1) or None.
        like: a tensor of the values' shape.
        normalization: one of `NORMALIZATIONS`.
        weight: of the kernel.
    """
    if normalization == "none":
        return lambda values: kernel(values * weight)
    norm = kernel(tf.ones_like(like[..., :1]))
    scale = tf.stop_gradient(tf.math.rsqrt(norm) if normalization == "symmetric" else 1.0 / norm)
    received = None if normalization == "before" else scale * weight
    sent = {"before": scale * weight, "after": None, "symmetric": scale}[normalization]
    if hasattr(kernel, "scaled"):
        scaled: Callable[[Any], Any] = kernel.scaled(received, sent)
        return scaled

    def apply(values: Any) -> Any:
        result = kernel(values if sent is None else values * sent)
        return result if received is None else result * received

    return apply
