"""DeepLab v3 and v3+: a pyramid of atrous convolutions with the picture's mean, and a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kzoo.backbones.backbone import full_precision
from kzoo.errors import unknown_name
from kzoo.layers import ConvBNReLU, Resize
from kzoo.models.segmenter import Segmenter


@keras.saving.register_keras_serializable(package="kzoo")
class DeepLabV3PlusHead(keras.layers.Layer):
    """DeepLab v3's pyramid on `c4`, and DeepLab v3+'s decoder, which joins it with a finer feature.

    The pyramid is a 1x1 convolution, a dilated 3x3 convolution for each rate and a 1x1 convolution of the mean over all
    pixels, side by side, and a 1x1 convolution of them all. The decoder brings it to the finer feature's size and
    joins the two by two 3x3 convolutions. Each convolution has BatchNorm and ReLU behind it and no bias.

    Args:
        filters: channels of the pyramid's branches, of its end, and of the decoder.
        rates: dilations of the pyramid's 3x3 convolutions, for output stride 16; 8 doubles them: (12, 24, 36).
        low_level: name of the finer feature; None leaves out the decoder, as in DeepLab v3.
        low_level_filters: its channels after a 1x1 convolution.
        separable: depthwise-separable 3x3 convolutions, for mobile backbones.
        align_corners: how the pyramid is resized.
        dropout: rates after the pyramid and after each of the decoder's convolutions.

    Call arguments:
        features: dict of features (B, h, w, C); `c4` and the one called `low_level` are used.

    Output shape: (B, h, w, filters), of the size of the feature called `low_level`, or of `c4` without.

    Raises: `ValueError` for no rates, rates or channels below 1, or dropouts that are not three in [0, 1).
    References:
        Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, arXiv 1706.05587, section 3.3;
        Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation, ECCV 2018,
        arXiv 1802.02611.
    """

    def __init__(
        self,
        filters: int = 256,
        rates: Sequence[int] = (6, 12, 18),
        low_level: str | None = "c1",
        low_level_filters: int = 48,
        separable: bool = False,
        align_corners: bool = True,
        dropout: Sequence[float] = (0.5, 0.5, 0.1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.rates = int(filters), tuple(int(rate) for rate in rates)
        self.low_level, self.low_level_filters = low_level, int(low_level_filters)
        self.separable, self.align_corners = bool(separable), bool(align_corners)
        self.dropout = tuple(float(rate) for rate in dropout)
        if min(self.rates, default=0) < 1:
            raise ValueError(f"DeepLabV3PlusHead needs one rate or more, each of at least 1. Received: rates={rates!r}")
        if len(self.dropout) != 3 or not all(0 <= rate < 1 for rate in self.dropout):
            raise ValueError(
                "DeepLabV3PlusHead has three dropouts, after the pyramid and after each of the decoder's convolutions, "
                f"each at least 0 and below 1. Received: dropout={dropout!r}"
            )

        def unit(name: str, filters: int, kernel_size: int = 1, rate: int = 1) -> ConvBNReLU:
            return ConvBNReLU(filters, kernel_size, rate, self.separable, dtype=self.dtype_policy, name=name)

        # Named by their places, not their rates: weights learned at output stride 16 are used at 8.
        self.branches = [unit("branch_1", self.filters)]
        self.branches += [unit(f"branch_{i}", self.filters, 3, rate) for i, rate in enumerate(self.rates, start=2)]
        self.pooled, self.project = unit("pooled", self.filters), unit("project", self.filters)
        self.resize = Resize(align_corners=self.align_corners, dtype=self.dtype_policy, name="resize")
        drops = [
            keras.layers.Dropout(rate, dtype=self.dtype_policy, name=f"dropout_{i}")
            for i, rate in enumerate(self.dropout, start=1)
        ]
        self.drop = drops[0]
        self.connect: Any = None
        self.decoder: list[keras.Layer] = []
        if low_level is not None:
            self.connect = unit("low_level", self.low_level_filters)
            convolutions = [unit(f"decoder_{i}", self.filters, 3) for i in (1, 2)]
            self.decoder = [convolutions[0], drops[1], convolutions[1], drops[2]]

    def build(self, features_shape: dict[str, tuple[int | None, ...]]) -> None:
        for branch in (*self.branches, self.pooled):
            branch.build(features_shape["c4"])
        self.project.build((None, None, None, self.filters * (len(self.branches) + 1)))
        if self.low_level is not None:
            self.connect.build(features_shape[self.low_level])
            self.decoder[0].build((None, None, None, self.filters + self.low_level_filters))
            self.decoder[2].build((None, None, None, self.filters))

    def call(self, features: dict[str, Any], training: bool | None = None) -> Any:
        c4 = features["c4"]
        branches = [branch(c4, training=training) for branch in self.branches]
        mean = self.pooled(ops.mean(c4, axis=(1, 2), keepdims=True), training=training)
        x = ops.concatenate([*branches, self.resize(mean, c4)], axis=-1)
        x = self.drop(self.project(x, training=training), training=training)
        if self.low_level is None:
            return x
        fine = self.connect(features[self.low_level], training=training)
        x = ops.concatenate([self.resize(x, fine), fine], axis=-1)
        for layer in self.decoder:
            x = layer(x, training=training)
        return x

    def compute_output_shape(self, features_shape: dict[str, tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return (*features_shape[self.low_level or "c4"][:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "rates": list(self.rates),
            "low_level": self.low_level,
            "low_level_filters": self.low_level_filters,
            "separable": self.separable,
            "align_corners": self.align_corners,
            "dropout": list(self.dropout),
        }


@keras.saving.register_keras_serializable(package="kzoo")
class DeepLabV3Plus(Segmenter):
    """A dilated backbone, a pyramid of atrous convolutions, a decoder, and a 1x1 classifier.

    By default ZS3Net's: ResNet-101 at output stride 16 with multi-grid (1, 2, 4). DeepLab v3 is `low_level=None`.

    Args:
        num_classes: number of classes.
        backbone, output_stride, backbone_args, backbone_weights, align_corners, ignore_label, class_weights, refine,
            refine_args: see `Segmenter`. ResNets have `multi_grid: [1, 2, 4]` unless `backbone_args` says otherwise.
        filters, rates, low_level, low_level_filters, separable, dropout: of the head, see `DeepLabV3PlusHead`.

    Raises: `ValueError` for a feature that the backbone does not have.
    Reference: Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation, ECCV
        2018, arXiv 1802.02611.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "resnet101",
        output_stride: int = 16,
        backbone_args: dict[str, Any] | None = None,
        filters: int = 256,
        rates: Sequence[int] = (6, 12, 18),
        low_level: str | None = "c1",
        low_level_filters: int = 48,
        separable: bool = False,
        dropout: Sequence[float] = (0.5, 0.5, 0.1),
        **kwargs: Any,
    ) -> None:
        form = {"multi_grid": [1, 2, 4]} if backbone.startswith("resnet") else {}
        super().__init__(
            num_classes,
            backbone=backbone,
            output_stride=output_stride,
            backbone_args={**form, **(backbone_args or {})},
            **kwargs,
        )
        if low_level is not None and low_level not in self.backbone.channels:
            raise unknown_name("low-level feature", low_level, self.backbone.channels)
        self._head_config: dict[str, Any] = {
            "filters": filters,
            "rates": list(rates),
            "low_level": low_level,
            "low_level_filters": low_level_filters,
            "separable": separable,
            "dropout": list(dropout),
        }
        self.head = DeepLabV3PlusHead(**self._head_config, align_corners=self.align_corners, name="head")
        self.classifier = keras.layers.Conv2D(self.num_classes, 1, dtype=full_precision(), name="classifier")
        self.build()

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        return {"logits": self.classifier(self.head(features, training=training))}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._head_config}
