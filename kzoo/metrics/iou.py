"""Mean IoU, IoU per class and pixel accuracy, read from one confusion matrix each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kzoo.metrics.confusion_matrix import ConfusionMatrix


@keras.saving.register_keras_serializable(package="kzoo")
class MeanIoU(ConfusionMatrix):
    """Mean over the classes of intersection over union (the Jaccard index), 0..1.

    Areas are summed over the whole data set before the division. A class that is neither labelled nor predicted
    anywhere is left out of the mean. Arguments and inputs as in `ConfusionMatrix`.
    """

    def __init__(self, num_classes: int, ignore_label: int = 255, name: str = "miou", dtype: Any = None) -> None:
        super().__init__(num_classes, ignore_label, name=name, dtype=dtype)

    def result(self) -> Any:
        return ops.cast(self.mean_iou(), "float32")


@keras.saving.register_keras_serializable(package="kzoo")
class PerClassIoU(ConfusionMatrix):
    """Intersection over union of each class, as a dict `{"iou_<class name>": value}`, so that `fit` logs each.

    A class that is neither labelled nor predicted anywhere has NaN.

    Args:
        num_classes, ignore_label, name, dtype: as in `ConfusionMatrix`.
        class_names: one name a class; the class numbers by default.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_label: int = 255,
        class_names: Sequence[str] | None = None,
        name: str = "iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes, ignore_label, name=name, dtype=dtype)
        names = tuple(class_names) if class_names is not None else tuple(str(i) for i in range(self.num_classes))
        if len(set(names)) != self.num_classes:
            raise ValueError(f"Expected {self.num_classes} different class names, received {len(names)}: {names}.")
        self.class_names = names

    def result(self) -> dict[str, Any]:
        iou = ops.cast(self.iou(), "float32")
        return {f"{self.name}_{class_name}": iou[i] for i, class_name in enumerate(self.class_names)}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_names": list(self.class_names)}


@keras.saving.register_keras_serializable(package="kzoo")
class PixelAccuracy(ConfusionMatrix):
    """Share of the labelled (not ignored) pixels whose class is predicted, 0..1; NaN before any such pixel.

    Arguments and inputs as in `ConfusionMatrix`.
    """

    def __init__(
        self, num_classes: int, ignore_label: int = 255, name: str = "pixel_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(num_classes, ignore_label, name=name, dtype=dtype)

    def result(self) -> Any:
        intersection, labelled, _ = self.areas()
        return ops.cast(ops.sum(intersection) / ops.sum(labelled), "float32")
