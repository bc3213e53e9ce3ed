"""Training from recipes: config, schedules, optimizers, strategy, the run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kzoo.training.config import TrainConfig, load_config

if TYPE_CHECKING:
    from kzoo.training.run import train

__all__ = ["TrainConfig", "load_config", "train"]


def __getattr__(name: str) -> object:
    # The config is read without TensorFlow; training is not.
    if name == "train":
        from kzoo.training.run import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
