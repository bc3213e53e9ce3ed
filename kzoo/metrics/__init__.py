"""Segmentation metrics: exact over a whole data set, from labels with an ignore label and logits."""

from kzoo.metrics.boundary_iou import BoundaryIoU
from kzoo.metrics.confusion_matrix import ConfusionMatrix, confusion_matrix
from kzoo.metrics.iou import MeanIoU, PerClassIoU, PixelAccuracy
from kzoo.metrics.trimap import TrimapMetrics, TrimapResults
from kzoo.metrics.zero_shot import ZeroShotScores, zero_shot_scores

__all__ = [
    "BoundaryIoU",
    "ConfusionMatrix",
    "MeanIoU",
    "PerClassIoU",
    "PixelAccuracy",
    "TrimapMetrics",
    "TrimapResults",
    "ZeroShotScores",
    "confusion_matrix",
    "zero_shot_scores",
]
