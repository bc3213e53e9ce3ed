"""Hyper-parameters of the dense CRF that papers and codes were published with."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kzoo.errors import unknown_name
from kzoo.strict_yaml import from_mapping, read_yaml


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


@dataclass(frozen=True)
class _Arguments:
    """What a preset's file holds."""

    spatial_sigma: float
    spatial_weight: float
    bilateral_sigma_xy: float
    bilateral_sigma_rgb: float
    bilateral_weight: float
    iterations: int
    normalization: Literal["none", "before", "after", "symmetric"]


def load_preset(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arguments of a CRF layer: an entry of `PRESETS`, or a YAML file with all of the same keys.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither a name nor a file, or a file with an unknown or missing key, or a wrong value.
    """
    if str(name_or_path) in PRESETS:
        return dict(PRESETS[str(name_or_path)])
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        how = "The path of a YAML file with the arguments is taken too."
        raise unknown_name("CRF preset", str(name_or_path), PRESETS, how)
    mapping = read_yaml(path, "CRF preset")
    try:
        return asdict(from_mapping(_Arguments, mapping))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
