"""Third-party DeepLabv3-MobileNetV2 networks (.tflite, PASCAL VOC's 21 classes) beside kzoo's, on the animals task.

    python tools/eval_tflite_peers.py encnet_mnv2_animals
    python tools/eval_tflite_peers.py runs/animals --pictures 40 --draw drawings

All are measured by the same code (`kzoo.inference.evaluate_predictor`) on the same split. Only pixels labelled with the
task's seven classes count; a peer that answers one of VOC's other classes there is wrong ("other" in its confusion
matrix). A picture is shrunk or enlarged to the peer's square input with its aspect kept and grey around it, which suits
these networks better than stretching it; their answer goes back to the picture's own size (logits bilinearly, a class
map by the nearest pixel).

The peers were trained on COCO and all of PASCAL VOC's training pictures. The split here, "val" of the shared data, is
part of the latter: on it they are measured on pictures that they have learned from.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from kzoo.data import VOC, VOC_ANIMALS, Dataset, open_dataset
from kzoo.inference import Results, draw_overlay, evaluate_predictor, labels_of, predict_mask
from kzoo.zoo import open_model

PEERS = {
    "deeplabv3_mnv2_pascal_quant.tflite": "DeepLabv3 MNv2 1.0, int8, 513",
    "deeplabv3_mnv2_dm05_pascal_quant.tflite": "DeepLabv3 MNv2 0.5, int8, 513",
    "deeplabv3_mnv2_dm05_voc_257_float32.tflite": "DeepLabv3 MNv2 0.5, float, 257",
}
ANIMALS = ("cat", "cow", "dog", "horse", "sheep")
OTHER = VOC_ANIMALS.num_classes
# VOC's label -> the task's, all that is not in the task -> OTHER.
TASK_LABEL = np.array(
    [VOC_ANIMALS.class_names.index(n) if n in VOC_ANIMALS.class_names else OTHER for n in VOC.class_names]
)
GREY = 127.5  # zero after the networks' scaling to -1..1

Predictor = Callable[[np.ndarray], np.ndarray]


def peer(path: Path, threads: int) -> Predictor:
    """A .tflite network as a function from a picture to the task's classes (or OTHER) at the picture's size."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    side = int(source["shape"][1])

    def predict(image: np.ndarray) -> np.ndarray:
        square, (height, width) = letterbox(image, side)
        # The quantised inputs (scale 1/128, zero point 128) take 0..255 as it is.
        square = square / 127.5 - 1 if source["dtype"] == np.float32 else np.rint(square)
        interpreter.set_tensor(source["index"], square[np.newaxis].astype(source["dtype"]))
        interpreter.invoke()
        answer = interpreter.get_tensor(target["index"])[0, :height, :width]
        return TASK_LABEL[to_size(answer, image.shape[:2])]

    return predict


def letterbox(image: np.ndarray, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture in the upper left corner of a grey square (side, side, 3), and the size it has there."""
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    square = np.full((side, side, 3), GREY, np.float32)
    square[:height, :width] = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return square, (height, width)


def to_size(answer: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A class map (h, w), or the classes of logits (h, w, C), at another size."""
    if answer.ndim == 2:
        shape = size[1], size[0]
        return np.asarray(Image.fromarray(answer.astype(np.uint8)).resize(shape, Image.Resampling.NEAREST))
    import tensorflow as tf

    return tf.argmax(tf.image.resize(answer, size), axis=-1).numpy()


def measure(predict: Predictor, dataset: Dataset, title: str, classes: tuple[str, ...]) -> Results:
    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{title}: {done}/{total}", end="" if done < total else "\r\033[K", file=sys.stderr, flush=True)

    return evaluate_predictor(predict, dataset, classes, {"predictor": title}, progress)


def row(title: str, results: Results) -> str:
    animals = sum(results.iou[name] for name in ANIMALS) / len(ANIMALS)
    values = [animals, *(results.iou[name] for name in VOC_ANIMALS.class_names), results.pixel_accuracy]
    return f"| {title} | " + " | ".join(f"{100 * value:.1f}" for value in values) + " |"


def draw(predict: Predictor, dataset: Dataset, path: Path) -> None:
    """Draws the overlays of four pictures, one above the other."""
    labels = dataclasses.replace(
        VOC_ANIMALS,
        class_names=(*VOC_ANIMALS.class_names, "other"),
        palette=(*VOC_ANIMALS.palette, (224, 224, 224)),
    )
    images = [dataset.read(index)[0] for index in range(min(4, len(dataset)))]
    overlays = [draw_overlay(image, predict(image).astype(np.uint8), labels) for image in images]
    sheet = Image.new("RGB", (max(o.width for o in overlays), sum(o.height for o in overlays)), "white")
    top = 0
    for overlay in overlays:
        sheet.paste(overlay, (0, top))
        top += overlay.height
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def kzoo_network(name_or_run: str) -> Predictor:
    model: Any = open_model(name_or_run)
    if labels_of(model).class_names != VOC_ANIMALS.class_names:
        raise SystemExit(f"{name_or_run} has other classes than the animals task: {', '.join(model.class_names)}")
    return lambda image: predict_mask(model, image)


def main(argv: list[str] | None = None) -> int:
    default_data = os.environ.get("KZOO_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NAME_OR_RUN", help="kzoo's networks for the same table")
    parser.add_argument("--data", type=Path, default=Path(default_data), help="holds voc_animals/ and weights/")
    parser.add_argument("--split", default="val")
    parser.add_argument("--pictures", type=int, help="only so many pictures, spread over the split")
    parser.add_argument("--threads", type=int, default=2, help="of the .tflite interpreter")
    parser.add_argument("--draw", type=Path, metavar="DIR", help="overlays of the first pictures are written there")
    args = parser.parse_args(argv)
    dataset = open_dataset("voc_animals", args.data / "voc_animals", args.split)
    if args.pictures:
        step = math.ceil(len(dataset) / args.pictures)
        dataset = dataclasses.replace(dataset, samples=dataset.samples[::step])

    contestants = [(title, peer(args.data / "weights" / file, args.threads)) for file, title in PEERS.items()]
    contestants += [(name, kzoo_network(name)) for name in args.networks]
    print(f"voc_animals {args.split}, {len(dataset)} pictures, IoU in percent\n")
    print("| network | mean of 5 animals | " + " | ".join(VOC_ANIMALS.class_names) + " | pixel accuracy |")
    print("|---" * (3 + VOC_ANIMALS.num_classes) + "|")
    for title, predict in contestants:
        print(row(title, measure(predict, dataset, title, (*VOC_ANIMALS.class_names, "other"))), flush=True)
        if args.draw:
            draw(predict, dataset, args.draw / f"{title.replace(' ', '_').replace(',', '').replace('/', '_')}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
