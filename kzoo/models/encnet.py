"""EncNet: context encoding for semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kzoo.backbones.backbone import full_precision
from kzoo.layers import ContextEncoding
from kzoo.models.fcn import FCNHead
from kzoo.models.feature_head import FeatureHead, lateral_names
from kzoo.models.segmenter import Segmenter


@keras.saving.register_keras_serializable(package="kzoo")
class EncNet(Segmenter):
    """A dilated backbone whose features a Context Encoding Module re-weighs, trained with the semantic-encoding loss.

    The defaults are the published code's network. The paper's own form is reachable: `projection=False,
    reduction="sum", gate="product", stage3_context=True, aux=False`.

    Heads when training: `logits`, `se_logits`, `aux` (with `aux=True`), `se_logits_c3` (with `stage3_context=True`).

    Args:
        num_classes: number of classes.
        backbone: a name of `kzoo.backbones.names()`.
        stem: the ResNets' stem, "b", "c" or "s"; "s" as published. Other backbones take none.
        output_stride: 8 as published, 16 or 32.
        num_codewords: number of codewords; 0 replaces the encoding by the mean over all pixels.
        lateral: `True` fuses `c2` and `c3` (as published for the PASCAL data sets); or the names of the features to
            fuse, finest first.
        aux: whether an FCN head on `c3` joins the training.
        filters: channels of the head; a quarter of the backbone's by default, as published.
        lateral_filters: channels of each lateral feature; `filters` by default, as published.
        separable: depthwise-separable 3x3 convolutions in the head, for mobile backbones.
        projection, reduction, gate: the form of the module, see `kzoo.layers.ContextEncoding`.
        stage3_context: whether a second module re-weighs `c3`, with a semantic-encoding loss of its own; the features
            that it re-weighs feed the lateral fusion and the auxiliary head.
        dropout: rate before the classifiers.
        **kwargs: `backbone_args`, `backbone_weights`, `align_corners`, `ignore_label`, `class_weights`, `aux_weight`,
            `se_weight`, `refine`, `refine_args`, see `kzoo.models.Segmenter`.

    Raises: `ValueError` for an unknown backbone or feature name, a wrong stride or class count.
    Reference: Zhang et al., Context Encoding for Semantic Segmentation, CVPR 2018, arXiv 1803.08904.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: str = "resnet50",
        stem: str | None = None,
        output_stride: int = 8,
        num_codewords: int = 32,
        lateral: bool | Sequence[str] = False,
        aux: bool = True,
        filters: int | None = None,
        lateral_filters: int | None = None,
        separable: bool = False,
        projection: bool = True,
        reduction: str = "mean",
        gate: str = "residual",
        stage3_context: bool = False,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        backbone_args = dict(kwargs.pop("backbone_args", None) or {})
        if backbone.startswith("resnet"):
            backbone_args.setdefault("stem", stem or "s")
        elif stem is not None:
            raise ValueError(f"Only ResNets have a choice of stem. Received: backbone={backbone!r}, stem={stem!r}")
        super().__init__(
            num_classes, backbone=backbone, output_stride=output_stride, backbone_args=backbone_args, **kwargs
        )
        channels = self.backbone.channels
        names = lateral_names(lateral, self.backbone)
        self._head_config = {
            "num_codewords": num_codewords,
            "lateral": list(names),
            "aux": aux,
            "filters": filters,
            "lateral_filters": lateral_filters,
            "separable": separable,
            "projection": projection,
            "reduction": reduction,
            "gate": gate,
            "stage3_context": stage3_context,
            "dropout": dropout,
        }
        form: dict[str, Any] = {"projection": projection, "reduction": reduction, "gate": gate}
        self.feature_head = FeatureHead(
            filters or channels["c4"] // 4, names, lateral_filters, separable, self.align_corners, name="feature_head"
        )
        self.context = ContextEncoding(self.num_classes, num_codewords, **form, name="context")
        self.context_c3 = (
            ContextEncoding(self.num_classes, num_codewords, **form, name="context_c3") if stage3_context else None
        )
        self.dropout = keras.layers.Dropout(dropout, name="dropout")
        self.classifier = keras.layers.Conv2D(self.num_classes, 1, dtype=full_precision(), name="classifier")
        self.aux_head = FCNHead(self.num_classes, channels["c3"] // 4, dropout, name="aux_head") if aux else None
        self.build()

    def heads(self, features: dict[str, Any], training: bool | None) -> dict[str, Any]:
        outputs = {}
        if self.context_c3 is not None:
            c3, outputs["se_logits_c3"] = self.context_c3(features["c3"], training=training)
            features = {**features, "c3": c3}
        x = self.feature_head(features, training=training)
        x, outputs["se_logits"] = self.context(x, training=training)
        outputs["logits"] = self.classifier(self.dropout(x, training=training))
        if training and self.aux_head is not None:
            outputs["aux"] = self.aux_head(features["c3"], training=training)
        return outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._head_config}
