"""A picture of what training sees."""

from __future__ import annotations

import numpy as np
from PIL import Image

from kzoo.data.augment import AugmentConfig
from kzoo.data.dataset import Dataset
from kzoo.data.pipeline import reading_errors, training_pipeline

_COLUMNS = 4
_OPACITY = 0.55


def preview(
    dataset: Dataset, *, crop: tuple[int, int], augment: AugmentConfig, count: int = 8, seed: int = 0
) -> Image.Image:
    """Augmented training samples in pairs of rows: the pictures, and below them the pictures under their masks.

    Pixels that are ignored are whitened.

    Args:
        crop: (H, W) of each picture.
        count: how many of the first epoch's samples to show.

    Raises:
        ValueError: fewer samples than `count`, a crop out of range, or a sample that cannot be read.
    """
    stream = training_pipeline(dataset, crop=crop, batch_size=count, augment=augment, seed=seed, epochs=1, cache=False)
    with reading_errors():
        images, masks = (batch.numpy() for batch in next(iter(stream)))
    colors = np.full((256, 3), 255.0)
    colors[: dataset.labels.num_classes] = dataset.labels.palette
    covered = (1 - _OPACITY) * images + _OPACITY * colors[masks]
    rows = -(-count // _COLUMNS)
    cells = np.full((2 * rows, min(count, _COLUMNS), *crop, 3), 255.0)
    for index in range(count):
        row, column = divmod(index, _COLUMNS)
        cells[2 * row, column] = images[index]
        cells[2 * row + 1, column] = covered[index]
    height = crop[0]
    grid = cells.transpose(0, 2, 1, 3, 4).reshape(2 * rows * height, -1, 3)
    return Image.fromarray(np.rint(grid).astype(np.uint8))
