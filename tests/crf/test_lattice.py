"""The lattice against exact Gaussians, against the paper's algorithm corner by corner, and as a linear operator."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kzoo.crf import NORMALIZATIONS, PermutohedralLattice, bilateral_features, normalized
from kzoo.crf.bilateral import LatticeKernel
from tests.crf.gaussians import features, gaussian, lattice_matrix, normalize, picture, softmax


def matrix(points: np.ndarray, transpose: bool = False, dtype: str = "float64") -> np.ndarray:
    """The filter of (N, d) features, materialised from unit vectors."""
    units = tf.eye(len(points), batch_shape=(1,), dtype=dtype)
    return PermutohedralLattice(points[np.newaxis].astype(dtype)).filter(units, transpose)[0].numpy()


@pytest.mark.parametrize("name", ["chelsea", "astronaut"])
@pytest.mark.parametrize(("sigma_xy", "sigma_rgb"), [(49, 5), (80, 13), (10, 13), (160, 3)])
def test_near_the_exact_gaussian_on_photographs(name, sigma_xy, sigma_rgb):
    """Beliefs as coarse as a network's, masks with the picture's own edges, and its colours."""
    image = picture(name, 48, 64)
    points = features(image, sigma_xy, sigma_rgb)
    beliefs = softmax(4 * np.random.default_rng(0).normal(size=(6, 8, 5))).repeat(8, 0).repeat(8, 1)
    values = np.concatenate([beliefs, image > 120, image / 255], -1).reshape(len(points), -1)
    lattice = PermutohedralLattice(points[np.newaxis].astype("float32"))
    filtered, norm = (lattice.filter(v[np.newaxis].astype("float32"))[0] for v in (values, np.ones((len(points), 1))))
    kernel = gaussian(points)
    expected = kernel @ values / kernel.sum(1, keepdims=True)
    assert np.abs(filtered / norm - expected).sum() < 0.03 * np.abs(expected).sum()


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 6])
def test_equals_the_algorithm_corner_by_corner(dimensions):
    points = np.random.default_rng(dimensions).normal(0, 1.5, (60, dimensions))
    np.testing.assert_allclose(matrix(points), lattice_matrix(points), atol=1e-12)


def test_equals_the_algorithm_on_a_photograph():
    points = features(picture("chelsea", 12, 16), 10, 13)
    np.testing.assert_allclose(matrix(points, dtype="float32"), lattice_matrix(points), atol=1e-4)


def test_transposed_filter_is_the_adjoint():
    """Missing corners make the order of the blur's directions count, or there would be nothing to test."""
    points = np.random.default_rng(0).normal(0, 1.5, (80, 5))
    forward, backward = matrix(points), matrix(points, transpose=True)
    assert np.abs(forward - forward.T).max() > 1e-3
    np.testing.assert_allclose(backward, forward.T, atol=1e-12)
    x, y = np.random.default_rng(1).normal(size=(2, 1, 80, 3))
    lattice = PermutohedralLattice(points[np.newaxis])
    sides = np.sum(lattice.filter(x) * y), np.sum(x * lattice.filter(y, transpose=True))
    assert sides[0] == pytest.approx(sides[1], rel=1e-6)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalizations_are_diagonal_matrices_around_the_kernel(normalization):
    points = features(picture("astronaut", 12, 16), 10, 13)
    lattice = PermutohedralLattice(points[np.newaxis].astype("float32"))
    values = np.random.default_rng(0).normal(size=(1, len(points), 4)).astype("float32")
    expected = 3 * normalize(matrix(points, dtype="float32").astype("float64"), normalization) @ values[0]
    # Once as any kernel, once with the factors inside the lattice's matrices.
    for kernel in (lattice.filter, LatticeKernel(lattice)):
        actual = normalized(kernel, values, normalization, 3.0)(values)[0]
        np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("in_graph", [False, True])
def test_scaled_lattices_have_the_gradient_of_their_operator(in_graph):
    """With factors that differ on the two sides, and corners missing so that the blurs' order tells."""
    rng = np.random.default_rng(0)
    points, upstream = rng.normal(0, 1.5, (1, 30, 5)), rng.normal(size=(1, 30, 2))
    received, sent = rng.uniform(0.5, 2, (2, 1, 30))

    def both(x):
        lattice = PermutohedralLattice(points).scaled(received, sent)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = lattice.filter(x)
        return y, tape.gradient(y, x, upstream)

    operator = received[0][:, np.newaxis] * matrix(points[0]) * sent[0]
    x = rng.normal(size=(1, 30, 2))
    y, gradient = (tf.function(both) if in_graph else both)(tf.constant(x))
    np.testing.assert_allclose(y[0], operator @ x[0], atol=1e-12)
    np.testing.assert_allclose(gradient[0], operator.T @ upstream[0], atol=1e-12)


@pytest.mark.parametrize("transpose", [False, True])
def test_gradient_equals_finite_differences(transpose):
    rng = np.random.default_rng(0)
    points, x, direction = rng.normal(0, 1.5, (1, 40, 5)), rng.normal(size=(1, 40, 3)), rng.normal(size=(1, 40, 3))
    lattice = PermutohedralLattice(points)

    def value(x):
        return tf.reduce_sum(tf.sin(lattice.filter(tf.nn.softmax(x), transpose)))

    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        result = value(variable)
    slope = np.sum(tape.gradient(result, variable) * direction)
    step = 1e-5
    assert slope == pytest.approx(
        float(value(x + step * direction) - value(x - step * direction)) / (2 * step), rel=1e-6
    )


def test_pictures_of_a_batch_do_not_touch():
    points = [features(picture(name, 20, 30), 20, 13) for name in ("chelsea", "astronaut", "coffee")]
    batch = np.stack(points).astype("float32")
    values = np.random.default_rng(0).random((3, 600, 4), "float32")
    together = PermutohedralLattice(batch).filter(values)
    for i in range(3):
        alone = PermutohedralLattice(batch[i : i + 1]).filter(values[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5 * np.abs(alone).max())


def test_one_trace_serves_all_sizes():
    @tf.function(input_signature=[tf.TensorSpec((None, None, 5)), tf.TensorSpec((None, None, 2))])
    def run(points, values):
        return PermutohedralLattice(points).filter(values)

    for count, size in ((1, 50), (3, 20), (2, 1)):
        rng = np.random.default_rng(size)
        points, values = rng.normal(size=(count, size, 5)), rng.random((count, size, 2))
        expected = np.stack([lattice_matrix(p) @ v for p, v in zip(points, values, strict=True)])
        np.testing.assert_allclose(run(points.astype("float32"), values.astype("float32")), expected, atol=1e-4)
    assert run.experimental_get_tracing_count() == 1


def test_features_of_pictures():
    images = np.stack([picture("chelsea", 4, 6), picture("coffee", 4, 6)])
    actual = bilateral_features(tf.cast(images, "float64"), 10.0, 4.0)
    np.testing.assert_allclose(actual, [features(image, 10, 4) for image in images])


@pytest.mark.parametrize("scale", [1e13, np.nan])
def test_features_out_of_range(scale):
    points = scale * np.random.default_rng(0).random((1, 9, 5))
    with pytest.raises(tf.errors.InvalidArgumentError, match="larger widths"):
        PermutohedralLattice(points)


def test_features_of_wrong_shape():
    with pytest.raises(ValueError, match=r"\(9, 5\)"):
        PermutohedralLattice(np.zeros((9, 5)))
