"""The papers' ablations on CamVid, small: EncNet's modules, SANet's heads, SANet's loss weights and module.

    python tools/ablation.py encnet          # trains what is missing, then prints the table
    python tools/ablation.py sanet           # FCN, + squeeze-and-excitation, + squeeze-and-attention
    python tools/ablation.py sanet-weights   # alpha x beta: the categorical and the dense loss
    python tools/ablation.py sanet-module    # how far the attention pools, and its gate
    python tools/ablation.py encnet --runs DIR --epochs 1   # elsewhere, shorter

The recipes are those of `zoo_configs/camvid/ablation/`; the main rows run with two seeds. Killed and started again, it
goes on where it stopped. Results are those of the last epoch on the val split (whole image, single scale): none is
chosen by the split that it is measured on.

References: Zhang et al., Context Encoding for Semantic Segmentation, CVPR 2018, table 1 and figure 5; Zhong et al.,
Squeeze-and-Attention Networks for Semantic Segmentation, CVPR 2020, table 3 and figure 4.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[1] / "zoo_configs" / "camvid" / "ablation"
SMALL_CLASSES = ("Pole", "SignSymbol", "Pedestrian", "Bicyclist")


@dataclass(frozen=True)
class Row:
    """A row of a table: its title, its recipe with settings laid over it, and the seeds it is run with."""

    title: str
    recipe: str
    seeds: tuple[int, ...] = (1,)
    settings: dict[str, object] = field(default_factory=dict)

    def run(self, seed: int) -> str:
        """The name of the run folder: rows of two tables that are the same run share it."""
        changes = [f"{key.rpartition('.')[2]}_{value}" for key, value in self.settings.items()]
        return "_".join([self.recipe, *changes, f"seed{seed}"])


def _weights(alpha: float, beta: float) -> Row:
    settings = {"loss.categorical_weight": alpha, "loss.dense_weight": beta}
    usual = (alpha, beta) == (0.2, 0.8)
    return Row(f"alpha = {alpha}, beta = {beta}", "sanet", settings={} if usual else settings)


TABLES = {
    "encnet": (
        Row("FCN", "fcn", (1, 2)),
        Row("+ context, mean of all pixels (K = 0)", "context_k0"),
        Row("+ Context Encoding, K = 8", "context_k8"),
        Row("+ Context Encoding, K = 32", "context_k32", (1, 2)),
        Row("+ SE-loss (EncNet, K = 32)", "encnet", (1, 2)),
    ),
    "sanet": (
        Row("FCN", "fcn", (1, 2)),
        Row("+ four heads without attention", "sanet_plain"),
        Row("+ four SE heads", "sanet_se", (1, 2)),
        Row("+ four SA heads (SANet)", "sanet", (1, 2)),
    ),
    "sanet-weights": (
        _weights(0.2, 0.8),
        _weights(0.0, 0.8),
        _weights(1.0, 0.8),
        _weights(0.2, 0.2),
        _weights(0.2, 2.0),
    ),
    "sanet-module": (
        Row("pooled by 2, sigmoid", "sanet"),
        Row("pooled by 4, sigmoid", "sanet", settings={"model.args.pool": 4}),
        Row("pooled by 8, sigmoid", "sanet", settings={"model.args.pool": 8}),
        Row("pooled by 2, ReLU", "sanet", settings={"model.args.gate": "relu"}),
    ),
}


def train(row: Row, seed: int, epochs: int | None, folder: Path) -> None:
    """One run in a process of its own, so that every row starts alike."""
    recipe = str(RECIPES / f"{row.recipe}.yaml")
    command = [sys.executable, "-m", "kzoo", "train", recipe, "--quiet", "--run", str(folder)]
    for key, value in {**row.settings, "train.seed": seed, "train.epochs": epochs}.items():
        if value is not None:
            command += ["--set", f"{key}={value}"]
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})


def table(rows: tuple[Row, ...], results: dict[str, dict]) -> str:
    """Markdown, percent: the mean over the seeds, and each seed's mIoU."""
    lines = [
        "| network | mIoU | by seed | mean of the small classes | " + " | ".join(SMALL_CLASSES) + " |",
        "|---|---|---|---|" + "---|" * len(SMALL_CLASSES),
    ]
    for row in rows:
        runs = [results[row.run(seed)] for seed in row.seeds]
        mious = [100 * run["val_miou"] for run in runs]
        small = [statistics.mean(100 * run["val_iou"][name] for run in runs) for name in SMALL_CLASSES]
        cells = [row.title, f"{statistics.mean(mious):.1f}", ", ".join(f"{miou:.1f}" for miou in mious)]
        cells += [f"{statistics.mean(small):.1f}", *(f"{value:.1f}" for value in small)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES, help="which table")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"), help="folder of the run folders")
    parser.add_argument("--epochs", type=int, help="epochs instead of the recipes'")
    args = parser.parse_args()

    rows, results = TABLES[args.table], {}
    # Seed by seed, so that an early stop leaves whole comparisons.
    for seed in sorted({seed for row in rows for seed in row.seeds}):
        for row in rows:
            if seed in row.seeds:
                folder = args.runs / row.run(seed)
                if not (folder / "results.json").exists():
                    train(row, seed, args.epochs, folder)
                results[row.run(seed)] = json.loads((folder / "results.json").read_text())
    print(table(rows, results))


if __name__ == "__main__":
    main()
