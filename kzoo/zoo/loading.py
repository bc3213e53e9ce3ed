"""From a name to a network: the card's architecture, with the card's weights, others, or none.

Keras is imported when a network is built, so that the registry stays quick.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from kzoo.errors import FetchError, unknown_name
from kzoo.files import digest
from kzoo.zoo.card import Card, Weights
from kzoo.zoo.registry import get_card, is_model, list_models

if TYPE_CHECKING:
    from kzoo.models import Segmenter

WEIGHTS = Path(__file__).parent / "weights"

ACCEPT_VARIABLE = "KZOO_ACCEPT_LICENSE"
_REFINEMENT_ARGS = ("refine", "refine_args")

_log = logging.getLogger("kzoo")


def load(
    name: str,
    *,
    weights: str | os.PathLike[str] | None = "default",
    num_classes: int | None = None,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    accept_license: str | None = None,
    **model_args: Any,
) -> Segmenter:
    """A network of the zoo, with its weights.

    Args:
        name: a name of `kzoo.list_models()`.
        weights: `"default"`, the card's: a shipped file (its SHA-256 is checked each time), or a published one, which
            is fetched and converted once (see `kzoo.zoo.published`); None, a fresh network; or the path of a
            `.weights.h5` file of this architecture or of a checkpoint of the card's source.
        num_classes: another number of classes than the card's. Every weight that does not depend on it is kept; the
            layers that are fresh are logged as a warning and listed in `model.fresh_layers`. A zero-shot network needs
            `unseen=(...)` with it, the unseen ones of these classes, and then `set_embeddings`.
        input_shape: (height, width, 3) that the network is going to be used at, kept as `model.input_shape` with the
            batch's None in front; None is any size.
        accept_license: the terms of weights that are only fetched for those who accept them, as their card names them
            (`"non-commercial"`, or `"unlicensed"` where the authors state no licence); so does the environment variable
            `KZOO_ACCEPT_LICENSE`, which can name several, separated by commas.
        **model_args: arguments of the architecture in place of the card's, e.g. `output_stride=8`, with which the
            weights still fit. Of a published network the auxiliary head may be left out: `aux=False`. `refine` and
            `refine_args` put a CRF behind the network, or another, or take it off (`refine=None`); one with weights
            is fresh unless the file has them.

    Returns:
        The network, with `card`, `fresh_layers` (names; empty where all weights came from the file) and, if the
        number of classes is the card's, its `class_names` and `palette`.

    Raises:
        ValueError: an unknown name or argument, a file that does not fit or is damaged, no weights, or a wrong class
            count or shape.
        FileNotFoundError: no such weights file.
        FetchError: published weights are not in the cache, and no address gives them, or their terms are not accepted.

    Example:
        >>> model = kzoo.load("encnet_mnv2_camvid", num_classes=5)
        >>> model.compile(optimizer="sgd")
        >>> model.fit(dataset)
    """
    card = get_card(name)
    shape = _checked_input_shape(input_shape)
    classes = card.num_classes if num_classes is None else _checked_class_count(num_classes)
    if weights == "default" and not card.pretrained:
        pretrained = ", ".join(list_models(pretrained=True)) or "none"
        raise ValueError(
            f"{name!r} has no weights. Pass weights=None for a fresh network or weights='FILE.weights.h5'. "
            f"Models with weights: {pretrained}."
        )
    from kzoo.models import create_model

    args = {**card.architecture.args_under(model_args), **model_args}
    if classes != card.num_classes:
        args = _without_split(card, classes, args, model_args)
    build = functools.partial(create_model, card.architecture.name, classes, args)
    fresh: tuple[str, ...] = ()
    if weights is None:
        model = build()
    elif weights == "default" and card.weights is not None:
        path = _verified(card, card.weights)
        model = build()
        fresh = _load_keeping_body(model, path, card.num_classes)
    elif str(weights).endswith(".weights.h5"):
        model = build()
        fresh = _load_keeping_body(model, Path(weights), card.num_classes)
    else:
        checkpoint = None if weights == "default" else Path(weights)
        model, fresh = _from_checkpoint(card, checkpoint, classes, args, accept_license)
    if fresh:
        other = "" if classes == card.num_classes else f" with {classes} classes in place of {card.num_classes}"
        _log.warning("%s%s: fresh, to be trained: %s. All other weights are kept.", name, other, ", ".join(fresh))
    if classes == card.num_classes:
        model.class_names, model.palette = card.class_names, card.palette
        model.trained_size = None if weights is None else card.input_size
    model.card, model.fresh_layers, model.input_shape = card, fresh, (None, *shape)
    return model


def open_model(name_or_run: str | os.PathLike[str]) -> Segmenter:
    """A trained network: a model of the zoo by its name, a run folder of `kzoo train`, its best weights first, or a
    `.keras` file that `model.save` wrote.

    Raises:
        ValueError: none of these (with the near matches), or its files do not fit.
        FileNotFoundError: no such file; the folder is no run folder, or has no weights yet.
    """
    folder = Path(name_or_run)
    if folder.suffix == ".keras":
        return _open_keras(folder)
    if is_model(str(name_or_run)):
        return load(str(name_or_run))
    if not folder.is_dir():
        if folder.is_file() or folder.suffix in (".pth", ".pt", ".caffemodel"):
            raise ValueError(
                f"{str(name_or_run)!r} does not say which network its weights are of. Convert a checkpoint by "
                "`kzoo convert FILE.pth --to NAME -o FILE.weights.h5`, with a NAME of `kzoo list`; a recipe then "
                "starts from it by `init: FILE.weights.h5`, and kzoo.load(NAME, weights='FILE.weights.h5') opens it."
            )
        how = "`kzoo list` shows all models; a run folder of `kzoo train` or a .keras file is taken too."
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
    model.trained_size = config.data.crop
    return model


def _from_checkpoint(
    card: Card, path: Path | None, classes: int, args: dict[str, Any], accepted: str | None
) -> tuple[Segmenter, tuple[str, ...]]:
    """A network with a checkpoint's weights (None: the published one's), and the layers that are fresh."""
    from kzoo.convert import SOURCES, kept_layers
    from kzoo.models import create_model
    from kzoo.zoo.published import load_checkpoint, load_published

    if card.source is None:
        raise ValueError(
            f"Weights of {card.name!r} are read from `.weights.h5` files; its card names no other source. "
            f"Received: weights={str(path)!r}"
        )
    model = create_model(card.architecture.name, classes, args)
    # What is published, and kept converted, is the card's own network; a file of the user's may be of the arguments.
    card_args = card.architecture.args
    stored_args = card_args
    if path is not None:  # a refinement's weights are in the checkpoints only where the card has one
        stored_args = _without_refinement(args) | {key: card_args[key] for key in _REFINEMENT_ARGS if key in card_args}
    build = functools.partial(create_model, card.architecture.name, card.num_classes, stored_args)
    same = (classes, _of_weights(args)) == (card.num_classes, _of_weights(stored_args))
    stored = model if same else build()
    if path is None:
        load_published(stored, card.name, card.source, build, functools.partial(_check_accepted, card, accepted))
    else:
        load_checkpoint(stored, path, card.source)
    kept = kept_layers(stored, SOURCES[card.source.converter])
    return model, kept if same else tuple(sorted({*kept, *_copy_body(stored, model, card.name)}))


def _check_accepted(card: Card, accepted: str | None) -> None:
    """Raises FetchError if the card's weights are fetched only under terms that are not accepted."""
    terms = card.licence.accept
    by_variable = [term.strip() for term in os.environ.get(ACCEPT_VARIABLE, "").split(",")]
    if terms is None or terms in (accepted, *by_variable):
        return
    received = "" if accepted is None else f" Received: accept_license={accepted!r}"
    raise FetchError(
        f"The weights of {card.name!r} are not fetched before you accept their terms, {terms!r}: "
        f"{card.licence.weights}. To accept: kzoo.load({card.name!r}, accept_license={terms!r}), or set "
        f"{ACCEPT_VARIABLE}={terms}. A file that you have already is taken as weights=PATH.{received}"
    )


