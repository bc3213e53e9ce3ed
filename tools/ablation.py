"""The paper's ablation on CamVid: FCN, + Context Encoding (0, 8, 32 codewords), + semantic-encoding loss.

    python tools/ablation.py                       # trains what is missing, then prints the table
    python tools/ablation.py --runs DIR --epochs 1 # elsewhere, shorter

The recipes are those of `zoo_configs/camvid/ablation/`; the main three rows run with two seeds. Killed and started
again, it goes on where it stopped. Results are those of the last epoch on the val split (whole image, single scale):
none is chosen by the split that it is measured on.

Reference: Zhang et al., Context Encoding for Semantic Segmentation, CVPR 2018, table 1 and figure 5.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[1] / "zoo_configs" / "camvid" / "ablation"
# (recipe, what the row says, seeds)
ROWS = (
    ("fcn", "FCN", (1, 2)),
    ("context_k0", "+ context, mean of all pixels (K = 0)", (1,)),
    ("context_k8", "+ Context Encoding, K = 8", (1,)),
    ("context_k32", "+ Context Encoding, K = 32", (1, 2)),
    ("encnet", "+ SE-loss (EncNet, K = 32)", (1, 2)),
)
SMALL_CLASSES = ("Pole", "SignSymbol", "Pedestrian", "Bicyclist")


def train(recipe: str, seed: int, epochs: int | None, folder: Path) -> None:
    """One run in a process of its own, so that every row starts alike."""
    command = [sys.executable, "-m", "kzoo", "train", str(RECIPES / f"{recipe}.yaml"), "--quiet", "--run", str(folder)]
    command += ["--set", f"train.seed={seed}"]
    if epochs is not None:
        command += ["--set", f"train.epochs={epochs}"]
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})


def table(results: dict[tuple[str, int], dict]) -> str:
    """Markdown, percent: the mean over the seeds, and each seed's mIoU."""
    lines = [
        "| network | mIoU | by seed | mean of the small classes | " + " | ".join(SMALL_CLASSES) + " |",
        "|---|---|---|---|" + "---|" * len(SMALL_CLASSES),
    ]
    for recipe, title, seeds in ROWS:
        runs = [results[recipe, seed] for seed in seeds]
        mious = [100 * run["val_miou"] for run in runs]
        small = [statistics.mean(100 * run["val_iou"][name] for run in runs) for name in SMALL_CLASSES]
        cells = [title, f"{statistics.mean(mious):.1f}", ", ".join(f"{miou:.1f}" for miou in mious)]
        cells += [f"{statistics.mean(small):.1f}", *(f"{value:.1f}" for value in small)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="folder of the run folders")
    parser.add_argument("--epochs", type=int, help="epochs instead of the recipes'")
    args = parser.parse_args()

    results = {}
    # Seed by seed, so that an early stop leaves whole comparisons.
    for seed in sorted({seed for *_, seeds in ROWS for seed in seeds}):
        for recipe, _, seeds in ROWS:
            if seed in seeds:
                folder = args.runs / f"{recipe}_seed{seed}"
                if not (folder / "results.json").exists():
                    train(recipe, seed, args.epochs, folder)
                results[recipe, seed] = json.loads((folder / "results.json").read_text())
    print(table(results))


if __name__ == "__main__":
    main()
