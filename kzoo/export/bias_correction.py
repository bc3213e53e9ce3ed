"""What int8 adds to a product's result on average, and so can be taken off its bias.

Weights and what they are multiplied with are rounded. Over all pixels and pictures the errors of one output channel do
not cancel out: a small value between two steps of a tensor's range is rounded the same way wherever it stands. The
whole map is shifted then, in each layer anew. (Nagel et al., Data-Free Quantization Through Weight Equalization and
Bias Correction, ICCV 2019, arXiv 1906.04721, section 4.2; the means are those of the calibration pictures here.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_error(
    weights: NDArray[Any], quantised_weights: NDArray[Any], mean: NDArray[Any], quantised_mean: NDArray[Any]
) -> NDArray[np.float64]:
    """What the quantised product's results lack, by output channel, on average: to be added to the bias.

    The zeros around a padded picture are left out of account: each tap of the kernel is taken to see the mean.

    Args:
        weights, quantised_weights: (channels out, channels in by group, taps of the kernel).
        mean, quantised_mean: (channels in,), of what the weights are multiplied with, in float and quantised.

    Returns:
        (channels out,).
    """
    inputs = weights.shape[1]
    group = np.arange(len(weights)) // (len(weights) * inputs // len(mean))
    exact = np.sum(weights, -1, np.float64) * np.reshape(mean, (-1, inputs))[group]
    rounded = np.sum(quantised_weights, -1, np.float64) * np.reshape(quantised_mean, (-1, inputs))[group]
    return np.sum(exact - rounded, -1)