def _load_keeping_body(model: Segmenter, path: Path, card_classes: int) -> tuple[str, ...]:
    """Loads `path`; weights may stay fresh only where the file has the card's class count and the model its own."""
    from kzoo.zoo.weights_io import load_weights

    def differs_by_classes(layer: str, in_file: tuple[int, ...], in_model: tuple[int, ...]) -> bool:
        return _differ_by_classes(layer, in_file, in_model, card_classes, model.num_classes)

    return load_weights(model, path, differs_by_classes if model.num_classes != card_classes else None, in_refinement)


def _open_keras(path: Path) -> Segmenter:
    """A saved network of kzoo's. Keras' safe mode, which is its default, builds it from registered classes alone."""
    import keras

    from kzoo.models import Segmenter

    if not path.is_file():
        raise FileNotFoundError(f"No file {str(path)!r}.")
    try:
        model = keras.saving.load_model(path)
    except Exception as error:  # Keras has no error of its own for a damaged or foreign archive
        raise ValueError(
            f"{str(path)!r} is damaged, or not what model.save() of a kzoo network wrote "
            f"({type(error).__name__}: {str(error)[:300]})."
        ) from error
    if not isinstance(model, Segmenter):
        raise ValueError(f"{str(path)!r} holds a {type(model).__name__}; expected a segmentation network of kzoo.")
    return model


def start_from(model: Segmenter, init: str) -> tuple[str, ...]:
    """Sets a network's weights to another's, all but those of the layers that depend on the number of classes.

    Args:
        model: of the same architecture; its number of classes may differ, or its classes, or its refinement.
        init: a name of the zoo, a run folder, a `.keras` or a `.weights.h5` file. A zero-shot network takes backbone
            and head from a network of another architecture, too.

    Returns: the names of the layers that stay fresh, which are logged too; none where the class counts are equal, but
        for a refinement that the other network does not have.
    Raises: `ValueError` if there is no such network, or it has another architecture.
    """
    if init.endswith(".weights.h5"):
        from kzoo.zoo.weights_io import load_weights

        def differs_by_classes(layer: str, in_file: tuple[int, ...], in_model: tuple[int, ...]) -> bool:
            return _differ_by_classes(layer, in_file, in_model, None, model.num_classes)

        fresh = load_weights(model, init, differs_by_classes, in_refinement)
    else:
        source = open_model(init)
        fresh = _copy_body(source, model, init, model.taken_from(source))
    if fresh:
        _log.info("starting from %s; fresh: %s", init, ", ".join(fresh))
    return fresh


