"""FCN: the dilated fully convolutional baseline of the papers, and the auxiliary head of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kzoo.backbones.backbone import full_precision
from kzoo.layers import ConvBNReLU
from kzoo.models.feature_head import FeatureHead, lateral_names
from kzoo.models.segmenter import Segmenter


class FCNHead(keras.layers.Layer):
    """3x3 convolution to a quarter of the channels, BN, ReLU, dropout, 1x1 convolution to the classes.

    Input shape: (B, h, w, C). Output shape: (B, h, w, num_classes), float32.
    """

    def __init__(self, num_classes: int, filters: int, dropout: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conv5 = ConvBNReLU(filters, 3, name="conv5")
        self.dropout = keras.layers.Dropout(dropout, name="dropout")
        self.classifier = keras.layers.Conv2D(num_classes, 1, dtype=full_precision(), name="classifier")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.conv5.build(input_shape)
        self.classifier.build(self.conv5.compute_output_shape(input_shape))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.dropout(self.conv5(inputs, training=training), training=training)
        return self.classifier(x)


@keras.saving.register_keras_serializable(package="kzoo")
class FCN(Segmenter):
    """A dilated backbone with a 3x3 convolution and a classifier.

    Args:
        num_classes: number of classes.
        backbone, output_stride, backbone_args, backbone_weights, align_corners, ignore_label, class_weights,
            aux_weight, refine, refine_args: see `Segmenter`.
        filters: channels of the head; a quarter of the backbone's by default, as published.
        lateral: `True` fuses `c2` and `c3`; or the names of the features to fuse, finest first.
        lateral_filters: channels of each lateral feature; `filters` by default, as published.
        separable: depthwise-separable 3x3 convolutions in the head, for mobile backbones.
        aux: whether an FCN head on `c3` joins the training.
        dropout: rate before the classifiers.

    Reference: Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015; in the dilated form of
    Zhang et al., CVPR 2018.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "resnet50",
        output_stride: int = 8,
        filters: int | None = None,
        lateral: bool | Sequence[str] = False,
        lateral_filters: int | None = None,
        separable: bool = False,
        aux: bool = True,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, backbone=backbone, output_stride=output_stride, **kwargs)
        channels = self.backbone.channels
        names = lateral_names(lateral, self.backbone)
        self._head_config = {
            "filters": filters,
            "lateral": list(names),
            "lateral_filters": lateral_filters,
            "separable": separable,
            "aux": aux,
            "dropout": dropout,
        }
        self.feature_head = FeatureHead(
            filters or channels["c4"] // 4, names, lateral_filters, separable, self.align_corners, name="feature_head"
        )
        self.dropout = keras.layers.Dropout(dropout, name="dropout")
        self.classifier = keras.layers.Conv2D(self.num_classes, 1, dtype=full_precision(), name="classifier")
        self.aux_head = FCNHead(self.num_classes, channels["c3"] // 4, dropout, name="aux_head") if aux else None
        self.build()

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        x = self.feature_head(features, training=training)
        outputs = {"logits": self.classifier(self.dropout(x, training=training))}
        if training and self.aux_head is not None:
            outputs["aux"] = self.aux_head(features["c3"], training=training)
        return outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._head_config}
