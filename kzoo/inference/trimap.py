"""Trimap results as a table and as the papers' figure."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping

from kzoo.files import atomic_write
from kzoo.metrics import TrimapResults


def write_trimap(results: TrimapResults, path: str | os.PathLike[str]) -> None:
    """Writes a CSV of `width` (pixels), `pixel_accuracy` and `miou` (fractions of 1, `nan` for an empty band)."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("width", "pixel_accuracy", "miou"))
        table.writerows(zip(results.widths, results.pixel_accuracy, results.miou, strict=True))


def plot_trimap(curves: Mapping[str, TrimapResults], path: str | os.PathLike[str]) -> None:
    """Draws pixel accuracy (left) and mIoU (right) over the band's width into a PNG.

    Args:
        curves: the results to compare, by the name that the legend gives them.
        path: of the PNG.

    Reference: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR
        2015, figure 5.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    accuracy, miou = figure.subplots(1, 2)
    for label, results in curves.items():
        accuracy.plot(results.widths, [100 * value for value in results.pixel_accuracy], marker=".", label=label)
        miou.plot(results.widths, [100 * value for value in results.miou], marker=".", label=label)
    for axes, what in ((accuracy, "pixel accuracy (%)"), (miou, "mIoU (%)")):
        axes.set(xlabel="distance to the boundary, at most (pixels)", ylabel=what)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
