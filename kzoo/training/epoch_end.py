"""What happens at the end of each epoch: validation, best weights, log, state."""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import keras

from kzoo.files import atomic_write
from kzoo.training.run_folder import BEST_WEIGHTS, LAST_WEIGHTS, LOG, STATE
from kzoo.training.state import save_state
from kzoo.training.validation import Validator, averaged_weights

logger = logging.getLogger("kzoo")


class EpochEnd(keras.callbacks.Callback):
    """Validates, keeps the best weights by mIoU, and writes the log and then the state.

    The state comes last: a run that is killed at any moment goes on from the last epoch whose log and weights are
    complete, and repeats the one it was in.

    Args:
        folder: the run folder.
        validator: measures the model.
        every: epochs between validations; the last epoch is always validated.
        epochs: number of epochs of the run.
        history: the rows of the epochs done before.

    Raises: `ValueError` at the end of an epoch whose loss is not finite; nothing of that epoch is written.
    """

    def __init__(
        self, folder: Path, validator: Validator, every: int, epochs: int, history: list[dict[str, Any]]
    ) -> None:
        super().__init__()
        self.folder, self.validator, self.every, self.epochs = folder, validator, every, epochs
        self.history = history
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row: dict[str, Any] = {"epoch": epoch + 1}
        row |= {key: round(float(value), 6) for key, value in (logs or {}).items()}
        if not math.isfinite(row.get("loss", 0.0)):
            raise ValueError(
                f"The loss of epoch {epoch + 1} is {row['loss']}: training diverged. Lower optimizer.learning_rate, "
                "or set optimizer.warmup_epochs or optimizer.clip_norm; the run folder keeps the epochs before."
            )
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(time.monotonic() - self._started, 1)
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.epochs:
            self._validate(row)
            if logs is not None:  # callbacks that come after this one see them
                logs.update({key: row[key] for key in ("val_miou", "val_pixel_accuracy")})
        self.history.append(row)
        _write_log(self.folder / LOG, self.history)
        save_state(self.folder / STATE, self.model, epoch + 1, self.history)
        self._report(row)

    def _validate(self, row: dict[str, Any]) -> None:
        best = max((done["val_miou"] for done in self.history if "val_miou" in done), default=-1.0)
        with averaged_weights(self.model):
            row |= self.validator()
            if row["val_miou"] > best:
                with atomic_write(self.folder / BEST_WEIGHTS) as temporary:
                    self.model.save_weights(temporary)
            if row["epoch"] == self.epochs:
                with atomic_write(self.folder / LAST_WEIGHTS) as temporary:
                    self.model.save_weights(temporary)

    def _report(self, row: dict[str, Any]) -> None:
        left = (self.epochs - row["epoch"]) * row["seconds"]
        measured = f", val mIoU {100 * row['val_miou']:.2f}" if "val_miou" in row else ""
        logger.info(
            "epoch %d of %d: loss %.4f%s, %.0f s, about %.0f min left",
            *(row["epoch"], self.epochs, row.get("loss", float("nan")), measured, row["seconds"], left / 60),
        )


def _write_log(path: Path, history: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in history for key in row))
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in history:
            writer.writerow({key: json.dumps(v) if isinstance(v, list) else v for key, v in row.items()})
