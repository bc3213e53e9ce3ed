"""Loading EncNet-R101's published layout: kzoo against `torch.load`, and its cache against Keras' `load_weights`.

    python tools/bench_load.py            # about two minutes
    python tools/bench_load.py --depth 50 --rounds 3

The checkpoint is a random one of `encnet_r101_pcontext`'s keys and shapes (240 MB). Networks are built beforehand on
both sides. A contestant's memory is the peak of its first load above the process's size before it, the network built.

- convert: read the checkpoint, bring every tensor into Keras' order, set every weight (no file is written); PyTorch:
  `torch.load(weights_only=True)` and `load_state_dict`.
- cache: what the second `kzoo.load` does, less building and checksum: read the converted file; Keras:
  `model.load_weights` of it.
- checksum: SHA-1 of the checkpoint and SHA-256 of the conversion, which every load adds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench_workers import Contestant, median_ratio, serve, set_threads, take_turns

CONTESTANTS = ("kzoo-convert", "torch-convert", "kzoo-cache", "keras-cache")
NUM_CLASSES = 59
MOST_OF_TORCH, MOST_OF_KERAS, MOST_MEMORY = 5.0, 1.2, 2.5


def make(path: Path, depth: int) -> Callable[[], Any]:
    """Writes the checkpoint, and its conversion beside it."""
    import torch

    from tests.parity.published_encnet import PyTorchEncodingEncNet

    def work() -> None:
        torch.save(PyTorchEncodingEncNet(NUM_CLASSES, depth, lateral=True).state_dict(), path)
        model = _network(depth)
        _convert(model, path)
        model.save_weights(_converted(path))

    return work


def _network(depth: int) -> Any:
    from kzoo.models import EncNet

    return EncNet(NUM_CLASSES, backbone=f"resnet{depth}", lateral=True)


def _convert(model: Any, path: Path) -> None:
    from kzoo.convert import SOURCES, read_torch, set_weights, state_dict

    set_weights(model, state_dict(read_torch(path), path), SOURCES["pytorch_encoding"], str(path))


def _converted(path: Path) -> Path:
    return path.with_name("converted.weights.h5")


def kzoo_convert(path: Path, depth: int) -> Callable[[], Any]:
    model = _network(depth)
    return lambda: _convert(model, path)


def torch_convert(path: Path, depth: int) -> Callable[[], Any]:
    import torch

    from tests.parity.published_encnet import PyTorchEncodingEncNet

    network = PyTorchEncodingEncNet(NUM_CLASSES, depth, lateral=True)
    return lambda: network.load_state_dict(torch.load(path, weights_only=True))


def kzoo_cache(path: Path, depth: int) -> Callable[[], Any]:
    from kzoo.zoo.published import load_conversion

    model = _network(depth)
    return lambda: load_conversion(model, _converted(path))


def keras_cache(path: Path, depth: int) -> Callable[[], Any]:
    model = _network(depth)
    return lambda: model.load_weights(_converted(path))


def report(path: Path, depth: int, threads: int, rounds: int) -> None:
    options = {"path": str(path), "depth": depth, "threads": threads}
    with Contestant(__file__, "make", options) as maker:
        maker.first_call()
    size = path.stat().st_size / 2**20
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Contestant(__file__, name, options)) for name in CONTESTANTS}
        memory = {name: side.first_call() for name, side in sides.items()}
        take_turns(list(sides.values()), rounds, 1)
    print(f"EncNet-R{depth}, checkpoint of {size:.0f} MiB, {threads} threads, {rounds} rounds")
    for name, side in sides.items():
        used = memory[name].of_call
        print(f"  {name:14} {statistics.median(side.seconds):6.3f} s, +{used:.0f} MiB ({used / size:.2f} of the file)")
    convert = median_ratio(sides["kzoo-convert"], sides["torch-convert"])
    cache = median_ratio(sides["kzoo-cache"], sides["keras-cache"])
    print(f"  convert: {convert:.2f} of torch's time (at most {MOST_OF_TORCH:g})")
    print(f"  convert: {memory['kzoo-convert'].of_call / size:.2f} of the file in memory (at most {MOST_MEMORY:g})")
    print(f"  cache: {cache:.2f} of Keras' time (at most {MOST_OF_KERAS:g})")

    from kzoo.zoo.cache import mismatch

    for algorithm, file in (("sha1", path), ("sha256", _converted(path))):
        start = time.perf_counter()
        mismatch(file, f"{algorithm}:00000000")
        print(f"  {algorithm} of {file.name}: {time.perf_counter() - start:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=101, choices=(50, 101))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        path, depth = Path(args.options["path"]), args.options["depth"]
        set_threads(args.contestant.split("-")[0], args.options["threads"])
        contestants = {
            "make": make,
            "kzoo-convert": kzoo_convert,
            "torch-convert": torch_convert,
            "kzoo-cache": kzoo_cache,
            "keras-cache": keras_cache,
        }
        serve(contestants[args.contestant](path, depth))
        return
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder) / "checkpoint.pth", args.depth, args.threads, args.rounds)


if __name__ == "__main__":
    main()
