"""`kzoo export NAME_OR_RUN -o FILE`: a network as ONNX, LiteRT or SavedModel, verified."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kzoo.cli.quiet import import_tensorflow

HELP = "Write a network as ONNX (for TensorRT), LiteRT or SavedModel; it is compared with the network first."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to `parser`."""
    parser.add_argument("model", metavar="NAME_OR_RUN", help="a name from `kzoo list`, a run folder, or a .keras file")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="FILE.onnx, FILE.tflite or a folder")
    parser.add_argument(
        "--format", choices=("onnx", "litert", "saved_model"), help="by default what FILE's ending says"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8", "dynamic"),
        default="fp32",
        help="int8 is calibrated; dynamic (LiteRT) has int8 weights alone",
    )
    parser.add_argument("--size", metavar="HxW", help="of the pictures, e.g. 360x480; by default the network's own")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="pictures at a time; default: 1")
    parser.add_argument("--dynamic", action="store_true", help="leave the batch open (ONNX)")
    parser.add_argument("--argmax", action="store_true", help="the class map comes out, not the logits")
    parser.add_argument("--input-type", choices=("float32", "uint8"), default="float32", help="of the picture, 0..255")
    parser.add_argument("--class-type", choices=("int32", "uint8"), default="int32", help="of the class map")
    parser.add_argument("--opset", type=int, default=13, metavar="N", help="of the ONNX, 13 (the default) to 18")
    parser.add_argument(
        "--refine", choices=("none", "conv"), help="leave the CRF out, or a convolutional one in the graph"
    )
    parser.add_argument(
        "--refine-stride", type=int, default=1, metavar="N", help="pixels of a square between which it passes messages"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="a dataset: int8 is calibrated on train, judged on val"
    )
    parser.add_argument("--dataset", help="folder, or a name of docs/data.md; by default what fits the network")
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="pictures for int8, in place of --data's train")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="what is judged by, in place of --data's val")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of these pictures; default: 0")
    parser.add_argument(
        "--check-tensorrt",
        nargs="+",
        default=[],
        metavar="VERSION",
        help="refuse an ONNX that TensorRT VERSION cannot read, e.g. 8.2; `kzoo doctor --jetpack 6.2` tells which",
    )
    parser.add_argument(
        "--report", action="store_true", help="int8: how much each layer's quantisation changes; no file"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the artefact and its sidecar, and says how far they are from the network."""
    size = parse_size(args.size) if args.size else None
    if args.report == (args.out is not None):
        raise ValueError(
            "Name the file to write, -o FILE.onnx or FILE.tflite; --report, which writes none, goes alone."
        )
    import_tensorflow()
    from kzoo.export import export_model
    from kzoo.zoo import open_model

    model = open_model(args.model)
    options: dict[str, Any] = {
        "size": size or own_size(model),
        "batch": None if args.dynamic else args.batch,
        "input_type": args.input_type,
        "refine": args.refine,
        "refine_stride": args.refine_stride,
        **_pictures(args, model),
    }
    if args.report:
        return _report(model, args, options)
    done = export_model(
        model,
        args.out,
        format=args.format,
        precision=args.precision,
        argmax=args.argmax,
        class_type=args.class_type,
        opset=args.opset,
        seed=args.seed,
        check_tensorrt=args.check_tensorrt,
        **options,
    )
    print(f"wrote {done.path} and {done.sidecar.name}")
    print(describe(done))
    return 0


def describe(done: Any) -> str:
    """The verification in one line."""
    found = done.verification
    words = [
        f"compared with Keras on {found.pictures} pictures of {found.source}: {found.agreement:.3%} of the pixels agree"
    ]
    if found.max_difference is not None:
        words.append(f"logits differ by at most {found.max_difference / found.range:.1e} of their range")
    if found.miou_change is not None:
        words.append(f"mIoU {found.miou + found.miou_change:.2f}, Keras {found.miou:.2f}")
    return "; ".join(words)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of `360x480`."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"--size is HEIGHTxWIDTH in pixels, such as 360x480. Received: {text!r}")
    return int(height), int(width)


def own_size(model: Any) -> tuple[int, int]:
    """The size that the network was trained at, by its card or its run's recipe."""
    if model.trained_size is None:
        raise ValueError("Nothing tells the size that this network was trained at: give --size HEIGHTxWIDTH.")
    height, width = model.trained_size
    return height, width


def _pictures(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"calibration": args.calibration, "pictures": args.pictures}
    if args.data is not None:
        from kzoo.cli.eval import dataset_name
        from kzoo.data import open_dataset

        name = args.dataset or dataset_name(args.data, model)
        for key, split in (("calibration", "train"), ("pictures", "val")):
            if chosen[key] is None and (key == "pictures" or args.precision == "int8" or args.report):
                chosen[key] = open_dataset(name, args.data, split)
    return chosen


def _report(model: Any, args: argparse.Namespace, options: dict[str, Any]) -> int:
    from kzoo.export.sensitivity import sensitivity

    if options["calibration"] is None or options["pictures"] is None:
        raise ValueError(
            "--report needs pictures to calibrate with and to look at: --data, or --calibration and --pictures."
        )
    rows = sensitivity(model, args.format or "litert", seed=args.seed, **options)
    print(f"{'agreement':>9}  {'MACs':>6}  layer quantised alone")
    for row in rows:
        print(f"{row.agreement:9.4f}  {row.share:6.1%}  {row.name}")
    return 0
