"""Losses of the segmentation networks, with the ignore label and correct under a strategy."""

from kzoo.losses.cross_entropy import SegmentationCrossEntropy, cross_entropy
from kzoo.losses.semantic_encoding import SemanticEncodingLoss, class_presence, semantic_encoding_loss

__all__ = [
    "SegmentationCrossEntropy",
    "SemanticEncodingLoss",
    "class_presence",
    "cross_entropy",
    "semantic_encoding_loss",
]
