"""The first layer of every network: pictures to what its backbone was trained on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="kzoo")
class Normalize(keras.layers.Rescaling):
    """RGB pictures (B, H, W, 3) in 0..255 to `x * scale + offset`.

    Args:
        scale, offset: of red, green, blue.
        bgr: whether the result's channels are blue, green, red.
    """

    def __init__(self, scale: Any, offset: Any, bgr: bool = False, **kwargs: Any) -> None:
        # As arrays, which are float64: Keras would round lists to float32 under any policy.
        super().__init__(np.asarray(scale), np.asarray(offset), **kwargs)
        self.bgr = bool(bgr)

    def call(self, inputs: Any) -> Any:
        x = super().call(inputs)
        # No slice of step -1, which fewer runtimes take.
        return ops.take(x, [2, 1, 0], axis=-1) if self.bgr else x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bgr": self.bgr}
