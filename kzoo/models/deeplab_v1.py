"""DeepLab v1: atrous convolution and a large field of view."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.backbones.backbone import full_precision
from kzoo.layers import LargeFOV
from kzoo.models.segmenter import Segmenter


@keras.saving.register_keras_serializable(package="kzoo")
class DeepLabV1(Segmenter):
    """A dilated backbone, an atrous convolution with a large field of view, and a classifier.

    The dense CRF that the paper puts behind it is `refine="dense"`, see `Segmenter`.

    Args:
        num_classes: number of classes.
        backbone, output_stride, backbone_args, backbone_weights, align_corners, ignore_label, class_weights: see
            `Segmenter`.
        kernel_size, rate, filters, dropout, batchnorm: of the head, see `kzoo.layers.LargeFOV`.

    Reference: Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR
        2015, arXiv 1412.7062.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "resnet50",
        output_stride: int = 8,
        kernel_size: int = 3,
        rate: int = 12,
        filters: int = 1024,
        dropout: float = 0.5,
        batchnorm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, backbone=backbone, output_stride=output_stride, **kwargs)
        self._head_config: dict[str, Any] = {
            "kernel_size": kernel_size,
            "rate": rate,
            "filters": filters,
            "dropout": dropout,
            "batchnorm": batchnorm,
        }
        self.large_fov = LargeFOV(**self._head_config, name="large_fov")
        self.classifier = keras.layers.Conv2D(self.num_classes, 1, dtype=full_precision(), name="classifier")
        self.build()

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        return {"logits": self.classifier(self.large_fov(features["c4"], training=training))}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._head_config}
