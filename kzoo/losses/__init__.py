"""Losses of the segmentation networks, with the ignore label and correct under a strategy."""

from kzoo.losses.cross_entropy import SegmentationCrossEntropy, cross_entropy
from kzoo.losses.generative import ZS3_BANDWIDTHS, adversarial_loss, kl_divergence, mmd, reconstruction_loss
from kzoo.losses.semantic_encoding import SemanticEncodingLoss, class_presence, semantic_encoding_loss

__all__ = [
    "ZS3_BANDWIDTHS",
    "SegmentationCrossEntropy",
    "SemanticEncodingLoss",
    "adversarial_loss",
    "class_presence",
    "cross_entropy",
    "kl_divergence",
    "mmd",
    "reconstruction_loss",
    "semantic_encoding_loss",
]
