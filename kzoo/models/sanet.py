"""SANet: squeeze-and-attention networks."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import keras
from keras import ops

from kzoo.backbones.backbone import full_precision
from kzoo.layers import ConvBNReLU, DoubleConv, Resize, SqueezeAttention, SqueezeExcitation
from kzoo.losses import semantic_encoding_loss
from kzoo.models.segmenter import Segmenter

STAGES = ("c1", "c2", "c3", "c4")


@keras.saving.register_keras_serializable(package="kzoo")
class SANet(Segmenter):
    """Squeeze-and-attention heads on all four stages of a backbone, beside a fully convolutional dense head.

    Each head gives a mask for each class; the stages' masks, brought to the finest stage's size, are summed
    (`masks`). The last head's mean over all pixels says which classes there are (`categories`). The dense head, a 3x3
    convolution of the last stage, is guided by the masks: its class scores and a 1x1 convolution of theirs are summed
    (`logits`). The loss is `mask + categorical_weight * categorical + dense_weight * dense`.

    There is no published code: widths, the way masks are merged and the place of the categorical branch are kzoo's
    reading of the paper's figure 3. Widths follow the rule that published heads of this family have, a quarter of the
    stage's channels.

    Heads when training: `logits`, `masks`, `categories`.

    Args:
        num_classes: number of classes.
        backbone, output_stride, backbone_args, backbone_weights, align_corners, ignore_label, class_weights: see
            `Segmenter`.
        attention: `"sa"`; or for ablations `"se"` (squeeze-and-excitation) or `"none"` (3x3 convolutions alone).
        filters: channels of every head; by default a quarter of its stage's.
        pool, gate: of the attention, see `kzoo.layers.SqueezeAttention`.
        separable: depthwise-separable 3x3 convolutions in the heads, for mobile backbones.
        dropout: rate before the dense head's classifier.
        categorical_weight: weight of the categorical loss, the paper's alpha.
        dense_weight: weight of the dense loss, the paper's beta.

    Reference: Zhong et al., Squeeze-and-Attention Networks for Semantic Segmentation, CVPR 2020, arXiv 1909.03402.
    """

    HEAD_OF_LOSS: ClassVar[dict[str, str]] = {
        "ce_loss": "logits",
        "mask_loss": "masks",
        "categorical_loss": "categories",
    }

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "resnet50",
        output_stride: int = 8,
        attention: Literal["sa", "se", "none"] = "sa",
        filters: int | None = None,
        pool: int = 2,
        gate: Literal["sigmoid", "relu"] = "sigmoid",
        separable: bool = False,
        dropout: float = 0.1,
        categorical_weight: float = 0.2,
        dense_weight: float = 0.8,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, backbone=backbone, output_stride=output_stride, **kwargs)
        self._head_config: dict[str, Any] = {
            "attention": attention,
            "filters": filters,
            "pool": pool,
            "gate": gate,
            "separable": separable,
            "dropout": dropout,
            "categorical_weight": categorical_weight,
            "dense_weight": dense_weight,
        }
        self.categorical_weight, self.dense_weight = float(categorical_weight), float(dense_weight)
        form: dict[str, Any] = {"separable": separable}
        if attention == "sa":
            form |= {"pool": pool, "gate": gate, "align_corners": self.align_corners}
        module = {"sa": SqueezeAttention, "se": SqueezeExcitation, "none": DoubleConv}.get(attention)
        if module is None:
            raise ValueError(f"SANet: attention must be sa, se or none. Received: attention={attention!r}")
        widths = {name: filters or self.backbone.channels[name] // 4 for name in STAGES}

        def classifier(name: str) -> keras.layers.Conv2D:
            return keras.layers.Conv2D(self.num_classes, 1, dtype=full_precision(), name=name)

        self.attention_heads = {name: module(widths[name], name=f"attention_{name}", **form) for name in STAGES}
        self.mask_classifiers = {name: classifier(f"mask_{name}") for name in STAGES}
        self.category_classifier = keras.layers.Dense(self.num_classes, dtype=full_precision(), name="categories")
        self.dense_head = ConvBNReLU(widths["c4"], 3, separable=separable, name="dense_head")
        self.dropout = keras.layers.Dropout(dropout, name="dropout")
        self.dense_classifier = classifier("dense_classifier")
        self.guide = classifier("guide")
        self.merge = Resize(align_corners=self.align_corners, dtype=full_precision(), name="merge")
        self.build()

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        attended = {name: self.attention_heads[name](features[name], training=training) for name in STAGES}
        masks = self.mask_classifiers["c1"](attended["c1"])
        finest = masks
        for name in STAGES[1:]:
            masks = masks + self.merge(self.mask_classifiers[name](attended[name]), finest)
        dense = self.dropout(self.dense_head(features["c4"], training=training), training=training)
        outputs = {"logits": self.merge(self.dense_classifier(dense), finest) + self.guide(masks)}
        if training:
            outputs["masks"] = masks
            outputs["categories"] = self.category_classifier(ops.mean(attended["c4"], axis=(1, 2)))
        return outputs

    def attention_maps(self, images: Any) -> dict[str, dict[str, Any]]:
        """What the two branches of each head see in pictures, as the paper's figure 6 compares them.

        Args:
            images: (B, H, W, 3) RGB in 0..255.

        Returns: for each of the stages `c1` ... `c4` the maps `attention` and `main`, each (B, h, w, filters).
        Raises: `ValueError` for a network without squeeze-and-attention.
        """
        if self._head_config["attention"] != "sa":
            raise ValueError(
                f"{self.name} has no attention maps: it was made with attention={self._head_config['attention']!r}, "
                "not 'sa'."
            )
        features = self.backbone(self.preprocessing(images), training=False)
        maps = {}
        for name in STAGES:
            attention, main = self.attention_heads[name].branches(features[name], training=False)
            maps[name] = {"attention": attention, "main": main}
        return maps

    def head_losses(self, labels: Any, outputs: dict[str, Any]) -> dict[str, tuple[float, Any]]:
        losses = {"ce_loss": (self.dense_weight, self.cross_entropy(labels, outputs["logits"]))}
        if "masks" in outputs:
            losses["mask_loss"] = (1.0, self.cross_entropy(labels, outputs["masks"]))
            presence = semantic_encoding_loss(labels, outputs["categories"], ignore_label=self.ignore_label)
            losses["categorical_loss"] = (self.categorical_weight, presence)
        return losses

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._head_config}
