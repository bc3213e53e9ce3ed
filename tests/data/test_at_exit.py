from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

# A pipeline that is still filling its buffers when the script ends.
SCRIPT = """
import sys
from pathlib import Path
from kzoo.data import AugmentConfig, Dataset, Labels, Sample, training_pipeline

labels = Labels(("a", "b"), ((0, 0, 0), (255, 0, 0)))
files = [(Path(sys.argv[1]) / f"{i}.png", Path(sys.argv[1]) / f"{i}_mask.png") for i in range(8)]
samples = tuple(Sample(str(i), *files[i % 8]) for i in range(400))
dataset = Dataset("made", "train", labels, samples, {0: 0})
stream = iter(training_pipeline(dataset, crop=(96, 96), batch_size=4, augment=AugmentConfig(), seed=0, epochs=9))
next(stream)
print("done", flush=True)
"""


def test_a_script_with_a_living_pipeline_ends(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (8, 360, 480, 3), np.uint8)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        Image.fromarray(np.zeros((360, 480), np.uint8)).save(tmp_path / f"{i}_mask.png")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
