"""Zero-shot segmentation of the animals pictures: SPNet, ZS3Net and CaGNet on the same features, splits and steps.

    python tools/zero_shot.py methods     # trains what is missing, then prints the table
    python tools/zero_shot.py ablation    # CaGNet without one of its parts at a time
    python tools/zero_shot.py methods --runs DIR

A split's features are trained once, without any picture of its unseen classes, and all methods start from them
(`zoo_configs/voc_animals/zero_shot/`). Killed and started again, it goes on where it stopped. Results are those of the
last step on the val split (whole image, single scale, all classes competing everywhere). Chance is the expected IoU of
labels drawn uniformly from the 7 classes; the supervised network has the features' recipe and all pictures.

References: Gu et al., Context-aware Feature Generation for Zero-shot Semantic Segmentation, ACM MM 2020; Bucher et al.,
Zero-Shot Semantic Segmentation, NeurIPS 2019; Xian et al., Semantic Projection Network, CVPR 2019.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

RECIPES = Path(__file__).resolve().parents[1] / "zoo_configs" / "voc_animals" / "zero_shot"
SPLITS = (("sheep",), ("cow", "cat"))
SEEDS = (1, 2)
METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "SPNet": ("spnet", {}),
    "ZS3Net": ("zs3net", {}),
    "CaGNet": ("cagnet", {}),
}
ABLATION: dict[str, tuple[str, dict[str, object]]] = {
    "CaGNet": ("cagnet", {}),
    "without contextual module": ("cagnet", {"model.args.contextual": "false"}),
    "without context selector": ("cagnet", {"model.args.selector": "false"}),
    "without KL divergence": ("cagnet", {"model.args.kl_weight": 0.0}),
    "without adversarial loss": ("cagnet", {"model.args.adversarial_weight": 0.0}),
    "without reconstruction loss": ("cagnet", {"model.args.content_weight": 0.0}),
}


def train(recipe: str, folder: Path, settings: dict[str, object]) -> dict[str, float]:
    """IoU by class of a run, which is trained in a process of its own if it is not there."""
    if not (folder / "results.json").exists():
        command = [
            sys.executable,
            "-m",
            "kzoo",
            "train",
            str(RECIPES / f"{recipe}.yaml"),
            "--quiet",
            "--run",
            str(folder),
        ]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    return json.loads((folder / "results.json").read_text())["val_iou"]


def scores(iou: dict[str, float], unseen: tuple[str, ...]) -> tuple[float, float, float]:
    """Mean IoU of seen and of unseen classes, and the harmonic mean of both."""
    ours = statistics.mean(iou[name] for name in unseen)
    others = statistics.mean(value for name, value in iou.items() if name not in unseen)
    return others, ours, 2 * others * ours / (others + ours) if others + ours else 0.0


def chance() -> dict[str, float]:
    """The expected IoU of each class where every pixel's class is drawn uniformly."""
    from kzoo.data import open_dataset
    from kzoo.training.config import resolve_data_path

    dataset = open_dataset("voc_animals", resolve_data_path("voc_animals"), "val")
    names = dataset.labels.class_names
    counts = sum(np.bincount(dataset.read_mask(i).ravel(), minlength=256)[: len(names)] for i in range(len(dataset)))
    share, guess = counts / counts.sum(), 1 / len(names)
    return dict(zip(names, (share * guess / (share + guess - share * guess)).tolist(), strict=True))


def row(title: str, runs: list[list[tuple[float, float, float]]]) -> str:
    """A table's row: for each split the mean over its runs, and each run's hIoU; then the mean of the splits' hIoU."""
    cells, harmonic = [title], []
    for split in runs:
        means = [statistics.mean(values) for values in zip(*split, strict=True)]
        harmonic.append(means[2])
        cells += [
            " / ".join(f"{100 * value:.1f}" for value in means),
            ", ".join(f"{100 * run[2]:.1f}" for run in split),
        ]
    return "| " + " | ".join([*cells, f"{100 * statistics.mean(harmonic):.1f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("methods", "ablation"), help="which table")
    parser.add_argument("--runs", type=Path, default=Path("runs/zero_shot"), help="folder of the run folders")
    args = parser.parse_args()
    rows, seeds = (METHODS, SEEDS) if args.table == "methods" else (ABLATION, SEEDS[:1])

    found: dict[str, list[list[tuple[float, float, float]]]] = {title: [[] for _ in SPLITS] for title in rows}
    for seed in seeds:  # seed by seed, so that an early stop leaves whole comparisons
        for place, unseen in enumerate(SPLITS):
            name, words = "_".join(unseen), f"[{', '.join(unseen)}]"
            features = args.runs / f"features_{name}"
            train("features", features, {"zero_shot.unseen": words})
            for title, (recipe, settings) in rows.items():
                changes = [f"{key.rpartition('.')[2]}_{value}" for key, value in settings.items()]
                folder = args.runs / "_".join([recipe, name, *changes, f"seed{seed}"])
                own = {"zero_shot.unseen": words, "model.init": features, "train.seed": seed}
                found[title][place].append(scores(train(recipe, folder, {**own, **settings}), unseen))

    print(
        "| network |"
        + "".join(f" {', '.join(split)}: seen / unseen / hIoU | by seed |" for split in SPLITS)
        + " hIoU |"
    )
    print("|---|" + "---|---|" * len(SPLITS) + "---|")
    for title, runs in found.items():
        print(row(title, runs))
    if args.table == "methods":
        supervised = train("features", args.runs / "supervised", {"zero_shot": "null"})
        for title, iou in (("supervised", supervised), ("chance", chance())):
            print(row(title, [[scores(iou, unseen)] for unseen in SPLITS]))


if __name__ == "__main__":
    main()
