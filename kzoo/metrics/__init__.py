"""Segmentation metrics: exact over a whole data set, from labels with an ignore label and logits."""

from kzoo.metrics.boundary_iou import BoundaryIoU
from kzoo.metrics.confusion_matrix import ConfusionMatrix, confusion_matrix
from kzoo.metrics.iou import MeanIoU, PerClassIoU, PixelAccuracy
from kzoo.metrics.trimap import TrimapMetrics, TrimapResults

__all__ = [
    "BoundaryIoU",
    "ConfusionMatrix",
    "MeanIoU",
    "PerClassIoU",
    "PixelAccuracy",
    "TrimapMetrics",
    "TrimapResults",
    "confusion_matrix",
]
