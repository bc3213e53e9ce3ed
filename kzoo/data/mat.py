"""Label maps in MATLAB files: PASCAL Context's and SBD's masks."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAT_SUFFIX = ".mat"


def require_scipy() -> None:
    """Raises a `ValueError` with advice where scipy is not installed."""
    if importlib.util.find_spec("scipy") is None:
        raise ValueError("Masks in MATLAB files (.mat) need scipy, which is not installed: pip install kzoo[mat]")


def read_mat(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The label map (H, W) in a MATLAB file: PASCAL Context's `LabelMap` or SBD's `GTcls.Segmentation`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: scipy is not installed, the file cannot be read, or it holds neither variable.
    """
    require_scipy()
    from scipy.io import loadmat

    name = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no mask {name!r}.")
    try:
        content = loadmat(name)
    except Exception as error:  # whatever the parser stumbles over: the file is damaged, or of another version
        raise ValueError(f"Cannot read the mask {name!r}: {error}") from error
    if "LabelMap" in content:
        return np.asarray(content["LabelMap"])
    if "GTcls" in content and "Segmentation" in (content["GTcls"].dtype.names or ()):
        return np.asarray(content["GTcls"]["Segmentation"].item())
    variables = ", ".join(key for key in content if not key.startswith("__")) or "nothing"
    raise ValueError(
        f"The mask {name!r} holds {variables}; expected `LabelMap` (PASCAL Context) or `GTcls.Segmentation` (SBD)."
    )
