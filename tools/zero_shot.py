"""Zero-shot segmentation of the animals pictures: SPNet, ZS3Net and CaGNet on the same features, splits and steps.

    python tools/zero_shot.py methods     # trains what is missing, then prints the table
    python tools/zero_shot.py ablation    # CaGNet without one of its parts at a time
    python tools/zero_shot.py added       # a class that comes after training, by its word alone
    python tools/zero_shot.py methods --runs DIR

A split's features are trained once, without any picture of its unseen classes, and all methods start from them
(`zoo_configs/voc_animals/zero_shot/`). Killed and started again, it goes on where it stopped. Results are those of the
last step on the val split (whole image, single scale, all classes competing everywhere). Chance is the expected IoU of
labels drawn uniformly from the 7 classes; the supervised network has the features' recipe and all pictures.

A calibrated row is the same networks, the logits of whose seen classes are lowered by a number, on each split that of
CALIBRATIONS which has the highest hIoU for the method's first seed. It is chosen by pictures of unseen classes: a bound
of what calibration can bring, and no result that one could have had without them.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RECIPES = Path(__file__).resolve().parents[1] / "zoo_configs" / "voc_animals" / "zero_shot"
SPLITS = (("sheep",), ("cow", "cat"))
SEEDS = (1, 2)
EMBEDDINGS = ("embeddings/spnet__voc12__word2vec.npy", "embeddings/spnet__voc12__fasttext.npy")
LABELS = "embeddings/labels_voc12.txt"
CALIBRATIONS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)


class Row(NamedTuple):
    """A row of a table: a recipe, what is set otherwise in it, and whether the logits are calibrated afterwards."""

    recipe: str
    settings: Mapping[str, object] = {}
    calibrated: bool = False


METHODS = {
    "SPNet": Row("spnet"),
    "ZS3Net": Row("zs3net"),
    "CaGNet": Row("cagnet"),
    "SPNet, calibrated": Row("spnet", calibrated=True),
    "ZS3Net, calibrated": Row("zs3net", calibrated=True),
    "CaGNet, calibrated": Row("cagnet", calibrated=True),
}
ABLATION = {
    "CaGNet": Row("cagnet"),
    "without contextual module": Row("cagnet", {"model.args.contextual": "false"}),
    "without context selector": Row("cagnet", {"model.args.selector": "false"}),
    "without KL divergence": Row("cagnet", {"model.args.kl_weight": 0.0}),
    "without adversarial loss": Row("cagnet", {"model.args.adversarial_weight": 0.0}),
    "with 50 times the adversarial loss": Row("cagnet", {"model.args.adversarial_weight": 1.0}),
    "without reconstruction loss": Row("cagnet", {"model.args.content_weight": 0.0}),
}


def kzoo(*arguments: object) -> None:
    """Runs a command in a process of its own."""
    command = [sys.executable, "-m", "kzoo", *map(str, arguments)]
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})


def train(recipe: str, folder: Path, settings: Mapping[str, object]) -> dict[str, float]:
    """IoU by class of a run, which is trained if it is not there."""
    if not (folder / "results.json").exists():
        changes = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        path = os.path.relpath(RECIPES / f"{recipe}.yaml")  # the command that a run keeps reads the same elsewhere
        kzoo("train", path, "--quiet", "--run", folder, *changes)
    return json.loads((folder / "results.json").read_text())["val_iou"]


def with_calibrations(folder: Path, unseen: tuple[str, ...]) -> dict[float, tuple[float, float, float]]:
    """Seen, unseen and harmonic mIoU of a run for each of `CALIBRATIONS`."""
    path = folder / "calibrations.json"
    if not path.exists():
        from kzoo.files import atomic_write
        from kzoo.inference import predict_logits
        from kzoo.metrics import confusion_matrix, zero_shot_scores
        from kzoo.models.zero_shot import ClassSplit
        from kzoo.zoo import open_model

        dataset, model = val(), open_model(folder)
        split = ClassSplit(dataset.labels.class_names, unseen)
        classes = len(split.class_names)
        is_seen = np.isin(np.arange(classes), split.seen_indices)
        counts = np.zeros((len(CALIBRATIONS), classes, classes), np.int64)
        for index in range(len(dataset)):
            image, mask = dataset.read(index)
            logits = predict_logits(model, image)
            for place, calibration in enumerate(CALIBRATIONS):
                labels = (logits - calibration * is_seen).argmax(axis=-1)
                counts[place] += confusion_matrix(mask, labels, classes, dataset.labels.ignore_label)
        found = [zero_shot_scores(matrix, split) for matrix in counts]
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps([(each.seen_miou, each.unseen_miou, each.hiou) for each in found]))
    return dict(zip(CALIBRATIONS, map(tuple, json.loads(path.read_text())), strict=True))


def scores(iou: dict[str, float], unseen: tuple[str, ...]) -> tuple[float, float, float]:
    """Mean IoU of seen and of unseen classes, and the harmonic mean of both."""
    ours = statistics.mean(iou[name] for name in unseen)
    others = statistics.mean(value for name, value in iou.items() if name not in unseen)
    return others, ours, 2 * others * ours / (others + ours) if others + ours else 0.0


def resolve(name: str) -> Path:
    from kzoo.training.config import resolve_data_path

    return resolve_data_path(name)


def val() -> Any:
    from kzoo.data import open_dataset

    return open_dataset("voc_animals", resolve("voc_animals"), "val")


def chance() -> dict[str, float]:
    """The expected IoU of each class where every pixel's class is drawn uniformly."""
    dataset = val()
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


