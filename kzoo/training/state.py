"""The state of a run between two epochs: everything that the rest of the training depends on, in one file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.files import atomic_write


def save_state(path: Path, model: Any, epochs_done: int, history: list[dict[str, Any]]) -> None:
    """Writes weights, optimizer slots, dropout seeds, epoch and history to one `.npz`, atomically.

    The order and augmentation of the pictures are functions of seed and epoch, and the learning rate one of the
    optimizer's step: nothing else is needed to go on as if nothing had happened.
    """
    arrays: dict[str, Any] = {f"model/{index}": np.asarray(v) for index, v in enumerate(model.variables)}
    for name, optimizer in model.all_optimizers().items():
        arrays |= {f"{name}/{index}": np.asarray(v) for index, v in enumerate(optimizer.variables)}
    notes = json.dumps({"epochs_done": epochs_done, "history": history})
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, notes=np.array(notes), **arrays)


def load_state(path: Path, model: Any) -> tuple[int, list[dict[str, Any]]]:
    """Restores what `save_state` wrote; returns the number of epochs done and the history.

    Raises: `ValueError` if the file is damaged or belongs to another network.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            notes = json.loads(str(arrays["notes"]))
            optimizers = {name: optimizer.variables for name, optimizer in model.all_optimizers().items()}
            for group, variables in {"model": model.variables, **optimizers}.items():
                for index, variable in enumerate(variables):
                    value = arrays[f"{group}/{index}"]
                    if tuple(value.shape) != tuple(variable.shape):
                        raise ValueError(f"{group} variable {variable.path!r} has shape {value.shape} in the file")
                    variable.assign(value)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"The state of the run, {str(path)!r}, does not fit this network: {error}. "
            "Give the new run another folder (--run), or delete this one."
        ) from error
    return int(notes["epochs_done"]), list(notes["history"])
