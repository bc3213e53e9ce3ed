"""The dense CRF against pydensecrf: labels, time, memory, on the val pictures of the animals task.

    pip install -e '.[bench]'                                  # pydensecrf2; needs a C++ compiler
    KZOO_DATA=... python tools/bench_crf.py                    # about 10 minutes on two cores
    KZOO_DATA=... python tools/bench_crf.py --pictures 2 --rounds 1

Both sides refine the same beliefs about 21 classes, made from the masks as a network would see them (averaged over
8x8 pixels, noisy, enlarged), with DeepLab LargeFOV's kernels, symmetric normalisation and 10 iterations. kzoo's spatial
kernel is exact where pydensecrf's is another lattice. Times are those of the whole call, from arrays to arrays.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from bench_workers import Contestant, median_ratio, serve, set_threads, take_turns
from PIL import Image

CLASSES, ITERATIONS, STRIDE, BATCH = 21, 10, 8, 8
WIDTHS = {"spatial_sigma": 3.0, "bilateral_sigma_xy": 49.0, "bilateral_sigma_rgb": 5.0}
WEIGHTS = {"spatial_weight": 3.0, "bilateral_weight": 4.0}
LEAST_AGREEMENT, LEAST_OF_CHANGED, MOST_TIME = 0.99, 0.97, 0.75


def data_folder() -> Path:
    return Path(os.environ.get("KZOO_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "voc_animals"


def pictures(count: int, size: tuple[int, int] | None = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The first `count` val pictures, of one (height, width) if given, and logits (H, W, CLASSES) made for them."""
    images, logits = [], []
    for name in (data_folder() / "val.txt").read_text().split():
        image = np.array(Image.open(data_folder() / "images" / f"{name}.jpg").convert("RGB"))
        if size is None or image.shape[:2] == size:
            mask = np.array(Image.open(data_folder() / "masks" / f"{name}.png"))
            images.append(image)
            logits.append(beliefs(mask, np.random.default_rng(len(images))))
        if len(images) == count:
            return images, logits
    raise SystemExit(f"{data_folder()} has {len(images)} val pictures of size {size}, {count} are needed.")


def beliefs(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Logits (H, W, CLASSES) float32 from a mask (H, W) of labels 0..20, 255 = void."""
    height, width = mask.shape
    coarse = (width // STRIDE + 1, height // STRIDE + 1)
    enlarged = []
    for label in range(CLASSES):
        share = Image.fromarray((mask == label).astype("float32")).resize(coarse, Image.Resampling.BOX)
        noisy = 4 * np.asarray(share) + rng.normal(0, 0.8, share.size[::-1]).astype("float32")
        enlarged.append(np.asarray(Image.fromarray(noisy).resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(enlarged, -1)


def peer(logits: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Beliefs (H, W, CLASSES) by pydensecrf."""
    import pydensecrf.densecrf as densecrf

    height, width = image.shape[:2]
    crf = densecrf.DenseCRF2D(width, height, CLASSES)
    crf.setUnaryEnergy(np.ascontiguousarray(-logits.reshape(-1, CLASSES).T))
    crf.addPairwiseGaussian(sxy=WIDTHS["spatial_sigma"], compat=WEIGHTS["spatial_weight"])
    widths = {"sxy": WIDTHS["bilateral_sigma_xy"], "srgb": WIDTHS["bilateral_sigma_rgb"]}
    crf.addPairwiseBilateral(**widths, rgbim=image, compat=WEIGHTS["bilateral_weight"])
    return np.array(crf.inference(ITERATIONS)).T.reshape(height, width, CLASSES)


def ours() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """kzoo's refinement of a batch: logits (B, H, W, CLASSES) from logits and images (B, H, W, 3)."""
    from kzoo.crf import DenseCRF

    crf = DenseCRF(**WIDTHS, **WEIGHTS, iterations=ITERATIONS, normalization="symmetric")
    return lambda logits, images: crf(logits, images).numpy()


def contest(name: str, size: tuple[int, int], threads: int) -> None:
    """The contestant's process."""
    set_threads("tensorflow", threads)
    images, logits = (np.stack(arrays) for arrays in pictures(BATCH, size))
    if name == "pydensecrf":
        serve(lambda: peer(logits[0], images[0]), lambda: peer(logits[0, :9, :9], images[0, :9, :9].copy()))
        return
    refine, count = ours(), BATCH if name == "kzoo, batch" else 1
    x, y = logits[:count], images[:count]
    serve(lambda: refine(x, y), lambda: refine(x[:, :9, :9], y[:, :9, :9]))


def compare(count: int) -> None:
    """Prints how many labels agree, of all pixels and of those that the peer changed."""
    refine = ours()
    agree, agree_changed, total, changed_total = 0, 0, 0, 0
    for image, logits in zip(*pictures(count), strict=True):
        theirs = peer(logits, image).argmax(-1)
        same = refine(logits[np.newaxis], image[np.newaxis])[0].argmax(-1) == theirs
        changed = theirs != logits.argmax(-1)
        agree, total = agree + same.sum(), total + same.size
        agree_changed, changed_total = agree_changed + same[changed].sum(), changed_total + changed.sum()
    print(f"{count} pictures, {total} pixels, of which pydensecrf changed {changed_total / total:.1%}")
    print(f"  same label: {agree / total:.2%} of all pixels (at least {LEAST_AGREEMENT:.0%})")
    print(f"  same label: {agree_changed / changed_total:.2%} of the changed ones (at least {LEAST_OF_CHANGED:.0%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20, help="whose labels are compared")
    parser.add_argument("--size", nargs=2, type=int, default=[375, 500], metavar=("H", "W"), help="of those timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        contest(args.contestant, tuple(args.options["size"]), args.options["threads"])
        return
    try:
        import pydensecrf  # noqa: F401
    except ImportError:
        raise SystemExit(
            "The peer is missing: pip install -e '.[bench]' (pydensecrf2; needs a C++ compiler)."
        ) from None
    if not data_folder().is_dir():
        raise SystemExit(f"The pictures are missing: set KZOO_DATA to the folder of voc_animals/. No {data_folder()}")

    options = {"size": args.size, "threads": args.threads}
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(Contestant(__file__, name, options))
            for name in ("kzoo", "kzoo, batch", "pydensecrf")
        }
        memory = {name: side.first_call() for name, side in sides.items()}
        take_turns(list(sides.values()), args.rounds, 1)
    print(f"{args.size[0]}x{args.size[1]}, {CLASSES} classes, {ITERATIONS} iterations, {args.threads} threads")
    for name, side in sides.items():
        each = statistics.median(side.seconds) / (BATCH if name == "kzoo, batch" else 1)
        print(f"  {name:12} {each:8.3f} s a picture, peak {memory[name].peak:6.0f} MiB (+{memory[name].of_call:.0f})")
    alone = median_ratio(sides["kzoo"], sides["pydensecrf"])
    print(f"  kzoo takes {alone:.2f} of pydensecrf's time (at most {MOST_TIME:g})")
    batch = median_ratio(sides["kzoo, batch"], sides["kzoo"]) / BATCH
    print(f"  a picture in a batch of {BATCH} takes {batch:.2f} of its time alone (at most 1)", flush=True)
    compare(args.pictures)


if __name__ == "__main__":
    main()
