"""MMD, KL divergence, adversarial and reconstruction loss against values worked out by hand and against loops."""

import numpy as np
import pytest
import tensorflow as tf

from kzoo.losses import ZS3_BANDWIDTHS, adversarial_loss, kl_divergence, mmd, reconstruction_loss

RNG = np.random.default_rng(0)
REAL, GENERATED = RNG.normal(size=(5, 3)), RNG.normal(0.5, 1.3, size=(4, 3))


def discrepancy(real, generated, bandwidths):
    """The definition as a loop over all pairs."""

    def mean_kernel(a, b):
        return np.mean([[sum(np.exp(-np.sum((x - y) ** 2) / (2 * v)) for v in bandwidths) for y in b] for x in a])

    return np.sqrt(mean_kernel(real, real) - 2 * mean_kernel(real, generated) + mean_kernel(generated, generated))


@pytest.mark.parametrize("bandwidths", [*((v,) for v in ZS3_BANDWIDTHS), ZS3_BANDWIDTHS])
def test_mmd_of_each_bandwidth(bandwidths):
    want = discrepancy(REAL, GENERATED, bandwidths)
    np.testing.assert_allclose(mmd(REAL, GENERATED, bandwidths=bandwidths), want, rtol=1e-9)
    squared = discrepancy(REAL, GENERATED, [v**2 for v in bandwidths])
    np.testing.assert_allclose(mmd(REAL, GENERATED, bandwidths=bandwidths, squared_bandwidths=True), squared, rtol=1e-9)


def test_mmd_by_hand():
    """One sample each, 2 apart: k(x, x) = 1, so MMD^2 = 2 - 2 exp(-4 / 2v)."""
    got = mmd(np.zeros((1, 1)), np.full((1, 1), 2.0), bandwidths=[2.0])
    np.testing.assert_allclose(got, np.sqrt(2 - 2 * np.exp(-1)), rtol=1e-12)
    assert ZS3_BANDWIDTHS == (2, 5, 10, 20, 40, 80)


def test_mmd_leaves_out_what_does_not_count():
    """Weights of 0 are samples that are not there; a weight of 2 is a sample that is there twice."""
    want = discrepancy(REAL[[0, 2, 2]], GENERATED[1:], ZS3_BANDWIDTHS)
    got = mmd(REAL, GENERATED, real_weights=[1, 0, 2, 0, 0], generated_weights=np.arange(4) > 0)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_mmd_of_several_pairs_of_sets_is_the_mean_over_those_that_have_samples():
    real, generated = RNG.normal(size=(3, 6, 2)), RNG.normal(size=(3, 4, 2))
    weights = np.array([[1] * 6, [0] * 6, [1, 1, 0, 0, 0, 0]])
    got = mmd(real, generated, real_weights=weights)
    first, last = (discrepancy(real[i, : weights[i].sum()], generated[i], ZS3_BANDWIDTHS) for i in (0, 2))
    np.testing.assert_allclose(got, (first + last) / 2, rtol=1e-9)


