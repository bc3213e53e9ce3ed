"""From a name to a network: the card's architecture, with the card's weights, others, or none.

Keras is imported when a network is built, so that the registry stays quick.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.errors import unknown_name
from kzoo.zoo.card import Card, Weights
from kzoo.zoo.registry import get_card, is_model, list_models

if TYPE_CHECKING:
    from kzoo.models import Segmenter

WEIGHTS = Path(__file__).parent / "weights"

_log = logging.getLogger("kzoo")


def load(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = "default",
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    **model_args: Any,
) -> Segmenter:
    """A network of the zoo, with its weights.

    Args:
        name: a name of `kzoo.list_models()`.
        weights: `"default"`, the file that the card ships (its SHA-256 is checked each time); None, a fresh network;
            or the path of a `.weights.h5` file of this architecture.
        num_classes: another number of classes than the card's. Every weight that does not depend on it is kept; the
            layers that are fresh are logged as a warning and listed in `model.fresh_layers`.
        input_shape: (height, width, 3) that the network is going to be used at, kept as `model.input_shape` with the
            batch's None in front; None is any size.
        **model_args: arguments of the architecture in place of the card's, e.g. `output_stride=8`.

    Returns:
        The network, with `card`, `fresh_layers` (names; empty where all weights came from the file) and, if the
        number of classes is the card's, its `class_names` and `palette`.

    Raises:
        ValueError: an unknown name or argument, a file that does not fit or is damaged, no shipped weights, or a
            wrong class count or shape.
        FileNotFoundError: no such weights file.

    Example:
        >>> model = kzoo.load("encnet_mnv2_camvid", num_classes=5)
        >>> model.compile(optimizer="sgd")
        >>> model.fit(dataset)
    """
    card = get_card(name)
    shape = _checked_input_shape(input_shape)
    classes = card.num_classes if num_classes is None else _checked_class_count(num_classes)
    if weights == "default":
        if card.weights is None:
            pretrained = ", ".join(list_models(pretrained=True)) or "none"
            raise ValueError(
                f"{name!r} has no shipped weights. Pass weights=None for a fresh network or weights='FILE.weights.h5'. "
                f"Models with weights: {pretrained}."
            )
        path: Path | None = _verified(card, card.weights)
    else:
        path = None if weights is None else Path(weights)
    from kzoo.models import create_model

    model = create_model(card.architecture.name, classes, {**card.architecture.args, **model_args})
    fresh: tuple[str, ...] = ()
    if path is not None:
        fresh = _load_keeping_body(model, path, card.num_classes)
    if fresh:
        _log.warning(
            "%s with %d classes in place of %d: fresh, to be trained: %s. All other weights are kept.",
            name,
            classes,
            card.num_classes,
            ", ".join(fresh),
        )
    if classes == card.num_classes:
        model.class_names, model.palette = card.class_names, card.palette
    model.card, model.fresh_layers, model.input_shape = card, fresh, (None, *shape)
    return model


def open_model(name_or_run: str | os.PathLike[str]) -> Segmenter:
    """A trained network: a model of the zoo by its name, or a run folder of `kzoo train`, its best weights first.

    Raises:
        ValueError: neither a model nor a folder (with the near matches), or its files do not fit.
        FileNotFoundError: the folder is no run folder, or has no weights yet.
    """
    folder = Path(name_or_run)
    if is_model(str(name_or_run)):
        return load(str(name_or_run))
    if not folder.is_dir():
        how = "`kzoo list` shows all models; a run folder of `kzoo train` is taken too."
        raise unknown_name("model or run folder", str(name_or_run), list_models(), how)
    from kzoo.models import create_model
    from kzoo.training import run_folder
    from kzoo.training.config import load_config
    from kzoo.zoo.weights_io import load_weights

    info = run_folder.read_info(folder)
    weights = [folder / file for file in (run_folder.BEST_WEIGHTS, run_folder.LAST_WEIGHTS)]
    present = [path for path in weights if path.is_file()]
    if not present:
        raise FileNotFoundError(
            f"The run {str(folder)!r} has no weights yet: neither {' nor '.join(path.name for path in weights)}."
        )
    config = load_config(folder / run_folder.CONFIG)
    args = {"ignore_label": info.ignore_label, **config.model.args}
    model = create_model(config.model.name, len(info.class_names), args)
    load_weights(model, present[0])
    model.class_names, model.palette = info.class_names, info.palette
    return model


def _load_keeping_body(model: Segmenter, path: Path, card_classes: int) -> tuple[str, ...]:
    """Loads `path`; weights may stay fresh only where the file has the card's class count and the model its own."""
    from kzoo.zoo.weights_io import load_weights

    def differs_by_classes(in_file: tuple[int, ...], in_model: tuple[int, ...]) -> bool:
        return len(in_file) == len(in_model) and all(
            have == want or (have == card_classes and want == model.num_classes)
            for have, want in zip(in_file, in_model, strict=True)
        )

    return load_weights(model, path, differs_by_classes if model.num_classes != card_classes else None)


def _verified(card: Card, weights: Weights) -> Path:
    from kzoo.zoo.weights_io import sha256

    path = WEIGHTS / weights.file
    if not path.is_file():
        raise FileNotFoundError(f"The weights of {card.name!r} are not there: {str(path)!r}. Install kzoo again.")
    found = sha256(path)
    if found != weights.sha256:
        raise ValueError(
            f"The weights file {str(path)!r} of {card.name!r} is damaged or not the card's: its SHA-256 is {found}, "
            f"expected {weights.sha256}; {path.stat().st_size} bytes, expected {weights.bytes}. Install kzoo again."
        )
    return path


def _checked_class_count(num_classes: Any) -> int:
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes must be a positive integer. Received: num_classes={num_classes!r}")
    return num_classes


def _checked_input_shape(shape: Any) -> tuple[int | None, int | None, int]:
    if not isinstance(shape, tuple | list) or len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"input_shape must be (height, width, 3), RGB last. Received: input_shape={shape!r}")
    for side in shape[:2]:
        if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 16):
            raise ValueError(
                f"input_shape must be (height, width, 3), height and width at least 16 pixels or None for any size. "
                f"Received: input_shape={shape!r}"
            )
    return tuple(shape)
