"""Prediction and evaluation: the frozen graph, whole pictures and windows, scales and flip, overlays."""

from kzoo.inference.attention import attention_picture, similarity_to_point
from kzoo.inference.evaluate import Results, draw_confusion, evaluate, evaluate_predictor, matching_dataset
from kzoo.inference.freeze import FrozenModel, freeze
from kzoo.inference.macs import count_macs
from kzoo.inference.overlay import class_shares, draw_overlay, labels_of, mask_picture
from kzoo.inference.predict import predict_logits, predict_mask, read_picture
from kzoo.inference.trimap import plot_trimap, write_trimap

__all__ = [
    "FrozenModel",
    "Results",
    "attention_picture",
    "class_shares",
    "count_macs",
    "draw_confusion",
    "draw_overlay",
    "evaluate",
    "evaluate_predictor",
    "freeze",
    "labels_of",
    "mask_picture",
    "matching_dataset",
    "plot_trimap",
    "predict_logits",
    "predict_mask",
    "read_picture",
    "similarity_to_point",
    "write_trimap",
]
