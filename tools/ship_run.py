"""Puts a finished run into the zoo: float16 weights, training log and card.

    python tools/ship_run.py runs/encnet_mnv2_camvid encnet_mnv2_camvid --recipe zoo_configs/camvid/encnet_mnv2.yaml \\
        --description "EncNet on MobileNetV2 for street scenes."
    kzoo eval encnet_mnv2_camvid --data $KZOO_DATA/camvid --split val --json val.json
    python tools/ship_run.py runs/encnet_mnv2_camvid encnet_mnv2_camvid --result val.json --split val \\
        --protocol "whole image, single scale" \\
        --command 'kzoo eval encnet_mnv2_camvid --data $KZOO_DATA/camvid --split val'

`--result`, `--split`, `--protocol` and `--command` may be repeated, in step. `--crf FILE.yaml` puts the dense CRF that
`kzoo crf search` wrote behind the network. A second call keeps what the card says and is not given anew; measured
results are dropped when the weights or the CRF have changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import yaml

import kzoo
from kzoo.crf import load_preset
from kzoo.files import atomic_write, digest
from kzoo.strict_yaml import to_plain
from kzoo.training.config import TrainConfig, load_config
from kzoo.training.run_folder import CONFIG, LOG, RunInfo, read_info
from kzoo.zoo.card import Architecture, Card, Licence, Normalization, Result, Trained, Weights, read_card
from kzoo.zoo.loading import WEIGHTS, open_model
from kzoo.zoo.registry import CARDS, get_card
from kzoo.zoo.weights_io import save_weights

LOGS = CARDS.parent / "logs"
METRICS = ("miou", "pixel_accuracy", "boundary_iou")
ZERO_SHOT_METRICS = ("seen_miou", "unseen_miou", "hiou")
MAX_PARAMETERS = 5_000_000
MAX_BYTES = 12_000_000

DATA_TERMS = {
    "camvid": "CamVid (Cambridge-driving Labeled Video Database), research use",
    "voc_animals": "PASCAL VOC 2012, Flickr pictures under its terms of use, research use",
}
STARTING_POINTS = {
    "mobilenet_v2": "MobileNetV2's ImageNet weights, The TensorFlow Authors, Apache-2.0",
}
VECTOR_TERMS = {  # by the first part of the file's name
    "spnet": "as SPNet's authors distribute them, MIT",
    "zs3": "as ZS3Net's authors distribute them, Apache-2.0",
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of `kzoo train`")
    parser.add_argument("name", help="the model's name in the zoo")
    parser.add_argument("--recipe", help="the run's config in zoo_configs/; needed the first time")
    parser.add_argument("--description", help="one sentence; needed the first time")
    parser.add_argument("--crf", type=Path, help="preset of the dense CRF behind the network")
    parser.add_argument("--result", action="append", default=[], type=Path, help="JSON file of `kzoo eval --json`")
    parser.add_argument("--split", action="append", default=[], help="split of the result")
    parser.add_argument("--protocol", action="append", default=[], help="how the result was measured")
    parser.add_argument("--command", action="append", default=[], help="command that measured the result")
    args = parser.parse_args(argv)
    card = ship(args.run, args.name, args.recipe, args.description, read_results(args), args.crf)
    kzoo.load(args.name)  # the file as a user opens it
    size = f"{card.parameters:,} parameters, {card.weights.bytes / 1e6:.2f} MB"
    print(f"{args.name}: {size}, {len(card.results)} results")
    if card.trained.commit.endswith("-dirty") or card.trained.commit == "unknown":
        print(f"warning: the run's code is at no commit ({card.trained.commit}).", file=sys.stderr)
    return 0


def ship(
    run: Path,
    name: str,
    recipe: str | None,
    description: str | None,
    results: list[Result],
    crf: Path | None = None,
) -> Card:
    """Writes the weights, the log and the card; returns the card."""
    config, info = load_config(run / CONFIG), read_info(run)
    old = read_card(CARDS / f"{name}.yaml") if (CARDS / f"{name}.yaml").is_file() else None
    if old is None and not (recipe and description):
        raise SystemExit("A new card needs --recipe and --description.")
    recipe = recipe or old.trained.config
    if not Path(recipe).is_file():
        raise SystemExit(f"There is no recipe {recipe!r}; expected a file of zoo_configs/, from the repository's root.")
    model = open_model(run)
    weights = write_weights(model, name)
    LOGS.mkdir(exist_ok=True)
    shutil.copyfile(run / LOG, LOGS / f"{name}.csv")
    refined = old.architecture.args if old is not None else {}
    if crf is not None:
        refined = {"refine": "dense", "refine_args": load_preset(crf)}
    post_processing = {key: refined[key] for key in ("refine", "refine_args") if refined.get("refine") == "dense"}
    architecture = Architecture(config.model.name, {**config.model.args, **post_processing})
    same = old is not None and (old.weights, old.architecture) == (weights, architecture)
    renewed = {(result.split, result.protocol) for result in results}
    kept = [result for result in old.results if (result.split, result.protocol) not in renewed] if same else []
    card = Card(
        name=name,
        description=description or old.description,
        architecture=architecture,
        dataset=config.data.dataset,
        class_names=info.class_names,
        palette=info.palette,
        ignore_label=info.ignore_label,
        input_size=config.data.crop,
        normalization=normalization(model),
        parameters=model.count_params(),
        licence=old.licence if old else licence(config),
        weights=weights,
        trained=provenance(config, info, recipe, name),
        results=(*kept, *results),
        published=old.published if old else (),
    )
    with atomic_write(CARDS / f"{name}.yaml") as path:
        text = yaml.safe_dump(to_plain(card), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
        path.write_text(text, encoding="utf-8")
    return read_card(CARDS / f"{name}.yaml")


def normalization(model: Any) -> Normalization:
    """What the model's first layer does, as mean and standard deviation."""
    preprocessing = model.backbone.preprocessing
    std = tuple(round(1 / scale, 4) for scale in preprocessing.scale)
    mean = tuple(
        round(-offset / scale, 4) for offset, scale in zip(preprocessing.offset, preprocessing.scale, strict=True)
    )
    return Normalization(mean, std)


