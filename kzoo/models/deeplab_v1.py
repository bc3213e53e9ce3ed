"""DeepLab v1: atrous convolution, a large field of view, and multi-scale prediction."""

from __future__ import annotations

import os
from typing import Any

import keras
from keras import ops

from kzoo.backbones.backbone import full_precision
from kzoo.layers import LargeFOV, Resize
from kzoo.models.segmenter import Segmenter

BRANCH_FILTERS = 128


class ScaleBranch(keras.layers.Layer):
    """Scores of one resolution: a 3x3 and a 1x1 convolution, each with ReLU and dropout, and a 1x1 classifier.

    Args:
        num_classes: number of classes.
        stride: of the first convolution where the scores are wanted at a coarser resolution.
        dropout: rate after each convolution.

    Call arguments:
        inputs: (B, H, W, C).
        coarse: whether to take the stride. Where H and W are 1 more than a multiple of it, that gives every
            `stride`th of the dense scores.

    Output shape: (B, H, W, num_classes), or (B, ceil(H / stride), ceil(W / stride), num_classes).
    """

    def __init__(self, num_classes: int, stride: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = stride
        self.conv = keras.layers.Conv2D(
            BRANCH_FILTERS, 3, padding="same", kernel_initializer=_gaussian(0.001), name="conv"
        )
        self.fc = keras.layers.Conv2D(
            BRANCH_FILTERS, 1, activation="relu", kernel_initializer=_gaussian(0.001), name="fc"
        )
        self.score = _classifier(num_classes, "score")
        self.drop_conv = keras.layers.Dropout(dropout, name="drop_conv")
        self.drop_fc = keras.layers.Dropout(dropout, name="drop_fc")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.conv.build(input_shape)
        for layer in (self.fc, self.score):
            layer.build((None, None, None, BRANCH_FILTERS))

    def call(self, inputs: Any, coarse: bool = False, training: bool | None = None) -> Any:
        if coarse and self.stride > 1:
            padded = ops.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
            x = ops.conv(padded, self.conv.kernel, self.stride, "valid") + self.conv.bias
        else:
            x = self.conv(inputs)
        x = self.fc(self.drop_conv(ops.relu(x), training=training))
        return self.score(self.drop_fc(x, training=training))


@keras.saving.register_keras_serializable(package="kzoo")
class DeepLabV1(Segmenter):
    """A dilated backbone, an atrous convolution with a large field of view, and a classifier.

    By default the paper's DeepLab-LargeFOV. Its other fields of view (table 2) are `kernel_size=7, rate=4`,
    `kernel_size=4, rate=4` and `kernel_size=4, rate=8`, with `filters=4096` and
    `backbone_args={"average_pool": False}`. The dense CRF that it puts behind them is `refine="dense"`, see
    `Segmenter`.

    Args:
        num_classes: number of classes.
        backbone, output_stride, backbone_args, backbone_weights, align_corners, ignore_label, class_weights: see
            `Segmenter`. A `.caffemodel` as `backbone_weights` gives the head its `fc6` and `fc7` too.
        kernel_size, rate, filters, dropout, batchnorm: of the head, see `kzoo.layers.LargeFOV`.
        multi_scale: the paper's MSc: scores of the picture and of each feature below `c4` are added. In training on
            shrunk labels their first convolutions have strides, so that all scores are of the last feature's size;
            elsewhere they are dense, and resized to the picture's size before they are added, as in the released
            networks.
        shrink_labels: train on logits at the last feature's resolution, as published, and on the labels at their
            places (`kzoo.layers.resize.corner_aligned`): every 8th for sides of 8 k + 1. By default with VGG-16.

    Reference: Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR
        2015, arXiv 1412.7062.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "vgg16",
        output_stride: int = 8,
        backbone_weights: str | os.PathLike[str] | None = None,
        kernel_size: int = 3,
        rate: int = 12,
        filters: int = 1024,
        dropout: float = 0.5,
        batchnorm: bool = False,
        multi_scale: bool = False,
        shrink_labels: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes, backbone=backbone, output_stride=output_stride, backbone_weights=backbone_weights, **kwargs
        )
        self._head_config: dict[str, Any] = {
            "kernel_size": kernel_size,
            "rate": rate,
            "filters": filters,
            "dropout": dropout,
            "batchnorm": batchnorm,
        }
        self.shrink_labels = backbone == "vgg16" if shrink_labels is None else bool(shrink_labels)
        self.large_fov = LargeFOV(**self._head_config, name="large_fov")
        self.classifier = _classifier(self.num_classes, "classifier")
        self.branches: dict[str, ScaleBranch] = {}
        if multi_scale:
            strides = {"image": 1, **self.backbone.strides}
            last = strides.pop("c4")
            self.branches = {
                name: ScaleBranch(self.num_classes, last // stride, dropout, name=f"msc_{name}")
                for name, stride in strides.items()
            }
        self.to_last_size = Resize(align_corners=self.align_corners, dtype=full_precision(), name="to_last_size")
        self.build()
        if str(backbone_weights).endswith(".caffemodel"):
            from kzoo.convert.deeplab_caffe import set_large_fov

            set_large_fov(self.large_fov, str(backbone_weights))

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        logits = self.classifier(self.large_fov(features["c4"], training=training))
        if self.branches:
            coarse = bool(training and self.shrink_labels)
            resize, target = (self.to_last_size, logits) if coarse else (self.to_input_size, features["image"])
            scores = [
                branch(features[name], coarse=coarse, training=training) for name, branch in self.branches.items()
            ]
            logits = sum(resize(score, target) for score in (logits, *scores))
        return {"logits": logits}

    def get_config(self) -> dict[str, Any]:
        own = {"multi_scale": bool(self.branches), "shrink_labels": self.shrink_labels}
        return {**super().get_config(), **self._head_config, **own}


def _classifier(num_classes: int, name: str) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(num_classes, 1, kernel_initializer=_gaussian(0.01), dtype=full_precision(), name=name)


def _gaussian(deviation: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=deviation)
