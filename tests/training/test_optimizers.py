"""Schedules, layer-wise learning rates and weight decay against hand-computed and torch's values."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from kzoo.training.config import OptimizerSection
from kzoo.training.optimizers import SGD, AdamW, PolySchedule, build_optimizer
from kzoo.training.strategy import make_strategy


def test_poly_schedule():
    schedule = PolySchedule(0.5, steps=100, power=0.9)
    for step in (0, 1, 50, 99):
        np.testing.assert_allclose(schedule(step), 0.5 * (1 - step / 100) ** 0.9, rtol=1e-5)
    assert float(schedule(100)) == float(schedule(150)) == 0.0


def test_cosine_with_warm_up():
    schedule = PolySchedule(0.5, steps=100, warmup_steps=10, cosine=True)
    np.testing.assert_allclose(schedule(0), 0.5 * 0.1, rtol=1e-5)
    np.testing.assert_allclose(schedule(4), 0.5 * 0.5 * 0.5 * (1 + np.cos(np.pi * 0.04)), rtol=1e-5)
    np.testing.assert_allclose(schedule(60), 0.25 * (1 + np.cos(np.pi * 0.6)), rtol=1e-5)


def trajectory(optimizer, multiplier):
    """Three steps of a kernel (rank 2) and a bias on fixed gradients; the kernel has the multiplier."""
    kernel = keras.Variable(np.array([[1.0, -2.0], [3.0, 0.5]], "float32"))
    bias = keras.Variable(np.array([1.0, -1.0], "float32"))
    optimizer.set_multiplier([kernel], multiplier)
    for step in range(3):
        optimizer.apply(
            [np.full((2, 2), 0.1 * (step + 1), "float32"), np.array([0.3, -0.2], "float32")], [kernel, bias]
        )
    return np.asarray(kernel), np.asarray(bias)


def torch_trajectory(make, rate, multiplier, decay):
    kernel = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, 0.5]]))
    bias = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    groups = [
        {"params": [kernel], "lr": rate * multiplier, "weight_decay": decay},
        {"params": [bias], "lr": rate, "weight_decay": 0.0},
    ]
    optimizer = make(groups)
    for step in range(3):
        kernel.grad, bias.grad = torch.full((2, 2), 0.1 * (step + 1)), torch.tensor([0.3, -0.2])
        optimizer.step()
    return kernel.detach().numpy(), bias.detach().numpy()


@pytest.mark.parametrize("multiplier", [1.0, 10.0])
def test_sgd_equals_torch(multiplier):
    got = trajectory(SGD(0.01, momentum=0.9, decay=0.1), multiplier)
    want = torch_trajectory(lambda groups: torch.optim.SGD(groups, momentum=0.9), 0.01, multiplier, 0.1)
    for mine, other in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


@pytest.mark.parametrize("multiplier", [1.0, 10.0])
def test_adamw_equals_torch(multiplier):
    got = trajectory(AdamW(0.01, decay=0.1, epsilon=1e-8), multiplier)
    want = torch_trajectory(lambda groups: torch.optim.AdamW(groups, eps=1e-8), 0.01, multiplier, 0.1)
    for mine, other in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=5e-6)


def test_the_devices_sum_is_clipped():
    strategy = make_strategy(2)
    with strategy.scope():
        weights = keras.Variable(np.zeros((2,), "float32"))
        optimizer = SGD(1.0, momentum=0.0, decay=0.0, global_clipnorm=1.0)
        optimizer.build([weights])

    def step():
        first = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group == 0, "float32")
        optimizer.apply([tf.stack([3 * first, 4 * (1 - first)])], [weights])

    strategy.run(step)  # (3, 0) and (0, 4): together of norm 5, where each alone would be clipped to norm 1
    np.testing.assert_allclose(keras.ops.convert_to_numpy(weights), [-0.6, -0.8], rtol=1e-6)


class TwoLayers(keras.Sequential):
    """A model with one head variable, as `build_optimizer` asks for it."""

    @property
    def head_variables(self):
        return self.layers[-1].trainable_variables


def test_recipe_to_optimizer():
    model = TwoLayers([keras.layers.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    section = OptimizerSection(name="adamw", learning_rate=0.1, head_multiplier=7.0, weight_decay=0.03, ema=0.9)
    optimizer = build_optimizer(section, model, epochs=2, steps_per_epoch=5)
    optimizer.build(model.trainable_variables)
    assert isinstance(optimizer, AdamW) and optimizer.use_ema
    assert optimizer._rates == [1.0, 1.0, 7.0, 7.0]
    assert optimizer._decays == [0.03, 0.0, 0.03, 0.0]
    np.testing.assert_allclose(float(optimizer.learning_rate), 0.1)
    assert optimizer.ema_momentum == 0.9


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_every_key_of_the_recipe_reaches_the_optimizer(schedule):
    model = TwoLayers([keras.layers.Input((2,)), keras.layers.Dense(1)])
    section = OptimizerSection(
        **{"name": "sgd", "learning_rate": 0.1, "momentum": 0.8, "clip_norm": 0.5},
        **{"schedule": schedule, "poly_power": 2.0, "warmup_epochs": 0.4},
    )
    optimizer = build_optimizer(section, model, epochs=2, steps_per_epoch=10)
    assert isinstance(optimizer, SGD) and not optimizer.use_ema
    assert (optimizer.momentum, optimizer.global_clipnorm) == (0.8, 0.5)
    for step in (0, 2, 4, 15, 20):  # of 20; the warm-up takes the first 4
        done, rise = step / 20, min(1, (step + 1) / 4)
        decay = (1 - done) ** 2 if schedule == "poly" else 0.5 * (1 + np.cos(np.pi * done))
        optimizer.iterations.assign(step)
        np.testing.assert_allclose(float(optimizer.learning_rate), 0.1 * rise * decay, rtol=1e-5, atol=1e-8)
