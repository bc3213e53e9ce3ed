"""How well a zero-shot network does on the classes that it has seen, on those that it has not, and on both at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kzoo.models.zero_shot.split import ClassSplit


@dataclass(frozen=True)
class ZeroShotScores:
    """Fractions of 1; NaN where no class of a group is labelled or predicted.

    Attributes:
        seen_miou: mean IoU of the seen classes.
        unseen_miou: mean IoU of the unseen classes.
        hiou: the harmonic mean of both, which is near the smaller one: neither group can stand in for the other.
        miou: mean IoU of seen and unseen classes together.
    """

    seen_miou: float
    unseen_miou: float
    hiou: float
    miou: float


def zero_shot_scores(matrix: Any, split: ClassSplit) -> ZeroShotScores:
    """Seen, unseen, harmonic and overall mean IoU.

    Pixels of the split's ignored classes do not count; one that is predicted as an ignored class counts as missed. A
    class that is neither labelled nor predicted is left out of the means, as in `MeanIoU`.

    The matrix tells the setting. In the generalised one, which papers report unless they say otherwise, every class is
    a candidate at every pixel. The pure one asks only which unseen class it is: count the pixels of unseen classes
    alone, each with the unseen class of the highest logit; then only `unseen_miou` has a meaning. It cannot be read
    from the generalised matrix, since what was predicted as a seen class has lost its second choice.

    Args:
        matrix: (C, C) pixel counts, rows are labels and columns predictions (see `kzoo.metrics.confusion_matrix`).
        split: of the C classes.

    Returns: the scores.
    Raises: `ValueError` for a matrix of another shape.
    Reference: Xian et al., Semantic Projection Network for Zero- and Few-Label Semantic Segmentation, CVPR 2019.
    """
    counts, classes = np.array(matrix, np.float64), len(split.class_names)
    if counts.shape != (classes, classes):
        raise ValueError(
            f"Expected a confusion matrix of the split's {classes} classes, ({classes}, {classes}), received "
            f"{counts.shape}."
        )
    counts[list(split.ignored_indices)] = 0
    correct = np.diagonal(counts)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: a class that is nowhere
        iou = correct / (counts.sum(0) + counts.sum(1) - correct)
    seen, unseen = (_mean(iou[list(indices)]) for indices in (split.seen_indices, split.unseen_indices))
    harmonic = 2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0
    return ZeroShotScores(seen, unseen, harmonic, _mean(iou[list(split.seen_indices + split.unseen_indices)]))


def _mean(iou: np.ndarray) -> float:
    present = iou[~np.isnan(iou)]
    return float(present.mean()) if present.size else float("nan")
