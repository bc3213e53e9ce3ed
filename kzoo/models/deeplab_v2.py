"""DeepLab v2: atrous spatial pyramid pooling on a ResNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kzoo.backbones.backbone import full_precision
from kzoo.layers import ASPP
from kzoo.models.segmenter import Segmenter


@keras.saving.register_keras_serializable(package="kzoo")
class DeepLabV2Head(keras.layers.Layer):
    """Atrous spatial pyramid pooling of `c4`: the sum of parallel 3x3 convolutions, see `kzoo.layers.ASPP`.

    Args:
        filters: output channels.
        rates: the convolutions' dilations.

    Call arguments:
        features: dict of features (B, h, w, C); `c4` is used.

    Output shape: (B, h, w, filters).
    Reference: Chen et al., DeepLab, TPAMI 2018, arXiv 1606.00915, section 3.2.
    """

    def __init__(self, filters: int, rates: Sequence[int] = (6, 12, 18, 24), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = int(filters)
        self.aspp = ASPP(rates, filters, dtype=self.dtype_policy, name="aspp")

    def build(self, features_shape: dict[str, tuple[int | None, ...]]) -> None:
        self.aspp.build(features_shape["c4"])

    def call(self, features: dict[str, Any], training: bool | None = None) -> Any:
        return self.aspp(features["c4"])

    def compute_output_shape(self, features_shape: dict[str, tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return self.aspp.compute_output_shape(features_shape["c4"])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "rates": list(self.aspp.rates)}


@keras.saving.register_keras_serializable(package="kzoo")
class DeepLabV2(Segmenter):
    """A dilated backbone and atrous spatial pyramid pooling.

    By default the paper's DeepLab-ASPP-L on ResNet-101 in Caffe's form. The paper's largest network takes the maximum
    over its scores of three scales of the picture; this one sees one scale.

    Args:
        num_classes: number of classes.
        backbone, output_stride, backbone_args, backbone_weights, align_corners, ignore_label, class_weights, refine,
            refine_args: see `Segmenter`. ResNets are of Caffe's form (`caffe: true`) unless `backbone_args` says
            otherwise.
        filters: channels of the pyramid, which a 1x1 classifier follows; by default, as published, there is none, and
            the pyramid sums scores of the classes.
        rates: the pyramid's dilations.

    Reference: Chen et al., DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and
        Fully Connected CRFs, TPAMI 2018, arXiv 1606.00915.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "resnet101",
        output_stride: int = 8,
        backbone_args: dict[str, Any] | None = None,
        filters: int | None = None,
        rates: Sequence[int] = (6, 12, 18, 24),
        **kwargs: Any,
    ) -> None:
        form = {"caffe": True} if backbone.startswith("resnet") else {}
        super().__init__(
            num_classes,
            backbone=backbone,
            output_stride=output_stride,
            backbone_args={**form, **(backbone_args or {})},
            **kwargs,
        )
        self._head_config: dict[str, Any] = {"filters": filters, "rates": list(rates)}
        scores = {"dtype": full_precision()}
        self.classifier: keras.Layer | None = None
        if filters is not None:
            self.classifier = keras.layers.Conv2D(self.num_classes, 1, **scores, name="classifier")
            scores = {}
        self.head = DeepLabV2Head(filters or self.num_classes, rates, **scores, name="head")
        self.build()

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        x = self.head(features, training=training)
        return {"logits": x if self.classifier is None else self.classifier(x)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._head_config}
