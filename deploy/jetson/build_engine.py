#!/usr/bin/env python3
"""Builds the TensorRT engine of a network on the board that will run it; takes minutes, once.

    python3 build_engine.py encnet.onnx

writes the engine beside the ONNX file and prints its name. An engine that is there already, for the same network,
TensorRT, GPU and options, is left alone.
"""

import argparse
import sys
import time
from pathlib import Path

from kzoo_jetson.build import Options, build_engine, import_tensorrt, typing_flags, version
from kzoo_jetson.cuda import Cuda, Gpu
from kzoo_jetson.engine import Key, is_current, shapes_text, write_engine
from kzoo_jetson.errors import run
from kzoo_jetson.files import whole
from kzoo_jetson.sidecar import PRECISIONS, check_onnx, read_sidecar


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path, help="what `kzoo export --format onnx` wrote; its .json lies beside it")
    parser.add_argument("--precision", choices=PRECISIONS, help="by default the one that the file was exported in")
    parser.add_argument(
        "--batch", type=_positive, default=1, metavar="N", help="pictures in one run, at most (exported with --dynamic)"
    )
    parser.add_argument(
        "--workspace", type=_positive, default=1024, metavar="MIB", help="memory that a layer may take; default 1024"
    )
    parser.add_argument("--dla", type=int, choices=(0, 1), help="run what can be run there on this DLA core")
    parser.add_argument("--verbose", action="store_true", help="print all that TensorRT does")
    return parser.parse_args()


def main() -> None:
    """Builds the engine, unless it is there."""
    args = parse_arguments()
    sidecar = read_sidecar(args.onnx)
    check_onnx(sidecar)
    trt = import_tensorrt()
    gpu = Cuda().gpu()
    options = Options(args.precision or sidecar.precision, args.batch, args.workspace, args.dla)
    key = Key(
        onnx_sha256=sidecar.sha256,
        tensorrt=trt.__version__,
        gpu=str(gpu),
        precision=options.precision,
        shapes=shapes_text(sidecar, options.batch),
        flags=typing_flags(version(trt)[0], sidecar.precision, options),
        workspace_mib=options.workspace_mib,
        dla_core=options.dla_core,
    )
    path = args.onnx.with_name(key.file_name(args.onnx.stem))
    if is_current(path, key):
        print(f"{path} is up to date.")
        return
    print(f"Building for TensorRT {trt.__version__} on {gpu}; this takes minutes.")
    start = time.time()
    cache = timing_cache_path(args.onnx, trt.__version__, gpu)
    before = cache.read_bytes() if cache.exists() else b""
    plan, after = build_engine(trt, sidecar, options, before, args.verbose)
    seconds = time.time() - start
    write_engine(path, key, sidecar, plan, seconds)
    with whole(cache) as partial:
        partial.write_bytes(after)
    print(f"Built in {seconds:.0f} s: {path} ({len(plan) / 1e6:.1f} MB).")


def timing_cache_path(onnx: Path, tensorrt: str, gpu: Gpu) -> Path:
    """Where measured layers are kept for the next build: of any network, with this TensorRT on this GPU."""
    capability = gpu.compute_capability.replace(".", "")
    return onnx.with_name(f"timing-trt{tensorrt}-sm{capability}x{gpu.multiprocessors}.cache")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "positive number"  # what argparse calls it in its message

if __name__ == "__main__":
    sys.exit(run(main))
