"""The dense CRF with fixed weights, for post-processing."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.crf.mean_field import MeanFieldCRF


@keras.saving.register_keras_serializable(package="kzoo")
class DenseCRF(MeanFieldCRF):
    """Sharpens the logits of any network along the edges of the picture; nothing in it is learned.

    Pixels agree on a label by a Potts model: `l' = l + w_spatial K_spatial Q + w_bilateral K_bilateral Q`. The spatial
    kernel is an exact separable convolution, the bilateral one runs on the permutohedral lattice.

    The arguments are those of `kzoo.crf.MeanFieldCRF`; the defaults are DeepLab LargeFOV's.
    `DenseCRF.from_preset("pydensecrf")` and others: see `kzoo.crf.PRESETS`.

    Example:
        refined = kzoo.crf.DenseCRF()(logits, images)  # arrays (B, H, W, C) and (B, H, W, 3) in 0..255
    """

    def _kernel_weights(self) -> tuple[float, float]:
        return self.spatial_weight, self.bilateral_weight

    def _messages(self, spatial: Any, bilateral: Any) -> tuple[Any, Any]:
        return spatial, bilateral
