from __future__ import annotations

import numpy as np

from kzoo.data import AugmentConfig, Dataset
from kzoo.data.preview import preview


def test_rows_of_pictures_and_of_covered_pictures(tiny: Dataset) -> None:
    crop = (18, 16)
    picture = np.asarray(preview(tiny, crop=crop, augment=AugmentConfig.none(), count=5))
    assert picture.shape == (4 * 18, 4 * 16, 3)
    plain, covered = picture[:18, :16].astype(float), picture[18:36, :16].astype(float)
    palette = np.array(tiny.labels.palette, float)
    distance = np.abs(covered[:, :, None] - (0.45 * plain[:, :, None] + 0.55 * palette)).max(-1).min(-1)
    assert distance.max() <= 1.0  # every pixel is mixed with the colour of one of the classes
    assert (picture[36:, 16:] == 255).all()  # the fifth sample stands alone in its row
