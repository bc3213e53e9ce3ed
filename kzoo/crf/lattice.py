"""The permutohedral lattice: Gaussian filtering of scattered points in time linear in their number."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# The keys of a lattice's points are int64; one bit is the sign's, one keeps sums of keys from overflowing.
KEY_BITS = 62


class PermutohedralLattice:
    """The lattice around a batch of feature vectors; `filter` convolves values at these points with a Gaussian.

    For features f_i (in units of the Gaussian's standard deviation) the filter approximates
    `y_i = sum_j exp(-|f_i - f_j|^2 / 2) x_j`, up to a factor that is the lattice's own. Each point is spread over the
    d + 1 corners of the simplex it lies in (splat), the corners are blurred with [1/2, 1, 1/2] along each of the
    d + 1 lattice directions in turn, and read off at the points again (slice). Corners that no point lies near do not
    exist and count as zero.

    Splat, blur and slice are products with sparse matrices (`CSRSparseMatrix`, on CPU and GPU, no custom op). All
    points of the batch share one lattice, in which pictures do not touch. Works with shapes that are not known when a
    `tf.function` is traced.

    How corners are named: on the lattice all coordinates c_0 ... c_d of a corner, whose sum is 0, have the same
    remainder modulo d + 1, so that `D_j = (c_0 + ... + c_j - (j + 1) c_{j+1}) / (d + 1)` is an integer. `D_j` follows
    feature j alone, which bounds its range, and the key of a corner is the number whose digits are `D_0 ... D_{d-1}`,
    the first feature's the highest: neighbours in the picture are neighbours in memory. As the key is linear in c, a
    step along direction i (c_i grows by d, all others shrink by 1) adds the same `step_i` to the key of every corner:
    neighbours, and the other corners of a simplex, are found by adding steps.

    Args:
        features: (B, N, d), float32 or float64, finite; no gradient flows to them.

    Raises:
        ValueError: not three axes, or an unknown d.
        tf.errors.InvalidArgumentError: the features span so many standard deviations (or are not finite) that the keys
            do not fit 62 bits.

    Reference: Adams, Baek and Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics
        2010; the scale factors and the slice's factor `1 / (1 + 2^-d)` are those of the published codes.
    """

    def __init__(self, features: Any) -> None:
        features = tf.stop_gradient(tf.convert_to_tensor(features))
        if features.shape.rank != 3 or features.shape[-1] is None:
            raise ValueError(
                "PermutohedralLattice expects features (B, N, d) whose last axis is known. "
                f"Received: shape {features.shape}"
            )
        self._num_features = features.shape[-1]
        steps, per_picture = _key_steps(features)
        self._weights, self._corners, self._count, self._blurs = self._as_graph(_lattice)(features, steps, per_picture)
        self._slice = self._matrix(None)
        self._splat = _transposed(self._slice, self._weights.dtype)

    def scaled(self, received: Any, sent: Any) -> PermutohedralLattice:
        """The lattice whose filter is `received * filter(sent * x)`; the factors lie in its matrices and cost nothing.

        Factors given here take the place of those that the lattice was scaled with before.

        Args:
            received, sent: factors (B, N), or None for ones. No gradient flows to them.
        """
        other = copy.copy(self)
        if received is not None:
            other._slice = self._matrix(received)
        if sent is not None:
            other._splat = _transposed(self._matrix(sent), self._weights.dtype)
        return other

    def _matrix(self, factor: Any) -> Any:
        """The matrix (B N, corners) of the weights, rows multiplied by `factor`."""
        weights = self._weights if factor is None else self._weights * tf.reshape(factor, (-1,))
        return self._as_graph(_csr)(self._corners, weights, self._count)

    def _as_graph(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function for use where it is called: outside of graphs as one, which is faster for many small steps.

        (Not so products with the matrices: only outside of graphs TensorFlow takes oneDNN's kernels, a fifth of the
        time.)
        """
        return function if tf.inside_function() else _graph(function, self._num_features)

    def filter(self, values: Any, transpose: bool = False) -> Any:
        """The filtered values (B, N, C); differentiable in the values.

        Args:
            values: (B, N, C), of the features' type.
            transpose: whether to apply the transposed operator, which blurs in the reverse order of directions. (The
                two differ only where corners are missing.) It is also the gradient.
        """

        @tf.custom_gradient
        def run(x: Any) -> Any:
            return self._apply(x, transpose), lambda upstream: self.filter(upstream, not transpose)

        return run(values)

    def _apply(self, values: Any, transpose: bool) -> Any:
        x = tf.reshape(values, (-1, values.shape[-1]))
        matrices = [self._splat, *self._blurs, self._slice]
        if transpose:
            # The blurs along one direction are symmetric.
            splat, read = (_transposed(matrix, values.dtype) for matrix in (self._slice, self._splat))
            matrices = [splat, *self._blurs[::-1], read]
        for matrix in matrices:
            x = tf.raw_ops.SparseMatrixMatMul(a=matrix, b=x)
        return tf.reshape(x, tf.shape(values))


@functools.cache
def _graph(function: Callable[..., Any], num_features: int) -> Callable[..., Any]:
    """The function as a graph, of its own for each number of features: that of the points may change."""
    graph: Callable[..., Any] = tf.function(function, reduce_retracing=True, autograph=False)
    return graph


def _lattice(features: Any, steps: Any, per_picture: Any) -> tuple[Any, Any, Any, list[Any]]:
    """Weights and numbers (d + 1, B N) of the corners around each point, the corners' number, the blur's matrices."""
    d = features.shape[-1]
    keys, weights = _corners(features, steps, per_picture)
    points, corners = _unique(keys)
    # One half of the factor on the way in, one on the way out.
    weights *= (1.0 + 2.0**-d) ** -0.5
    blurs = [_csr(*_blur(points, step, features.dtype)) for step in tf.unstack(steps)]
    return weights, corners, sum(tf.size(found) for found in points), blurs


def _key_steps(features: Any) -> tuple[Any, Any]:
    """What a step along each direction adds to a key, (d + 1,) int64, and what the next picture adds."""
    d = features.shape[-1]
    order = tf.range(1, d + 1, dtype=features.dtype)
    span = tf.reduce_max(features, (0, 1)) - tf.reduce_min(features, (0, 1))
    # A corner's D_j is within 2 (j + 1) of its point's, and its neighbours' within j + 1 of its own.
    extent = tf.math.ceil(math.sqrt(2 / 3) * tf.sqrt(order * (order + 1)) * span) + 5 * order + 2
    pictures = tf.cast(tf.shape(features)[0], features.dtype)
    bits = (tf.reduce_sum(tf.math.log(extent)) + tf.math.log(pictures)) / math.log(2)
    fits = tf.debugging.assert_less(
        bits,
        tf.cast(KEY_BITS, bits.dtype),
        f"The features span too many standard deviations for a permutohedral lattice, whose keys have {KEY_BITS} bits "
        "(or are not finite): use larger widths (sigma) of the kernel.",
    )
    with tf.control_dependencies([] if fits is None else [fits]):
        extent = tf.cast(extent, tf.int64)
    place = tf.math.cumprod(extent, exclusive=True, reverse=True)
    later = tf.cumsum(place, reverse=True)
    zero = tf.zeros((1,), tf.int64)
    steps = tf.concat([later, zero], 0) - tf.concat([zero, tf.range(1, d + 1, dtype=tf.int64) * place], 0)
    return steps, tf.reduce_prod(extent)


def _corners(features: Any, steps: Any, per_picture: Any) -> tuple[Any, Any]:
    """Keys (d + 1, B N) of the corners around each point, by their remainder, and barycentric weights (d + 1, B N)."""
    d, dtype = features.shape[-1], features.dtype
    n = d + 1
    # Points on the hyperplane of zero sum, in units of d + 1, and the nearest corner of remainder 0 by rounding.
    # The basis' j-th row (1, ..., 1, -j, 0, ...) has the length sqrt(j (j + 1)).
    j = np.arange(1, d + 1)
    basis = np.tril(np.ones((d, n))) - np.eye(d, n, 1) * j[:, np.newaxis]
    elevation = basis * np.sqrt(2 / 3 / (j * (j + 1)))[:, np.newaxis]
    elevated = tf.matmul(tf.reshape(features, (-1, d)), tf.constant(elevation, dtype))
    rounded = tf.round(elevated)
    excess = tf.reduce_sum(rounded, 1, keepdims=True)
    rest, order = tf.math.top_k(elevated - rounded, n)
    # Rounding left the hyperplane by `excess`: as many coordinates with the smallest (largest) rest go one down (up),
    # which makes them the largest (smallest). In the sorted rows that is a rotation.
    place = tf.range(n, dtype=dtype)
    turned = tf.cast(tf.math.floormod(place - excess, n), tf.int32)
    rest, order = tf.gather(rest, turned, batch_dims=1), tf.gather(order, turned, batch_dims=1)
    down = tf.cast(place < excess, dtype) - tf.cast(place >= n + excess, dtype)
    rest += down
    # The corner of remainder k has the k coordinates of smallest rest lowered.
    lowered = tf.gather(steps, order)
    first = tf.reduce_sum(tf.cast(rounded, tf.int64) * steps - tf.cast(down, tf.int64) * lowered, 1)
    count = tf.shape(features)
    first += tf.repeat(tf.range(count[0], dtype=tf.int64) * per_picture, count[1])
    lowered = tf.reverse(tf.transpose(lowered), (0,))
    keys = first - tf.cumsum(tf.concat([tf.zeros_like(lowered[:1]), lowered[:-1]], 0))
    rest = tf.reverse(tf.transpose(rest), (0,))
    weights = tf.concat([1.0 + rest[:1] - rest[-1:], rest[1:] - rest[:-1]], 0)
    return keys, weights


def _unique(keys: Any) -> tuple[list[Any], Any]:
    """The sorted distinct keys of each remainder, and the number of each corner among all of them, (d + 1, B N)."""
    points, corners, start = [], [], 0
    for row in tf.unstack(keys):
        distinct, index = tf.unique(row)
        order = tf.argsort(distinct)
        points.append(tf.gather(distinct, order))
        corners.append(tf.gather(tf.math.invert_permutation(order), index) + start)
        start += tf.size(distinct)
    return points, tf.stack(corners)


def _blur(points: list[Any], step: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """The entries (3, M) of the blur along the direction of `step`, columns and values, and the number M of corners."""
    sizes = [tf.size(found) for found in points]
    total = sum(sizes)
    starts = [sum(sizes[:k], 0) for k in range(len(sizes))]
    ahead = []
    for k, found in enumerate(points):
        # A step ahead lowers the remainder by one.
        others = points[k - 1]
        wanted = found + step
        place = tf.minimum(tf.searchsorted(others, wanted), tf.size(others) - 1)
        ahead.append(tf.where(tf.gather(others, place) == wanted, place + starts[k - 1], total))
    forward = tf.concat(ahead, 0)
    here = tf.range(total)
    backward = tf.tensor_scatter_nd_update(tf.fill((total + 1,), total), forward[:, tf.newaxis], here)[:-1]
    columns, values = [here], [tf.ones((total,), dtype)]
    for neighbour in (forward, backward):
        exists = neighbour < total
        columns.append(tf.where(exists, neighbour, here))
        values.append(tf.cast(exists, dtype) / 2)
    return tf.stack(columns), tf.stack(values), total


def _csr(columns: Any, values: Any, width: Any) -> Any:
    """A sparse matrix of `width` columns whose row i has the entries `columns[:, i]`, `values[:, i]`."""
    count, rows = columns.shape[0], tf.shape(columns)[1]
    row = tf.repeat(tf.range(rows, dtype=tf.int64), count)
    column = tf.reshape(tf.transpose(tf.cast(columns, tf.int64)), (-1,))
    return tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=tf.transpose(tf.stack([row, column])),
        values=tf.reshape(tf.transpose(values), (-1,)),
        dense_shape=tf.cast(tf.stack([rows, width]), tf.int64),
    )


def _transposed(matrix: Any, dtype: Any) -> Any:
    return tf.raw_ops.SparseMatrixTranspose(input=matrix, type=dtype)
