"""The devices that a run trains on."""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf


def make_strategy(devices: int | None) -> tf.distribute.Strategy:
    """A `MirroredStrategy` over several devices, the default strategy for one.

    Args:
        devices: how many GPUs, or logical CPU devices where there is no GPU; `None` is all GPUs, or the CPU.

    Raises: `ValueError` if there are fewer GPUs than asked for, or TensorFlow has already started with another number
        of logical CPU devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if devices is not None and devices > len(gpus):
            raise ValueError(f"train.devices asks for {devices} devices; this machine has {len(gpus)} GPUs.")
        names = [f"GPU:{index}" for index in range(devices or len(gpus))]
    else:
        names = [f"CPU:{index}" for index in range(devices or 1)]
        _split_cpu(len(names))
    if len(names) == 1:
        return tf.distribute.get_strategy()
    # The collective operations that would be chosen for CPU devices can wait for each other for ever.
    reduction = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)


def _split_cpu(count: int) -> None:
    if count == 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    # A started runtime refuses; if it already has enough devices, they will do.
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    found = len(tf.config.list_logical_devices("CPU"))
    if found < count:
        raise ValueError(
            f"train.devices asks for {count} logical CPU devices, but TensorFlow has already started with {found}. "
            "Train from a fresh process (`kzoo train`)."
        )


def set_synchronized(model: Any, synchronized: bool) -> None:
    """Sets whether the model's BatchNormalization layers share their statistics between replicas."""
    for layer in model._flatten_layers():
        if hasattr(layer, "synchronized"):
            layer.synchronized = synchronized
