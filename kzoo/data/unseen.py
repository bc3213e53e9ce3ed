"""Training data without some of its classes, for networks that must not see them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np

from kzoo.data.dataset import Dataset
from kzoo.errors import unknown_name

POLICIES = ("drop", "error", "ignore")


def without_classes(
    dataset: Dataset, labels: Sequence[int], policy: Literal["drop", "error", "ignore"] = "drop"
) -> Dataset:
    """The dataset without any pixel of the given classes.

    `"drop"` leaves out each picture with such a pixel, so that a network sees nothing of these classes. `"error"`
    leaves out nothing and raises if there is such a picture. `"ignore"` keeps all pictures and reads these pixels as
    without annotation: no loss counts them, but the network still sees them, unlabelled, as part of the picture.

    Args:
        dataset: one split.
        labels: classes, as the dataset's masks are read (after its label map).
        policy: `"drop"`, `"error"` or `"ignore"`. The first two read every mask once, in parallel.

    Returns: a dataset with the same label set.
    Raises:
        ValueError: a label that is no class, an unknown policy, no picture that is left, or, with `"error"`, a picture
            that carries such a label; the message names the first.
        FileNotFoundError: a mask is missing.
    """
    if policy not in POLICIES:
        raise unknown_name("policy", policy, POLICIES)
    names = dataset.labels.class_names
    wrong = [label for label in labels if not 0 <= label < len(names)]
    if wrong:
        raise ValueError(
            f"Expected labels of the dataset {dataset.name!r}, 0..{len(names) - 1}, received {wrong[0]!r}."
        )
    if policy == "ignore":
        return replace(dataset, hidden=tuple(sorted({*dataset.hidden, *labels})))
    marked = np.zeros(256, bool)
    marked[list(labels)] = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        carries = list(pool.map(lambda index: bool(marked[dataset.read_mask(index)].any()), range(len(dataset))))
    if policy == "error" and any(carries):
        first = carries.index(True)
        found = ", ".join(names[label] for label in np.unique(dataset.read_mask(first)).tolist() if marked[label])
        raise ValueError(
            f"The picture {str(dataset.samples[first].image)!r} carries {found}, which training must not see. So do "
            f"{sum(carries) - 1} more of the {len(dataset)} pictures. The policy 'drop' leaves them out; 'ignore' "
            "keeps them with these pixels unlabelled."
        )
    samples = tuple(sample for sample, bad in zip(dataset.samples, carries, strict=True) if not bad)
    if not samples:
        raise ValueError(
            f"Every picture of {dataset.name!r}, split {dataset.split!r}, carries one of "
            f"{', '.join(names[label] for label in labels)}: nothing is left. The policy 'ignore' keeps the pictures "
            "with these pixels unlabelled."
        )
    return replace(dataset, samples=samples)
