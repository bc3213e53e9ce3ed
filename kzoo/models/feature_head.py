"""The part of the heads that FCN and EncNet share: a 3x3 convolution and the fusion with lateral features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kzoo.backbones import Backbone
from kzoo.errors import unknown_name
from kzoo.layers import ConvBNReLU, Resize

PUBLISHED_LATERAL = ("c2", "c3")


def lateral_names(lateral: bool | Sequence[str], backbone: Backbone) -> tuple[str, ...]:
    """`lateral` as names of the backbone's features; `True` is the published choice, `c2` and `c3`."""
    if isinstance(lateral, bool):
        return PUBLISHED_LATERAL if lateral else ()
    if isinstance(lateral, str) or not isinstance(lateral, Sequence):
        raise ValueError(f"lateral: expected true, false or a list of names. Received: {lateral!r}")
    for name in lateral:
        if name not in backbone.channels or name == "c4":
            raise unknown_name("lateral feature", name, [key for key in backbone.channels if key != "c4"])
    return tuple(lateral)


class FeatureHead(keras.layers.Layer):
    """3x3 convolution of `c4`, fused with 1x1 convolutions of the lateral features by another 3x3 convolution.

    Everything is brought to the finest feature's size (in the published networks all have stride 8 already). Without
    lateral features it is the 3x3 convolution alone.

    Args:
        filters: output channels.
        lateral: names of the lateral features.
        lateral_filters: channels of each lateral feature after its 1x1 convolution.
        separable: depthwise-separable 3x3 convolutions, for mobile backbones.
        align_corners: how features are resized.

    Input: dict of features (B, h, w, C). Output: (B, H', W', filters), the finest used feature's size.
    """

    def __init__(
        self,
        filters: int,
        lateral: Sequence[str] = (),
        lateral_filters: int | None = None,
        separable: bool = False,
        align_corners: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lateral = tuple(lateral)
        self.conv5 = ConvBNReLU(filters, 3, separable=separable, name="conv5")
        self.connect = [ConvBNReLU(lateral_filters or filters, name=f"connect_{name}") for name in self.lateral]
        self.fusion = ConvBNReLU(filters, 3, separable=separable, name="fusion") if self.lateral else None
        self.resize = Resize(align_corners=align_corners, name="resize")

    def build(self, features_shape: dict[str, tuple[int | None, ...]]) -> None:
        self.conv5.build(features_shape["c4"])
        for name, connect in zip(self.lateral, self.connect, strict=True):
            connect.build(features_shape[name])
        if self.fusion is not None:
            channels = self.conv5.filters + sum(connect.filters for connect in self.connect)
            self.fusion.build((None, None, None, channels))

    def call(self, features: dict[str, Any], training: bool | None = None) -> Any:
        x = self.conv5(features["c4"], training=training)
        if self.fusion is None:
            return x
        connected = [
            connect(features[name], training=training) for name, connect in zip(self.lateral, self.connect, strict=True)
        ]
        finest = connected[0]
        return self.fusion(
            ops.concatenate([self.resize(branch, finest) for branch in (x, *connected)], axis=-1), training=training
        )
