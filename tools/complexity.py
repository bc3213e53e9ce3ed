"""Parameters and multiply-accumulate operations of SANet's and DeepLab v1's variants.

    python tools/complexity.py [--size 480x480] [--classes 59]

Nothing is computed with: networks are built and their graphs counted (`kzoo.inference.count_macs`).
"""

from __future__ import annotations

import argparse
from typing import Any

import keras

from kzoo.inference import count_macs
from kzoo.models import FCN, SANet, Segmenter

VARIANTS: tuple[tuple[str, type[Segmenter], dict[str, Any]], ...] = (
    ("FCN, ResNet-50", FCN, {"backbone": "resnet50", "aux": False}),
    ("+ four SE heads", SANet, {"backbone": "resnet50", "attention": "se"}),
    ("SANet, ResNet-50", SANet, {"backbone": "resnet50"}),
    ("SANet, ResNet-101", SANet, {"backbone": "resnet101"}),
    ("SANet, EfficientNet-B0", SANet, {"backbone": "efficientnet_b0"}),
    ("SANet, EfficientNet-B7", SANet, {"backbone": "efficientnet_b7"}),
    ("SANet, EfficientNet-B7, output stride 16", SANet, {"backbone": "efficientnet_b7", "output_stride": 16}),
    (
        "SANet, MobileNetV2, output stride 16, separable, 96 channels",
        SANet,
        {"backbone": "mobilenet_v2", "output_stride": 16, "separable": True, "filters": 96},
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x480", help="height x width of the picture")
    parser.add_argument("--classes", type=int, default=59, help="number of classes")
    args = parser.parse_args()
    height, width = (int(side) for side in args.size.split("x"))

    print(f"| network ({args.classes} classes, output stride 8 if not said) | parameters, M | of them heads, M "
          f"| GMACs at {args.size} |\n|---|---|---|---|")  # fmt: skip
    for title, build, options in VARIANTS:
        keras.backend.clear_session()
        model = build(args.classes, **options)
        parameters, backbone = model.count_params(), model.backbone.count_params()
        macs = count_macs(model, (height, width))
        print(f"| {title} | {parameters / 1e6:.2f} | {(parameters - backbone) / 1e6:.2f} | {macs / 1e9:.1f} |")


if __name__ == "__main__":
    main()