def test_mmd_gradients_are_finite_at_zero_and_without_samples():
    def gradient(real, generated, **weights):
        generated = tf.constant(generated, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(generated)
            loss = mmd(tf.constant(real, tf.float32), generated, **weights)
        return float(loss), tape.gradient(loss, generated).numpy()

    loss, slope = gradient(REAL, GENERATED, real_weights=np.zeros(5))
    assert loss == 0
    np.testing.assert_array_equal(slope, np.zeros_like(slope))
    # The same samples in another order, of which rounding makes a small number of either sign.
    sets = RNG.normal(size=(20, 5, 3))
    loss, slope = gradient(sets, sets[:, ::-1])
    assert loss < 1e-3 and np.isfinite(slope).all()


def test_mmd_takes_half_precision_and_runs_in_a_graph():
    real, generated = tf.constant(REAL * 30, tf.bfloat16), tf.constant(GENERATED * 30, tf.bfloat16)
    want = discrepancy(*(np.asarray(tf.cast(x, tf.float64)) for x in (real, generated)), ZS3_BANDWIDTHS)
    got = tf.function(mmd)(real, generated)
    assert got.dtype == tf.float32
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_wrong_arguments_of_mmd():
    with pytest.raises(ValueError, match=r"one length D.*\(5, 3\).*\(4, 2\)"):
        mmd(REAL, GENERATED[:, :2])
    for wrong in ((), (2, 0), (float("nan"),)):
        with pytest.raises(ValueError, match="one bandwidth or more, all positive"):
            mmd(REAL, GENERATED, bandwidths=wrong)


def test_kl_by_hand():
    """N(1, 1): 1/2. N(0, 4): (4 - 1 - log 4) / 2. Channels are summed, elements averaged."""
    mean, log_variance = np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([[0.0, np.log(4)], [0.0, 0.0]])
    first, second = 0.5 + (3 - np.log(4)) / 2, 4.5
    np.testing.assert_allclose(kl_divergence(mean, log_variance), (first + second) / 2, rtol=1e-12)
    np.testing.assert_allclose(kl_divergence(mean, log_variance, [False, True]), second, rtol=1e-12)


def test_adversarial_by_hand():
    scores = np.array([[0.25], [1.0], [0.5]])
    for form, real, want in (
        ("lsgan", True, (0.5625 + 0 + 0.25) / 3),
        ("lsgan", False, (0.0625 + 1 + 0.25) / 3),
        ("l1", True, (0.75 + 0 + 0.5) / 3),
        ("l1", False, (0.25 + 1 + 0.5) / 3),
    ):
        np.testing.assert_allclose(adversarial_loss(scores, real, form=form), want, rtol=1e-12)
    np.testing.assert_allclose(adversarial_loss(scores, True, valid=[1, 1, 0]), 0.5625 / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="Unknown form of adversarial loss 'l2'"):
        adversarial_loss(scores, True, form="l2")


def test_reconstruction_by_hand():
    real, generated = np.array([[[1.0, 2.0], [3.0, 4.0]]]), np.array([[[1.0, 0.0], [0.0, 8.0]]])
    np.testing.assert_allclose(reconstruction_loss(real, generated), (4 + 25) / 2, rtol=1e-12)
    np.testing.assert_allclose(reconstruction_loss(real, generated, [[True, False]]), 4, rtol=1e-12)
    with pytest.raises(ValueError, match=r"one to one.*\(1, 2, 2\).*\(1, 1, 2\)"):
        reconstruction_loss(real, generated[:, :1])


def test_each_pixel_is_compared_with_its_own():
    """The gradient at a pixel depends on that pixel alone: 2 (generated - real) / pixels."""
    real, generated = RNG.normal(size=(2, 3, 4, 5)), RNG.normal(size=(2, 3, 4, 5))
    valid = RNG.random((2, 3, 4)) < 0.6
    features = tf.constant(generated)
    with tf.GradientTape() as tape:
        tape.watch(features)
        loss = reconstruction_loss(real, features, valid)
    want = 2 * (generated - real) / valid.sum() * valid[..., None]
    np.testing.assert_allclose(tape.gradient(loss, features), want, rtol=1e-9)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, valid: kl_divergence(x, x, valid),
        lambda x, valid: adversarial_loss(x[..., :1], True, valid=valid),
        lambda x, valid: reconstruction_loss(tf.zeros_like(x), x, valid),
    ],
)
def test_half_precision_and_nothing_valid(loss):
    x = tf.constant([[1.25, 0.5], [-0.5, 2]], tf.float16)
    got = loss(x, [True, False])
    assert got.dtype == tf.float32
    np.testing.assert_allclose(got, loss(tf.cast(x[:1], tf.float64), None), rtol=1e-6)
    assert float(loss(x, [0, 0])) == 0


def test_shares_of_two_replicas_add_up_to_the_mean_over_both():
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice("CPU:0")
    )
    x = tf.constant(RNG.normal(size=(2, 4, 3)))
    valid = np.array([[1, 1, 1, 1], [1, 0, 0, 0]])

    def of_replica():
        own = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = tf.gather(x, own)
        return kl_divergence(mine, mine, tf.gather(valid, own)), mmd(mine[:2], mine[2:])

    kl, discrepancies = strategy.run(tf.function(of_replica))
    np.testing.assert_allclose(sum(strategy.experimental_local_results(kl)), kl_divergence(x, x, valid))
    mean = (mmd(x[0, :2], x[0, 2:]) + mmd(x[1, :2], x[1, 2:])) / 2
    np.testing.assert_allclose(sum(strategy.experimental_local_results(discrepancies)), mean)
