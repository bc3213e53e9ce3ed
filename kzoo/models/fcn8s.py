"""FCN-8s on VGG-16, and with a recurrent CRF behind it CRF-RNN, as they were published."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from kzoo.backbones.backbone import full_precision
from kzoo.layers import Crop
from kzoo.models.segmenter import Segmenter


@keras.saving.register_keras_serializable(package="kzoo")
class BilinearUpsampling(keras.initializers.Initializer):
    """Kernels of transposed convolutions from classes to classes that enlarge each class bilinearly."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        size, _, classes_out, classes_in = shape
        # A tent over the kernel's centre which reaches 0 one pixel outside of it, for size = 2 * stride.
        tent = 1 - np.abs(np.arange(size) - (size - 1) / 2) / (size / 2)
        kernel = np.outer(tent, tent)[:, :, None, None] * np.eye(classes_out, classes_in)
        return keras.ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())


@keras.saving.register_keras_serializable(package="kzoo")
class FCN8s(Segmenter):
    """FCN-8s: class scores of three strides, summed on the way up by learned bilinear enlargement.

    With `refine="rnn"` it is the network of CRF-RNN. Takes any picture size: what the margin of the backbone adds is
    cropped at the published offsets, at 500x500 exactly as in the published networks.

    Args:
        num_classes: number of classes.
        backbone: `"vgg16_fcn8s"`; no other has its features.
        output_stride, backbone_args, backbone_weights, ignore_label, class_weights, refine, refine_args: see
            `Segmenter`, of whose other arguments the network has no use.

    References: Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015 (FCN-8s); Zheng et al.,
        Conditional Random Fields as Recurrent Neural Networks, ICCV 2015.
    """

    required_features = ("pool3", "pool4", "fc7")

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "vgg16_fcn8s",
        output_stride: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, backbone=backbone, output_stride=output_stride, **kwargs)
        precision = full_precision()

        def score(name: str) -> Any:
            # From nothing, as published: the coarse scores are not disturbed by the finer ones at first.
            return layers.Conv2D(self.num_classes, 1, kernel_initializer="zeros", dtype=precision, name=name)

        def enlarge(stride: int, name: str, use_bias: bool = False) -> Any:
            return layers.Conv2DTranspose(
                self.num_classes,
                2 * stride,
                strides=stride,
                use_bias=use_bias,
                kernel_initializer=BilinearUpsampling(),
                dtype=precision,
                name=name,
            )

        self.score_fr, self.score2 = score("score_fr"), enlarge(2, "score2", use_bias=True)
        self.score_pool4, self.score4 = score("score_pool4"), enlarge(2, "score4")
        self.score_pool3, self.upsample = score("score_pool3"), enlarge(8, "upsample")
        self.crop_pool4 = Crop(5, dtype=precision, name="crop_pool4")
        self.crop_pool3 = Crop(9, dtype=precision, name="crop_pool3")
        self.build()

    def _make_to_input_size(self) -> keras.Layer:
        return Crop(31, dtype=full_precision(), name="to_input_size")

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        x = self.score2(self.score_fr(features["fc7"]))
        x = self.score4(x + self.crop_pool4(self.score_pool4(features["pool4"]), x))
        x = self.upsample(x + self.crop_pool3(self.score_pool3(features["pool3"]), x))
        return {"logits": x}
