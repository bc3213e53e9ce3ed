"""Hyper-parameters of the dense CRF that papers and codes were published with."""

from __future__ import annotations

from typing import Any


def _deeplab(weight: float, sigma_xy: float, sigma_rgb: float) -> dict[str, Any]:
    """As DeepLab v1 searched them: the spatial kernel fixed, output divided by filter(1), as in its densecrf fork."""
    return {
        "spatial_sigma": 3.0,
        "spatial_weight": 3.0,
        "bilateral_sigma_xy": sigma_xy,
        "bilateral_sigma_rgb": sigma_rgb,
        "bilateral_weight": weight,
        "iterations": 10,
        "normalization": "after",
    }


# The DeepLab rows are those of its published test scripts: vgg128_noup, vgg128_noup_largefov, vgg128_ms_pool3.
PRESETS: dict[str, dict[str, Any]] = {
    "deeplab_v1": _deeplab(5.0, 50.0, 10.0),
    "deeplab_v1_largefov": _deeplab(4.0, 49.0, 5.0),
    "deeplab_v1_msc": _deeplab(3.0, 95.0, 3.0),
    # The weights that its published network's training starts from; the Keras port's fresh layer has 1 for both.
    "crf_rnn": _deeplab(5.0, 160.0, 3.0),
    # The example in its README, with the normalisation it takes by default.
    "pydensecrf": {**_deeplab(10.0, 80.0, 13.0), "iterations": 5, "normalization": "symmetric"},
}
