"""A tiny data set and a recipe for it."""

import numpy as np
import pytest
from PIL import Image

RECIPE = """
model:
  name: encnet
  args: {{backbone: mobilenet_v2, backbone_args: {{width: 0.35}}, output_stride: 16, filters: 16, num_codewords: 4}}
data:
  dataset: folder
  root: {root}
  crop: [48, 48]
  batch_size: 4
optimizer: {{name: adamw, learning_rate: 0.001, ema: 0.9}}
train: {{epochs: 3, seed: 7}}
"""


@pytest.fixture
def recipe(tmp_path):
    """Path of a recipe that trains a small EncNet for 3 epochs of 6 steps on 24 pictures of two classes."""
    root = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 3)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((60, 70), np.uint8)
            top, left = rng.integers(0, 30, 2)
            mask[top : top + 25, left : left + 30] = 1
            picture = rng.normal(90, 30, (60, 70, 3)) + 80 * mask[..., None]
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / split / "images" / f"{index}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{index}.png")
    (root / "dataset.yaml").write_text("classes: [ground, box]\n")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(root=root))
    return path
