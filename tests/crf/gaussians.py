"""What the CRFs are compared with, in NumPy: exact Gaussians, the lattice corner by corner, mean field by matrices."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image
from skimage import data


def picture(name: str, height: int, width: int) -> np.ndarray:
    """A photograph of scikit-image's, (H, W, 3) uint8."""
    return np.asarray(Image.fromarray(getattr(data, name)()).resize((width, height), Image.Resampling.BILINEAR))


def places(image: np.ndarray) -> np.ndarray:
    """(H W, 2): column and row."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.stack([columns, rows], -1).reshape(-1, 2).astype("float64")


def features(image: np.ndarray, sigma_xy: float, sigma_rgb: float) -> np.ndarray:
    """(H W, 5): place and colour in units of the widths."""
    return np.concatenate([places(image) / sigma_xy, image.reshape(-1, 3) / sigma_rgb], -1)


def gaussian(points: np.ndarray) -> np.ndarray:
    """(N, N): exp(-|f_i - f_j|^2 / 2)."""
    return np.exp(-0.5 * np.square(points[:, np.newaxis] - points).sum(-1))


def truncated(points: np.ndarray, image: np.ndarray, radius: int) -> np.ndarray:
    """(N, N): the Gaussian, nothing between pixels further apart than `radius` in a row or a column."""
    apart = np.abs(places(image)[:, np.newaxis] - places(image)).max(-1)
    return gaussian(points) * (apart <= radius)


def normalize(kernel: np.ndarray, how: str) -> np.ndarray:
    """D1 K D2 as matrices."""
    norm = np.diag(1 / kernel.sum(1))
    left, right = {
        "none": (np.eye(len(kernel)), np.eye(len(kernel))),
        "before": (np.eye(len(kernel)), norm),
        "after": (norm, np.eye(len(kernel))),
        "symmetric": (np.sqrt(norm), np.sqrt(norm)),
    }[how]
    return left @ kernel @ right


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def mean_field(logits: np.ndarray, message: Callable[[np.ndarray], np.ndarray], iterations: int) -> np.ndarray:
    """Refined logits (N, C)."""
    refined = logits
    for _ in range(iterations):
        refined = logits + message(softmax(refined))
    return refined


def lattice_matrix(points: np.ndarray) -> np.ndarray:
    """The permutohedral filter of (N, d) features as an (N, N) matrix, corner by corner with a dictionary of tuples."""
    count, d = points.shape
    n = d + 1
    splat: dict[tuple[int, ...], np.ndarray] = {}
    corners_of = []
    for i, point in enumerate(points):
        elevated = np.zeros(n)
        for j in range(d):
            scale = n * np.sqrt(2 / 3) / np.sqrt((j + 1) * (j + 2))
            elevated[: j + 1] += scale * point[j]
            elevated[j + 1] -= scale * point[j] * (j + 1)
        nearest = n * np.round(elevated / n).astype(int)
        while nearest.sum() != 0:
            rest = elevated - nearest
            if nearest.sum() > 0:
                nearest[rest.argmin()] -= n
            else:
                nearest[rest.argmax()] += n
        order = np.argsort(-(elevated - nearest), kind="stable")
        rest = (elevated - nearest)[order] / n
        weights = [1 - rest[0] + rest[-1], *reversed([a - b for a, b in pairwise(rest)])]
        corners = []
        for k, weight in enumerate(weights):
            corner = nearest + k
            corner[order[n - k :]] -= n
            corners.append((tuple(corner.tolist()), weight))
            splat.setdefault(corners[-1][0], np.zeros(count))[i] += weight
        corners_of.append(corners)
    values = splat
    nothing = np.zeros(count)
    for direction in range(n):
        step = np.full(n, -1)
        step[direction] = d
        values = {
            corner: value
            + 0.5 * values.get(tuple((np.array(corner) + step).tolist()), nothing)
            + 0.5 * values.get(tuple((np.array(corner) - step).tolist()), nothing)
            for corner, value in values.items()
        }
    rows = [sum(weight * values[corner] for corner, weight in corners) for corners in corners_of]
    return np.array(rows) / (1 + 2.0**-d)
