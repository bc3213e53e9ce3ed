"""A step of CaGNet's training against a step of the same network's plain segmentation training: time and memory.

    python tools/bench_zero_shot.py
    python tools/bench_zero_shot.py --size 129 --batch 2 --rounds 3

The network is that of `zoo_configs/voc_animals/zero_shot/` (DeepLab v3+ on MobileNetV2) with nothing frozen. CaGNet
trains in turns of two phases: `train` steps take pictures through all modules, `finetune` steps take generated features
alone. Timed are a step of `train`, and the mean step of both. Each contestant has a process of its own; they are timed
in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from bench_workers import Contestant, median_ratio, serve, set_threads, take_turns

NUM_CLASSES, UNSEEN, EMBEDDING = 7, (5,), 600
MOST_OF_PLAIN = 2.0  # of the plain step's time, and of its memory
FEATURES = {"backbone": "mobilenet_v2", "output_stride": 16, "align_corners": False}
HEAD = {"filters": 128, "low_level": "c2", "low_level_filters": 32, "separable": True, "dropout": (0.2, 0.2, 0.1)}


def batch_of(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, NUM_CLASSES, (batch, size, size)).astype("int32")
    labels[np.isin(labels, UNSEEN)] = 255
    return rng.uniform(0, 255, (batch, size, size, 3)).astype("float32"), labels


def plain(size: int, batch: int) -> Callable[[], Any]:
    import keras

    from kzoo.models import DeepLabV3Plus

    network = DeepLabV3Plus(NUM_CLASSES, **FEATURES, **HEAD)
    network.compile(keras.optimizers.Adam(1e-4))
    images, labels = batch_of(batch, size)
    return lambda: network.train_on_batch(images, labels)


def cagnet(size: int, batch: int, both: bool) -> Callable[[], Any]:
    """A step of `train`, or one of each phase."""
    import keras
    import tensorflow as tf

    from kzoo.models.zero_shot import CaGNet

    network = CaGNet(
        NUM_CLASSES,
        unseen=UNSEEN,
        embedding_size=EMBEDDING,
        head="deeplab_v3plus",
        head_args=HEAD,
        context_filters=64,
        classifier_filters=256,
        phase_steps=1 if both else 1_000_000,
        **FEATURES,
    )
    adam = keras.optimizers.Adam
    network.compile(adam(1e-4), generator_optimizer=adam(1e-4), discriminator_optimizer=adam(1e-4))
    stream = iter(tf.data.Dataset.from_tensors(batch_of(batch, size)).repeat())
    step = network.make_train_function()

    def steps() -> None:
        for _ in network.phases if both else ("train",):
            step(stream)

    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=257, help="side of the pictures")
    parser.add_argument("--batch", type=int, default=8, help="pictures of a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        options = dict(args.options)
        set_threads("kzoo", options.pop("threads"))
        if args.contestant != "plain":
            options["both"] = args.contestant == "both phases"
        serve((plain if args.contestant == "plain" else cagnet)(**options))
        return
    options = {"size": args.size, "batch": args.batch, "threads": args.threads}
    steps = {"plain": 1, "train phase": 1, "both phases": 2}
    with ExitStack() as stack:
        sides = {side: stack.enter_context(Contestant(__file__, side, options)) for side in steps}
        memory = {side: contestant.first_call() for side, contestant in sides.items()}
        take_turns(list(sides.values()), args.rounds, 1)
    print(f"batch {args.batch}, {args.size}x{args.size}, {args.threads} threads, {args.rounds} rounds")
    for side, count in steps.items():
        seconds, used = statistics.median(sides[side].seconds) / count, memory[side]
        print(
            f"  {side:12} {seconds:6.3f} s a step, {args.batch / seconds:5.1f} pictures/s, "
            f"peak {used.peak:5.0f} MiB, of the step {used.of_call:5.0f} MiB"
        )
    print(f"against the plain step (at most {MOST_OF_PLAIN:g}):")
    for side in ("train phase", "both phases"):
        time = median_ratio(sides[side], sides["plain"]) / steps[side]
        print(f"  {side:12} {time:.2f} of its time, {memory[side].peak / memory['plain'].peak:.2f} of its peak memory")


if __name__ == "__main__":
    main()
