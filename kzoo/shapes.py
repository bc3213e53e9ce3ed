"""What losses and metrics share: masks and logits that fit each other."""

from __future__ import annotations

from typing import Any

from keras import ops


def class_map(labels: Any, logits: Any) -> Any:
    """The labels as (B, H, W), whether they came so or as (B, H, W, 1).

    Args:
        labels: a mask of classes a picture.
        logits: (B, H, W, C).

    Raises: `ValueError` for other axes, or another size than the logits', as far as shapes are known.
    """
    labels = ops.convert_to_tensor(labels)
    try:
        known = tuple(labels.shape)
    except ValueError:  # TensorFlow, when a pipeline tells nothing of its masks' shapes
        return labels
    if len(known) == 4 and known[-1] == 1:
        labels, known = ops.squeeze(labels, axis=-1), known[:-1]
    wanted = tuple(logits.shape)[:3]
    if len(known) != 3 or any(a != b for a, b in zip(known, wanted, strict=True) if None not in (a, b)):
        raise ValueError(
            f"Expected masks {wanted}, one class a pixel, or the same with a last axis of 1. Received masks {known} "
            f"for logits {tuple(logits.shape)}."
        )
    return labels
