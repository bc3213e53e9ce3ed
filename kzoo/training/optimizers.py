"""SGD and AdamW with layer-wise learning rates, and the schedules of the papers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from kzoo.training.config import OptimizerSection


@keras.saving.register_keras_serializable(package="kzoo")
class PolySchedule(keras.optimizers.schedules.LearningRateSchedule):
    """`rate * (1 - step / steps) ** power` (poly) or half a cosine to 0, after a linear rise from 0.

    Args:
        rate: the learning rate after the warm-up.
        steps: number of steps of the whole training.
        warmup_steps: steps of the rise; the decay runs from step 0 all the same, as in the published code.
        power: of the poly schedule.
        cosine: half a cosine in place of poly.
    """

    def __init__(
        self, rate: float, steps: int, warmup_steps: int = 0, power: float = 0.9, cosine: bool = False
    ) -> None:
        super().__init__()
        self.rate, self.steps, self.warmup_steps = float(rate), int(steps), int(warmup_steps)
        self.power, self.cosine = float(power), bool(cosine)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        done = ops.clip(step / max(1, self.steps), 0.0, 1.0)
        decay = 0.5 * (1.0 + ops.cos(math.pi * done)) if self.cosine else ops.power(1.0 - done, self.power)
        rise = ops.minimum(1.0, (step + 1.0) / self.warmup_steps) if self.warmup_steps else 1.0
        return self.rate * rise * decay

    def get_config(self) -> dict[str, Any]:
        return {
            "rate": self.rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
            "cosine": self.cosine,
        }


class _LayerWise:
    """Mixin: a learning-rate multiplier for chosen variables, and weight decay on kernels alone.

    Biases and BatchNorm's gamma and beta (rank 1) are not decayed. Gradients are clipped after they are summed over
    the devices: Keras clips each device's share by itself, which trains otherwise than one device does.
    """

    decay: float

    def set_multiplier(self, variables: Iterable[Any], multiplier: float) -> None:
        """Multiplies the learning rate (and the decoupled decay with it) of `variables`; call before training."""
        self._multiplied = ({id(variable) for variable in variables}, float(multiplier))

    def build(self, variables: list[Any]) -> None:
        super().build(variables)  # type: ignore[misc]
        chosen, multiplier = getattr(self, "_multiplied", (set(), 1.0))
        self._rates = [multiplier if id(variable) in chosen else 1.0 for variable in variables]
        self._decays = [self.decay if len(variable.shape) > 1 else 0.0 for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)  # type: ignore[attr-defined]
        rate = learning_rate * self._rates[index]
        if self._decays[index]:
            gradient = self._decayed(gradient, variable, rate, self._decays[index])
        super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def _clip_gradients(self, gradients: list[Any]) -> list[Any]:
        return gradients  # not yet

    def _all_reduce_sum_gradients(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        summed = super()._all_reduce_sum_gradients(pairs)  # type: ignore[misc]
        clipped = super()._clip_gradients([gradient for gradient, _ in summed])  # type: ignore[misc]
        return [(gradient, variable) for gradient, (_, variable) in zip(clipped, summed, strict=True)]

    def _decayed(self, gradient: Any, variable: Any, rate: Any, decay: float) -> Any:
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="kzoo")
class SGD(_LayerWise, keras.optimizers.SGD):
    """SGD with momentum and L2 weight decay as torch has it: `decay * w` joins the gradient, and so the momentum."""

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.9, decay: float = 1e-4, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.decay = float(decay)

    def _decayed(self, gradient: Any, variable: Any, rate: Any, decay: float) -> Any:
        return gradient + decay * variable

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}


@keras.saving.register_keras_serializable(package="kzoo")
class AdamW(_LayerWise, keras.optimizers.Adam):
    """Adam with decoupled weight decay: each step takes `rate * decay * w` from the kernels."""

    def __init__(self, learning_rate: Any = 0.001, decay: float = 1e-4, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.decay = float(decay)

    def _decayed(self, gradient: Any, variable: Any, rate: Any, decay: float) -> Any:
        self.assign_sub(variable, rate * decay * variable)
        return gradient

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}


def build_optimizer(section: OptimizerSection, model: Any, epochs: int, steps_per_epoch: float) -> Any:
    """The optimizer of a recipe, with the head's learning rate set for `model.head_variables`.

    `steps_per_epoch` are those that move it: no whole number where phases take turns.
    """
    schedule = PolySchedule(
        section.learning_rate,
        round(epochs * steps_per_epoch),
        round(section.warmup_epochs * steps_per_epoch),
        section.poly_power,
        cosine=section.schedule == "cosine",
    )
    options: dict[str, Any] = {"decay": section.weight_decay, "global_clipnorm": section.clip_norm}
    if section.ema is not None:
        options.update(use_ema=True, ema_momentum=section.ema)
    optimizer: Any
    if section.name == "sgd":
        optimizer = SGD(schedule, momentum=section.momentum, **options)
    else:
        optimizer = AdamW(schedule, **options)
    optimizer.set_multiplier(model.head_variables, section.head_multiplier)
    return optimizer
