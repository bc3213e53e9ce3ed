"""The bilateral kernel, a Gaussian of the pixels' distance and of their colours' difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kzoo.crf.lattice import PermutohedralLattice


def bilateral_features(images: Any, sigma_xy: float, sigma_rgb: float) -> Any:
    """The pixels' features (B, H W, 5): column and row over `sigma_xy`, RGB over `sigma_rgb`, from (B, H, W, 3)."""
    shape = tf.shape(images)
    columns, rows = tf.meshgrid(tf.range(shape[2]), tf.range(shape[1]))
    places = tf.cast(tf.stack([columns, rows], -1), images.dtype)
    places = tf.broadcast_to(places, tf.concat([shape[:3], [2]], 0))
    return tf.reshape(tf.concat([places / sigma_xy, images / sigma_rgb], -1), (shape[0], -1, 5))


class LatticeKernel:
    """The bilateral kernel on a permutohedral lattice, a linear operator on (B, H, W, C).

    Args:
        lattice: around the features of pictures (B, H, W, 3).
    """

    def __init__(self, lattice: PermutohedralLattice) -> None:
        self.lattice = lattice

    def __call__(self, values: Any) -> Any:
        shape = tf.shape(values)
        flat = tf.reshape(values, (shape[0], -1, values.shape[-1]))
        return tf.ensure_shape(tf.reshape(self.lattice.filter(flat), shape), values.shape)

    def scaled(self, received: Any, sent: Any) -> LatticeKernel:
        """The kernel with factors (B, H, W, 1), or None, of the values that pixels receive and send."""
        return LatticeKernel(self.lattice.scaled(received, sent))


def bilateral_kernel(images: Any, sigma_xy: float, sigma_rgb: float) -> LatticeKernel:
    """The bilateral kernel of pictures (B, H, W, 3), on the permutohedral lattice."""
    return LatticeKernel(PermutohedralLattice(bilateral_features(images, sigma_xy, sigma_rgb)))


def truncated_bilateral_kernel(images: Any, sigma_xy: float, sigma_rgb: float, radius: int) -> Callable[[Any], Any]:
    """The bilateral kernel within a window, exactly: `y_p = sum_o g_o(p) x_{p+o}`, |o_x|, |o_y| <= radius.

    One slice, multiplication and addition for each of the (2 radius + 1)^2 offsets: nothing that ONNX, TensorRT or
    LiteRT lack. The operator is symmetric, hence its own gradient.

    Args:
        images: (B, H, W, 3).
        sigma_xy: width in pixels.
        sigma_rgb: width in grey values.
        radius: of the window, in pixels.

    Returns:
        A function of (B, H, W, C).
    """
    # Scaled before they are squared: a half-precision engine does not hold 255^2.
    colours = tf.stop_gradient(images * (0.5**0.5 / sigma_rgb))
    around = _pad(colours, radius)
    height, width = _size(images)
    offsets = [(dy, dx) for dy in range(2 * radius + 1) for dx in range(2 * radius + 1)]
    weights = []
    for dy, dx in offsets:
        there = around[:, dy : dy + height, dx : dx + width]
        distance = 0.5 * ((dy - radius) ** 2 + (dx - radius) ** 2) / sigma_xy**2
        weights.append(tf.exp(-tf.reduce_sum(tf.square(there - colours), -1, keepdims=True) - distance))

    @tf.custom_gradient
    def kernel(values: Any) -> Any:
        padded = _pad(values, radius)
        shifted = (padded[:, dy : dy + height, dx : dx + width] for dy, dx in offsets)
        total = None
        for weight, value in zip(weights, shifted, strict=True):
            total = weight * value if total is None else total + weight * value
        return total, kernel

    return kernel


def _pad(x: Any, radius: int) -> Any:
    return tf.pad(x, ((0, 0), (radius, radius), (radius, radius), (0, 0)))


def _size(images: Any) -> tuple[Any, Any]:
    """Height and width, as numbers where they are known: then the exported graph has no shape arithmetic."""
    known, size = images.shape[1:3], tf.shape(images)
    return tuple(size[1 + i] if known[i] is None else known[i] for i in range(2))
