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
