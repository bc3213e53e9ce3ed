"""SPNet: pixel features projected into the space of the class embeddings."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.backbones.backbone import full_precision
from kzoo.models.zero_shot.network import ZeroShotSegmenter


@keras.saving.register_keras_serializable(package="kzoo")
class SPNet(ZeroShotSegmenter):
    """Logits are the products of a pixel's projected feature with the class embeddings.

    In training the seen classes alone compete. Afterwards all do, and `calibration` is taken from the logits of the
    seen ones, which have been fitted and the others have not (calibrated stacking).

    Args:
        projection: whether a 1x1 convolution takes the head's features to the embeddings' length. Without, as
            published, the head has as many filters as the embeddings are long.
        calibration: what the seen classes' logits are lowered by in inference.
        Others: see `ZeroShotSegmenter`.

    Raises: `ValueError` if the head's features are of another length than the embeddings, without a projection, and for
        `self_training`.
    Reference: Xian et al., Semantic Projection Network for Zero- and Few-Label Semantic Segmentation, CVPR 2019.
    """

    def __init__(self, num_classes: int, *, projection: bool = False, calibration: float = 0.0, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        if self.self_training:
            raise ValueError("SPNet has no self-training: in training only the seen classes compete.")
        self._method_config = {"projection": bool(projection), "calibration": float(calibration)}
        if not projection and self.head.filters != self.embedding_size:
            raise ValueError(
                f"The head gives features of {self.head.filters}, the embeddings have {self.embedding_size}: give "
                f"head_args={{'filters': {self.embedding_size}}}, or projection=True."
            )
        self.projection = keras.layers.Conv2D(self.embedding_size, 1, name="projection") if projection else None
        self.calibration = float(calibration)
        self.build()

    def classify(self, features: Any, training: bool | None = None) -> Any:
        x = features if self.projection is None else self.projection(features)
        words = ops.transpose(self.embeddings)[None, None]  # a 1x1 convolution, which no format transposes around
        logits = ops.conv(ops.cast(x, full_precision()), ops.cast(words, full_precision()), padding="valid")
        if training:
            return logits + self._where(self.unseen, -1e4)
        return logits - self._where(self.seen, self.calibration)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._method_config}