def write_weights(model: Any, name: str) -> Weights:
    """Writes the float16 file of the zoo, which must keep within the package's limits."""
    path = WEIGHTS / f"{name}.weights.h5"
    save_weights(model, path, dtype="float16")
    size, parameters = path.stat().st_size, model.count_params()
    if parameters > MAX_PARAMETERS or size > MAX_BYTES:
        path.unlink()
        raise SystemExit(
            f"{parameters:,} parameters, {size:,} bytes: networks in the package have at most "
            f"{MAX_PARAMETERS:,} and {MAX_BYTES:,}."
        )
    return Weights(file=path.name, sha256=digest(path), bytes=size, dtype="float16")


def provenance(config: TrainConfig, info: RunInfo, recipe: str, name: str) -> Trained:
    return Trained(
        config=recipe,
        command=info.command,
        seed=config.train.seed,
        commit=info.commit,
        epochs=config.train.epochs,
        log=f"{name}.csv",
    )


def licence(config: TrainConfig) -> Licence:
    """The terms that follow from the data and the starting point, another network of the zoo or a backbone."""
    data = DATA_TERMS.get(config.data.dataset)
    if data is None:
        raise SystemExit(f"No terms are known for the dataset {config.data.dataset!r}: add them to DATA_TERMS.")
    backbone, init = str(config.model.args.get("backbone")), config.model.init
    start = "fresh weights"
    if init is not None:
        # A run, which is a step on the way to this one, or a network of the zoo.
        is_run = (Path(init) / CONFIG).exists()
        before = licence(load_config(Path(init) / CONFIG)) if is_run else get_card(init).licence
        start = f"{'a run' if is_run else init} ({(before.notice or '').rstrip('.')})"
        data = data if before.data == data else f"{before.data}; {data}"
    if config.model.backbone_weights:
        start = STARTING_POINTS.get(backbone, "")
        if not start:
            raise SystemExit(f"No terms are known for the weights of {backbone!r}: add them to STARTING_POINTS.")
    words = "" if config.zero_shot is None else vector_terms(config.zero_shot.embeddings)
    return Licence(
        weights="Apache-2.0 as far as kzoo's authors have rights in them; mind the data's terms",
        data=data,
        notice=f"Trained by the kzoo authors on {data}; started from {start}{words}.",
    )


def vector_terms(files: tuple[str, ...]) -> str:
    """Whose word vectors are among a zero-shot network's weights."""
    sources = {file: VECTOR_TERMS.get(Path(file).name.partition("__")[0]) for file in files}
    unknown = [file for file, terms in sources.items() if terms is None]
    if unknown:
        raise SystemExit(f"No terms are known for the word vectors {unknown}: add them to VECTOR_TERMS.")
    return "".join(f"; with word vectors {terms}" for terms in dict.fromkeys(sources.values()))


def read_results(args: argparse.Namespace) -> list[Result]:
    """The results given on the command line; metrics as `kzoo eval --json` writes them, fractions of 1."""
    if not len(args.result) == len(args.split) == len(args.protocol) == len(args.command):
        raise SystemExit("--result, --split, --protocol and --command go together, once for each result.")
    results = []
    for file, split, protocol, command in zip(args.result, args.split, args.protocol, args.command, strict=True):
        measured = json.loads(file.read_text(encoding="utf-8"))
        keys = (*METRICS, *(key for key in ZERO_SHOT_METRICS if key in measured))
        metrics = {key: round(measured[key], 5) for key in keys}
        iou = {key: round(value, 5) for key, value in measured["iou"].items() if value is not None}
        results.append(Result(split=split, protocol=protocol, command=command, metrics=metrics, iou=iou))
    return results


if __name__ == "__main__":
    sys.exit(main())
