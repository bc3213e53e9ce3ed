"""Does the input pipeline keep up? Its pictures per second alone, beside those that a training step consumes.

    python tools/bench_data.py                                       # every zoo_configs/*/encnet_mnv2.yaml
    python tools/bench_data.py zoo_configs/camvid/encnet_mnv2.yaml --epochs 8

The peer is the recipe's own training step, timed in the same run on batches that lie in memory. The first epoch, which
decodes the files, is told apart from the later ones, which find them in memory.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from kzoo.data import Dataset, open_dataset, training_pipeline
from kzoo.training import TrainConfig, load_config
from kzoo.training.config import resolve_data_path
from kzoo.training.network import build_model
from kzoo.training.optimizers import build_optimizer

REQUIRED = 4.0
CONFIGS = Path(__file__).resolve().parents[1] / "zoo_configs"


def pipeline_rates(config: TrainConfig, dataset: Dataset, epochs: int) -> list[float]:
    """Pictures per second of each epoch, nobody using them."""
    stream = training_pipeline(
        dataset,
        crop=config.data.crop,
        batch_size=config.data.batch_size,
        augment=config.data.augment,
        seed=config.train.seed,
        epochs=epochs,
    )
    steps = int(stream.cardinality()) // epochs
    rates = []
    start = time.perf_counter()
    for step, _ in enumerate(stream, 1):
        if step % steps == 0:
            now = time.perf_counter()
            rates.append(steps * config.data.batch_size / (now - start))
            start = now
    return rates


def training_rate(config: TrainConfig, dataset: Dataset, steps: int, warm_up: int = 3) -> float:
    """Pictures per second that training steps consume, by the median step."""
    keras.utils.set_random_seed(config.train.seed)
    keras.config.set_dtype_policy(config.train.precision)
    model = build_model(config, dataset)
    model.compile(optimizer=build_optimizer(config.optimizer, model, config.train.epochs, 100))
    stream = training_pipeline(
        dataset,
        crop=config.data.crop,
        batch_size=config.data.batch_size,
        augment=config.data.augment,
        seed=config.train.seed,
        epochs=1,
    )
    batches = itertools.cycle(list(stream.take(4)))
    seconds = []
    for _ in range(warm_up + steps):
        images, masks = next(batches)
        start = time.perf_counter()
        model.train_on_batch(images, masks)
        seconds.append(time.perf_counter() - start)
    return config.data.batch_size / statistics.median(seconds[warm_up:])


def main() -> int:
    """Prints both rates for each config; 1 if a pipeline does not reach `REQUIRED` times its training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="*", type=Path, default=sorted(CONFIGS.glob("*/encnet_mnv2.yaml")))
    parser.add_argument("--epochs", type=int, default=4, help="of the pipeline, at least 2; the first one decodes")
    parser.add_argument("--steps", type=int, default=12, help="training steps that are timed")
    args = parser.parse_args()
    if args.epochs < 2:
        parser.error(f"--epochs must be at least 2, received {args.epochs}")
    reached = True
    for path in args.config:
        config = load_config(path)
        dataset = open_dataset(config.data.dataset, resolve_data_path(config.data.root), config.data.train_split)
        decoding, *later = pipeline_rates(config, dataset, args.epochs)
        steady = statistics.median(later)
        training = training_rate(config, dataset, args.steps)
        height, width = config.data.crop
        print(f"{config.data.dataset}: {len(dataset)} pictures, crop {height}x{width}, batch {config.data.batch_size}")
        print(f"  pipeline alone   {steady:7.1f} pictures/s from memory, {decoding:.1f} in the epoch that decodes")
        print(f"  training step    {training:7.1f} pictures/s ({config.train.precision})")
        print(f"  ratio            {steady / training:7.1f} (at least {REQUIRED:g} wanted)")
        reached = reached and steady >= REQUIRED * training
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
