"""The picture of a training: losses and mIoU over the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kzoo.files import atomic_write


def draw_curves(history: list[dict[str, Any]], path: Path) -> None:
    """Draws the losses (left) and the validation mIoU (right) of a run's log into a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, miou = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for key in (name for name in history[0] if name.endswith("loss")):
        losses.plot(epochs, [row[key] for row in history], label=key)
    losses.set(xlabel="epoch", ylabel="training loss", yscale="log")
    losses.legend()
    validated = [row for row in history if "val_miou" in row]
    miou.plot([row["epoch"] for row in validated], [100 * row["val_miou"] for row in validated], marker=".")
    miou.set(xlabel="epoch", ylabel="validation mIoU (%)")
    miou.grid(alpha=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
