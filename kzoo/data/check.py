"""Finding every bad file of a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kzoo.data.dataset import Dataset
from kzoo.data.pictures import read_image


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: "empty split", "missing image", "missing mask", "unreadable image", "bad mask" (unreadable, or with
            labels or colours that are no class) or "size mismatch".
        path: the file to look at.
        message: what is wrong with it and what was expected.
    """

    kind: str
    path: str
    message: str


def check_dataset(dataset: Dataset) -> list[Problem]:
    """Reads every file of the split, in parallel, and returns what is wrong, in the order of the samples.

    A picture with a bad mask is still looked at, so that all problems show in one run.
    """
    if not dataset.samples:
        message = f"The dataset {dataset.name!r} has no samples in the split {dataset.split!r}."
        return [Problem("empty split", dataset.split, message)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda index: list(_check_sample(dataset, index)), range(len(dataset)))
        return [problem for problems in found for problem in problems]


def _check_sample(dataset: Dataset, index: int) -> Iterator[Problem]:
    sample = dataset.samples[index]
    image = mask = None
    try:
        image = read_image(sample.image)
    except FileNotFoundError as error:
        yield Problem("missing image", str(sample.image), str(error))
    except ValueError as error:
        yield Problem("unreadable image", str(sample.image), str(error))
    path = str(sample.mask or sample.image)
    try:
        mask = dataset.read_mask(index)
    except FileNotFoundError as error:
        yield Problem("missing mask", path, str(error))
    except ValueError as error:
        yield Problem("bad mask", path, str(error))
    if image is not None and mask is not None and image.shape[:2] != mask.shape:
        yield Problem("size mismatch", path, str(dataset.size_error(index, image.shape[:2], mask.shape)))