def _copy_body(source: Segmenter, target: Segmenter, name: str, taken: Sequence[Any] | None = None) -> tuple[str, ...]:
    """Copies the weights that do not depend on the number of classes; returns the names of the other layers.

    `taken` are the weights of `target` that are set, by default all; the others stay fresh. An auxiliary head of
    `source` is not needed. A refinement of `target` stays fresh where `source` has none that fits.
    """
    from kzoo.convert.key_map import in_aux_head

    theirs, everything = ({w.path.removeprefix(f"{m.name}/"): w for w in m.weights} for m in (source, target))
    ours = everything
    if taken is not None and len(taken) < len(everything):
        wanted = {id(weight) for weight in taken}
        ours = {path: weight for path, weight in everything.items() if id(weight) in wanted}
        theirs = {path: weight for path, weight in theirs.items() if path in ours}
    problems = [f"it has no {path}" for path in ours if path not in theirs and not in_refinement(path)]
    problems += [
        f"it has {path} too"
        for path in theirs
        if path not in ours and not in_aux_head(path) and not in_refinement(path)
    ]
    problems += [
        f"its {path} has shape {tuple(theirs[path].shape)}, expected {tuple(weight.shape)}"
        for path, weight in ours.items()
        if path in theirs
        and not in_refinement(path)
        and tuple(weight.shape) != tuple(theirs[path].shape)
        and not _differ_by_classes(
            path.rpartition("/")[0], theirs[path].shape, weight.shape, source.num_classes, target.num_classes
        )
    ]
    if problems:
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ValueError(
            f"{name!r} has another architecture than this network: {'; '.join(problems[:4])}{more}. Expected the same "
            "backbone, heads and arguments."
        )
    fresh = []
    for path, weight in everything.items():
        if path in theirs and weight.shape == theirs[path].shape:
            weight.assign(theirs[path])
        else:
            fresh.append(path.rpartition("/")[0] or path)
    return tuple(sorted(set(fresh)))


def _differ_by_classes(layer: str, theirs: Sequence[int], ours: Sequence[int], before: int | None, after: int) -> bool:
    """Whether two shapes differ by the number of classes alone; `before` None is any.

    Classes are the last axis of the weights that depend on them, the last two in layers from classes to classes, and
    the first of the class embeddings, which are in no layer.
    """
    if not theirs:
        return False
    if not layer:
        return before in (None, theirs[0]) and tuple(ours) == (after, *theirs[1:])
    before = theirs[-1] if before is None else before
    return any(
        tuple(theirs[-axes:]) == (before,) * axes and tuple(ours) == (*theirs[:-axes], *(after,) * axes)
        for axes in (1, 2)
    )


def in_refinement(path: str) -> bool:
    """Whether a layer or weight is the refinement's, which any network may have or not."""
    return path.partition("/")[0] == "refinement"


def _without_refinement(args: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in args.items() if key not in _REFINEMENT_ARGS}


def _of_weights(args: dict[str, Any]) -> dict[str, Any]:
    """The arguments that decide which weights there are."""
    return _without_refinement(args) if args.get("refine") in (None, "dense") else args


def _verified(card: Card, weights: Weights) -> Path:
    path = WEIGHTS / weights.file
    if not path.is_file():
        raise FileNotFoundError(f"The weights of {card.name!r} are not there: {str(path)!r}. Install kzoo again.")
    found = digest(path)
    if found != weights.sha256:
        raise ValueError(
            f"The weights file {str(path)!r} of {card.name!r} is damaged or not the card's: its SHA-256 is {found}, "
            f"expected {weights.sha256}; {path.stat().st_size} bytes, expected {weights.bytes}. Install kzoo again."
        )
    return path


def _without_split(card: Card, classes: int, args: dict[str, Any], model_args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for other classes than the card's, whose unseen and ignored ones they have nothing to do with."""
    if "unseen" in args and "unseen" not in model_args:
        raise ValueError(
            f"{card.name!r} is a zero-shot network: which of its {card.num_classes} classes are unseen says nothing of "
            f"{classes} others. Pass unseen=(...), the labels of yours that no pixel of training has."
        )
    return {key: value for key, value in args.items() if key != "ignored" or key in model_args}


def _checked_class_count(num_classes: Any) -> int:
    if isinstance(num_classes, bool) or not isinstance(num_classes, SupportsIndex) or num_classes.__index__() < 1:
        raise ValueError(f"num_classes must be a positive integer. Received: num_classes={num_classes!r}")
    return num_classes.__index__()


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