def features_of(runs: Path, unseen: tuple[str, ...]) -> Path:
    """The folder of a split's features, which are trained if they are not there."""
    folder = runs / f"features_{'_'.join(unseen)}"
    train("features", folder, {"zero_shot.unseen": f"[{', '.join(unseen)}]"})
    return folder


def run_of(runs: Path, recipe: str, unseen: tuple[str, ...], seed: int, settings: Mapping[str, object]) -> Path:
    """The folder of a method's run on a split, which is trained, on the split's features, if it is not there."""
    name, words = "_".join(unseen), f"[{', '.join(unseen)}]"
    changes = [f"{key.rpartition('.')[2]}_{value}" for key, value in settings.items()]
    folder = runs / "_".join([recipe, name, *changes, f"seed{seed}"])
    own = {"zero_shot.unseen": words, "model.init": features_of(runs, unseen), "train.seed": seed}
    train(recipe, folder, {**own, **settings})
    return folder


def compare(rows: Mapping[str, Row], seeds: tuple[int, ...], runs: Path) -> None:
    """Prints a table's rows, one for each network."""
    found: dict[str, list[list[tuple[float, float, float]]]] = {title: [[] for _ in SPLITS] for title in rows}
    chosen: dict[str, list[float]] = {title: [] for title, each in rows.items() if each.calibrated}
    for seed in seeds:  # seed by seed, so that an early stop leaves whole comparisons
        for place, unseen in enumerate(SPLITS):
            for title, (recipe, settings, calibrated) in rows.items():
                folder = run_of(runs, recipe, unseen, seed, settings)
                if calibrated:
                    choices = with_calibrations(folder, unseen)
                    if seed == seeds[0]:
                        chosen[title].append(max(choices, key=lambda calibration: choices[calibration][2]))
                    found[title][place].append(choices[chosen[title][place]])
                else:
                    iou = json.loads((folder / "results.json").read_text())["val_iou"]
                    found[title][place].append(scores(iou, unseen))
    splits = "".join(f" {', '.join(split)}: seen / unseen / hIoU | by seed |" for split in SPLITS)
    print(f"| network |{splits} hIoU |")
    print("|---|" + "---|---|" * len(SPLITS) + "---|")
    for title, values in found.items():
        by = f" by {', '.join(f'{number:g}' for number in chosen[title])}" if title in chosen else ""
        print(row(title + by, values))


def added(runs: Path) -> None:
    """Prints the IoU of a class that is added to a network which was trained without a picture of it.

    The features are those of the split in which both classes are unseen; the network learns one as an unseen class and
    does not know of the other.
    """
    by_chance, both = chance(), SPLITS[1]
    vectors = [resolve(name) for name in EMBEDDINGS]
    print("| network | added | IoU | chance | seen | unseen | unseen before |")
    print("|---|---|---|---|---|---|---|")
    for later, unseen in (both, both[::-1]):
        for title, recipe in (("SPNet", "spnet"), ("ZS3Net", "zs3net"), ("CaGNet", "cagnet")):
            folder, grown = runs / f"{recipe}_{unseen}_before_{later}", runs / f"{recipe}_{unseen}_then_{later}.keras"
            split = {"zero_shot.unseen": f"[{unseen}]", "zero_shot.ignored": f"[{later}]"}
            own = {"zero_shot.ignored_pictures": "drop", "model.init": features_of(runs, both)}
            before = train(recipe, folder, {**split, **own})
            if not grown.exists():
                words = [word for path in vectors for word in ("--vectors", path)]
                kzoo("zeroshot", "add", folder, "--class", later, *words, "--labels", resolve(LABELS), "-o", grown)
            results = grown.with_suffix(".json")
            if not results.exists():
                kzoo("eval", grown, "--data", resolve("voc_animals"), "--split", "val", "--json", results)
            iou = json.loads(results.read_text())["iou"]
            seen = statistics.mean(value for name, value in iou.items() if name not in both)
            cells = [iou[later], by_chance[later], seen, iou[unseen], before[unseen]]
            print("| " + " | ".join([title, later, *(f"{100 * value:.1f}" for value in cells)]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("methods", "ablation", "added"), help="which table")
    parser.add_argument("--runs", type=Path, default=Path("runs/zero_shot"), help="folder of the run folders")
    args = parser.parse_args()
    if args.table == "added":
        added(args.runs)
    elif args.table == "ablation":
        compare(ABLATION, SEEDS[:1], args.runs)
    else:
        compare(METHODS, SEEDS, args.runs)
        supervised = train("features", args.runs / "supervised", {"zero_shot": "null"})
        for title, iou in (("supervised", supervised), ("chance", chance())):
            print(row(title, [[scores(iou, unseen)] for unseen in SPLITS]))


if __name__ == "__main__":
    main()
