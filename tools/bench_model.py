"""EncNet in kzoo against the same network in PyTorch eager mode: inference and training, time and memory.

    python tools/bench_model.py                     # everything, about 20 minutes on two cores
    python tools/bench_model.py inference-float32   # one of inference-float32, inference-bfloat16, training
    python tools/bench_model.py --size 64 --rounds 1

- inference: EncNet on ResNet-101, one picture of 480x480. kzoo's inference graph (`kzoo.inference.freeze`, what
  `predict_image` and `kzoo eval` run) in float32 or under `mixed_bfloat16`; PyTorch in float32 or under bfloat16
  autocast, in its default and in channels-last layout, of which the faster one counts.
- training: a step of EncNet on ResNet-50 with all heads and losses, SGD with momentum and weight decay, batch 4 at
  480x480. kzoo's `train_on_batch` under `mixed_bfloat16`; PyTorch under bfloat16 autocast, channels-last.

PyTorch's encoding is the fast form, in two matrix products. Weights are random on both sides: tests/parity shows that
the networks are the same. BatchNorm's vectors are random too: those of a fresh network are zeros and ones, which an
optimiser of graphs may take out, and which no trained network has. Each contestant has a process of its own; they are
timed in turns, on an idle machine preferably (PyTorch's threads wait spinning, and suffer most from company).
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

NUM_CLASSES = 59
CONTESTS = {
    "inference-float32": ("kzoo", "torch", "torch-channels-last"),
    "inference-bfloat16": ("kzoo", "torch", "torch-channels-last"),
    "training": ("kzoo", "torch-channels-last"),
}
# Of the faster PyTorch contestant's time.
MOST_OF_TORCH = {"inference-float32": 0.85, "inference-bfloat16": 0.9, "training": 0.9}


def pictures(batch: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (batch, size, size, 3)).astype("float32")


def masks(batch: int, size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, NUM_CLASSES, (batch, size, size)).astype("int32")


def kzoo_inference(precision: str, size: int, batch: int) -> Callable[[], Any]:
    import keras
    import tensorflow as tf

    from kzoo.inference.freeze import freeze
    from kzoo.models import EncNet

    keras.config.set_dtype_policy({"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision])
    network = EncNet(NUM_CLASSES, backbone="resnet101", lateral=True)
    trained = np.random.default_rng(2)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            for vector in layer.weights:
                vector.assign(trained.uniform(0.5, 1.0, vector.shape))
    images = tf.constant(pictures(batch, size))
    # Freezing belongs to the first call: its memory is the user's too. The network lives as long as the closure.
    return lambda: freeze(network)(images).numpy()


def torch_inference(precision: str, channels_last: bool, size: int, batch: int) -> Callable[[], Any]:
    import torch

    from tests.parity.torch_encnet import EncNet

    network = EncNet(NUM_CLASSES, depth=101, lateral=True, by_products=True).eval()
    images = torch.from_numpy(pictures(batch, size) / 127.5 - 1).permute(0, 3, 1, 2).contiguous()
    if channels_last:
        network, images = _channels_last(network), _channels_last(images)

    def infer() -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            return network(images)["logits"].float().numpy()

    return infer


def kzoo_training(size: int, batch: int) -> Callable[[], Any]:
    import keras

    from kzoo.models import EncNet

    keras.config.set_dtype_policy("mixed_bfloat16")
    network = EncNet(NUM_CLASSES, backbone="resnet50", lateral=True)
    network.compile(keras.optimizers.SGD(1e-3, momentum=0.9, weight_decay=1e-4))
    images, labels = pictures(batch, size), masks(batch, size)
    return lambda: network.train_on_batch(images, labels)


def torch_training(size: int, batch: int) -> Callable[[], Any]:
    import torch

    from tests.parity.torch_encnet import EncNet, loss

    network = _channels_last(EncNet(NUM_CLASSES, depth=50, lateral=True, by_products=True).train())
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)
    images = _channels_last(torch.from_numpy(pictures(batch, size) / 127.5 - 1).permute(0, 3, 1, 2))
    labels = torch.from_numpy(masks(batch, size)).long()

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(images)
        total = loss({head: tensor.float() for head, tensor in outputs.items()}, labels)
        total.backward()
        optimizer.step()
        return total.item()

    return step


def _channels_last(value: Any) -> Any:
    import torch

    return value.to(memory_format=torch.channels_last)


def compete(name: str, contest: str, size: int, batch: int, threads: int) -> None:
    """The contestant's process."""
    set_threads(name.split("-")[0], threads)
    kind, _, precision = contest.partition("-")

    if kind == "training":
        serve(kzoo_training(size, batch) if name == "kzoo" else torch_training(size, batch))
    elif name == "kzoo":
        serve(kzoo_inference(precision, size, batch))
    else:
        serve(torch_inference(precision, name.endswith("channels-last"), size, batch))


def report(name: str, options: dict[str, Any], rounds: int, repeats: int) -> None:
    with ExitStack() as stack:
        sides = {
            side: stack.enter_context(Contestant(__file__, side, {**options, "contest": name}))
            for side in CONTESTS[name]
        }
        memory = {side: contestant.first_call() for side, contestant in sides.items()}
        take_turns(list(sides.values()), rounds, repeats)
    network = "EncNet-R50" if name == "training" else "EncNet-R101"
    size = options["size"]
    print(f"{name}: {network}, batch {options['batch']}, {size}x{size}, {options['threads']} threads, {rounds} rounds")
    for side, contestant in sides.items():
        seconds, used = statistics.median(contestant.seconds), memory[side]
        kept = f"peak {used.peak:6.0f} MiB in the first call (+{used.of_call:.0f}), {used.after:6.0f} MiB after it"
        print(f"  {side:20} {seconds:8.3f} s   {kept}")
    ratios = {side: median_ratio(sides["kzoo"], contestant) for side, contestant in sides.items() if side != "kzoo"}
    for side, ratio in ratios.items():
        print(f"  kzoo takes {ratio:.2f} of the time of {side}")
    print(f"  against the faster one: {max(ratios.values()):.2f} (at most {MOST_OF_TORCH[name]:g})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contests", nargs="*", help=f"which of {', '.join(CONTESTS)}; all by default")
    parser.add_argument("--size", type=int, default=480, help="side of the pictures")
    parser.add_argument("--batch", type=int, default=4, help="pictures of a training step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=1, help="calls in a row within one round")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        compete(args.contestant, **args.options)
        return
    for name in args.contests or CONTESTS:
        if name not in CONTESTS:
            parser.error(f"unknown contest {name!r}, expected one of {', '.join(CONTESTS)}")
        batch = args.batch if name == "training" else 1
        report(name, {"size": args.size, "batch": batch, "threads": args.threads}, args.rounds, args.repeats)


if __name__ == "__main__":
    main()
