"""The spatial kernel, a Gaussian of the pixels' distance, as an exact separable convolution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

# Beyond 5 sigma lies 6e-7 of a Gaussian's mass, which float32 cannot tell from none.
CUT_OFF = 5.0


def spatial_filter(values: Any, sigma: float, radius: int | None = None) -> Any:
    """`y_p = sum_q exp(-|p - q|^2 / (2 sigma^2)) x_q` over the pixels q of the picture; outside it is nothing.

    Args:
        values: (B, H, W, C).
        sigma: standard deviation in pixels.
        radius: the sum stops at this distance along each axis; by default where float32 sees no more, at 5 sigma.

    Returns:
        (B, H, W, C).
    """
    radius = math.ceil(CUT_OFF * sigma) if radius is None else radius
    taps = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    kernel = tf.tile(tf.constant(taps.reshape(-1, 1, 1, 1), values.dtype), (1, 1, values.shape[-1], 1))
    down = tf.nn.depthwise_conv2d(values, kernel, (1, 1, 1, 1), "SAME")
    return tf.nn.depthwise_conv2d(down, tf.transpose(kernel, (1, 0, 2, 3)), (1, 1, 1, 1), "SAME")


class SpatialKernel:
    """`spatial_filter` as a linear operator on (B, H, W, C) whose values can be scaled on either side.

    Args:
        sigma: standard deviation in pixels.
        like: a tensor of the values' shape.
    """

    def __init__(self, sigma: float, like: Any) -> None:
        self.sigma, self.like = sigma, like
        self.received: Any = None
        self.sent: Any = None

    def __call__(self, values: Any) -> Any:
        result = spatial_filter(values if self.sent is None else values * self.sent, self.sigma)
        return result if self.received is None else result * self.received

    def scaled(self, received: Any, sent: Any) -> SpatialKernel:
        """The kernel with factors (B, H, W, 1), or None, of the values that pixels receive and send."""
        other = SpatialKernel(self.sigma, self.like)
        # To full size once: each product with factors that are short in the last axis would take four times as long.
        other.received, other.sent = (
            None if factor is None else tf.broadcast_to(factor, tf.shape(self.like)) for factor in (received, sent)
        )
        return other
