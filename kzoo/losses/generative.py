"""Losses of networks that generate features: maximum mean discrepancy, KL divergence, adversarial, reconstruction.

Each is computed in float32 at least and is 0, with gradients of 0, where nothing counts. Under a strategy each is this
replica's share of a global mean. The maximum mean discrepancy compares sets, which are those of the replica: two
replicas' sets are not joined, their discrepancies are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from kzoo.errors import unknown_name
from kzoo.losses.replicas import global_mean

ZS3_BANDWIDTHS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
"""ZS3Net's code; its paper, and CaGNet's code, end with 60."""

_LEAST = 1e-10  # a squared discrepancy below is rounding, and the gradient of its root has no meaning


def mmd(
    real: Any,
    generated: Any,
    *,
    bandwidths: Sequence[float] = ZS3_BANDWIDTHS,
    squared_bandwidths: bool = False,
    real_weights: Any = None,
    generated_weights: Any = None,
) -> Any:
    """Maximum mean discrepancy between real and generated features, a kernel estimate of how far their laws differ.

    With the kernel `k(x, y) = sum over v of exp(-|x - y|^2 / (2 v))` it is the root of the biased estimate
    `mean k(x, x') - 2 mean k(x, y) + mean k(y, y')`, in which every pair counts, also a sample with itself.

    Several pairs of sets, say one a class, are compared at once along leading axes; the result is the mean over those
    in which both sets have a sample that counts.

    Args:
        real: (..., M, D).
        generated: (..., N, D).
        bandwidths: the v.
        squared_bandwidths: whether they are standard deviations, so that v is their square, as in ZS3Net's paper; its
            code takes them as v.
        real_weights: (..., M), how much each sample counts; 0 for the invalid ones among a fixed number. All alike by
            default.
        generated_weights: (..., N), the same.

    Returns: a scalar.
    Raises: `ValueError` for no bandwidths or some that are not positive, and features of different length.
    References: Li et al., Generative Moment Matching Networks, ICML 2015; Bucher et al., Zero-Shot Semantic
        Segmentation, NeurIPS 2019, arXiv 1906.00817, equation 1.
    """
    if not bandwidths or not min(bandwidths) > 0:
        raise ValueError(f"mmd needs one bandwidth or more, all positive. Received: bandwidths={bandwidths!r}")
    real, generated = _full_precision(real), _full_precision(generated)
    if real.shape[-1] != generated.shape[-1]:
        raise ValueError(
            f"mmd compares features of one length D. Received: real {tuple(real.shape)}, generated "
            f"{tuple(generated.shape)}"
        )
    real_shares, real_there = _shares(real, real_weights)
    generated_shares, generated_there = _shares(generated, generated_weights)
    # The estimate is s^T K s with the kernel matrix K of all samples and s = (shares of real, minus shares of
    # generated): one product of matrices gives all distances.
    samples = ops.concatenate([real, generated], axis=-2)
    signs = ops.concatenate([real_shares, -generated_shares], axis=-1)
    products = ops.matmul(samples, ops.swapaxes(samples, -1, -2))
    norms = ops.sum(ops.square(samples), axis=-1)
    distances = ops.relu(ops.expand_dims(norms, -1) + ops.expand_dims(norms, -2) - 2 * products)
    variances = [bandwidth**2 if squared_bandwidths else bandwidth for bandwidth in bandwidths]
    kernel = sum(ops.exp(distances * (-0.5 / variance)) for variance in variances)
    squares = ops.sum(ops.expand_dims(signs, -1) * ops.expand_dims(signs, -2) * kernel, axis=(-2, -1))
    counted = ops.logical_and(real_there, generated_there)
    # The root has no gradient at 0, nor at what rounding makes of it: it must not be taken there.
    positive = ops.logical_and(counted, squares > _LEAST)
    roots = ops.cast(positive, squares.dtype) * ops.sqrt(ops.where(positive, squares, 1.0))
    return global_mean(ops.sum(roots), ops.sum(ops.cast(counted, roots.dtype)))


def kl_divergence(mean: Any, log_variance: Any, valid: Any = None) -> Any:
    """Kullback-Leibler divergence of N(mean, exp(log_variance)) from N(0, 1).

    It is summed over the channels, `(mean^2 + exp(log_variance) - 1 - log_variance) / 2` each, and the mean over the
    elements that count.

    Args:
        mean: (..., C).
        log_variance: (..., C).
        valid: (...), true (1) for the elements that count; all by default.

    Returns: a scalar.
    """
    mean, log_variance = _full_precision(mean), _full_precision(log_variance)
    return _mean(ops.sum(ops.square(mean) + ops.exp(log_variance) - 1 - log_variance, axis=-1) / 2, valid)


def adversarial_loss(scores: Any, real: bool, *, form: Literal["lsgan", "l1"] = "lsgan", valid: Any = None) -> Any:
    """Distance of a discriminator's scores from 1 (real) or 0 (fake), the mean over the elements that count.

    The discriminator is trained with `real=True` on real and `real=False` on generated features, the generator with
    `real=True` on generated ones.

    Args:
        scores: (..., 1).
        real: whether the scores should say "real".
        form: `"lsgan"`, the squared distance (CaGNet's paper), or `"l1"`, the absolute one (its code).
        valid: (...), true (1) for the elements that count; all by default.

    Returns: a scalar.
    Raises: `ValueError` for another form.
    References: Mao et al., Least Squares Generative Adversarial Networks, ICCV 2017; Gu et al., CaGNet, ACM MM 2020.
    """
    distances = {"lsgan": ops.square, "l1": ops.absolute}
    if form not in distances:
        raise unknown_name("form of adversarial loss", form, distances)
    return _mean(ops.sum(distances[form](_full_precision(scores) - float(real)), axis=-1), valid)


def reconstruction_loss(real: Any, generated: Any, valid: Any = None) -> Any:
    """Squared Euclidean distance between each real feature and the one generated for it, the mean over elements.

    Args:
        real: (..., C).
        generated: (..., C), for the same elements.
        valid: (...), true (1) for the elements that count; all by default.

    Returns: a scalar.
    Raises: `ValueError` for shapes that differ, which would pair features that do not belong together.
    Reference: Gu et al., CaGNet, ACM MM 2020, arXiv 2008.06893.
    """
    real, generated = _full_precision(real), _full_precision(generated)
    if len(real.shape) != len(generated.shape) or any(
        a != b for a, b in zip(real.shape, generated.shape, strict=True) if None not in (a, b)
    ):
        raise ValueError(
            "reconstruction_loss compares features one to one. Received: real "
            f"{tuple(real.shape)}, generated {tuple(generated.shape)}"
        )
    return _mean(ops.sum(ops.square(real - generated), axis=-1), valid)


def _full_precision(values: Any) -> Any:
    values = ops.convert_to_tensor(values)
    return ops.cast(values, keras.backend.result_type(values.dtype, "float32"))


def _shares(samples: Any, weights: Any) -> tuple[Any, Any]:
    """The samples' weights with sum 1 in each set (0 in a set without any), and whether there are any."""
    weights = ops.ones_like(samples[..., 0]) if weights is None else ops.cast(weights, samples.dtype)
    total = ops.sum(weights, axis=-1, keepdims=True)
    return weights / ops.where(total > 0, total, 1.0), ops.squeeze(total > 0, axis=-1)


def _mean(losses: Any, valid: Any) -> Any:
    """The replica's share of the mean of `losses` (...) over the valid ones."""
    weights = ops.ones_like(losses) if valid is None else ops.cast(valid, losses.dtype)
    return global_mean(ops.sum(losses * weights), ops.sum(weights))
