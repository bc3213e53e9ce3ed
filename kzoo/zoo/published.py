"""Published weights: fetched, converted once, and kept converted in the cache.

Beside the fetched file `NAME.pth` the cache holds `NAME.<network>.weights.h5`, its conversion, and
`NAME.<network>.json`, which says what the conversion was made of and what its SHA-256 is. A conversion that does not
match (another checkpoint, another version of the conversion, damage) is made anew.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kzoo.convert import SOURCES, read_checkpoint, set_weights
from kzoo.files import atomic_write, digest, remove_partials
from kzoo.zoo.cache import conversion_path, file_lock, known_checksum
from kzoo.zoo.card import Source
from kzoo.zoo.fetching import fetch

if TYPE_CHECKING:
    import keras

CONVERSION = 2
"""Raised whenever a checkpoint's conversion comes to give other weights."""

_log = logging.getLogger("kzoo")


def load_published(
    model: keras.Model, name: str, source: Source, build: Callable[[], keras.Model], permit: Callable[[], None]
) -> None:
    """Sets all weights of a network, built as its card says, to the published ones.

    Args:
        model: the network.
        name: its card's.
        source: where they are published.
        build: makes the network anew: in half precision it would give a conversion that rounds every later load.
        permit: see `fetch`.

    Raises:
        FetchError: they are not in the cache and no address gives them.
        ValueError: the checkpoint does not fit the network.
    """
    converted = conversion_path(name, source.file)
    origin = _origin(source)
    note = converted.with_name(converted.name.replace(".weights.h5", ".json"))
    if origin["checksum"] is not None and _is_sound(converted, note, origin):
        load_conversion(model, converted)
        return
    if model.variable_dtype not in ("float32", "float64"):
        from kzoo.precision import dtype_policy  # Keras: not before it is needed

        with dtype_policy("float32"):
            exact = build()
        load_published(exact, name, source, build, permit)
        for weight, value in zip(model.weights, exact.weights, strict=True):
            weight.assign(value)
        return
    load_checkpoint(model, fetch(source.file, permit), source)
    origin = _origin(source)  # the first fetch of a file without a published checksum has pinned one
    try:
        converted.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(converted):
            remove_partials(converted)
            with atomic_write(converted) as temporary:
                model.save_weights(temporary)
            with atomic_write(note) as temporary:
                temporary.write_text(json.dumps({**origin, "sha256": digest(converted)}, indent=1) + "\n")
    except OSError as error:  # a cache that cannot be written to costs time, not the network
        _log.warning("The converted weights cannot be kept in %s: %s", converted.parent, error)


def _origin(source: Source) -> dict[str, object]:
    """What a conversion is made of and by."""
    return {"checksum": known_checksum(source.file), "conversion": CONVERSION, "converter": source.converter}


def load_conversion(model: keras.Model, path: Path) -> None:
    """Sets all weights from a file that `load_published` wrote, once that has compared it with its note."""
    model.load_weights(path)


def load_checkpoint(model: keras.Model, path: Path, source: Source) -> None:
    """Sets all weights of a network from a checkpoint of the source's layout.

    Raises:
        FileNotFoundError, ValueError: no such file, no checkpoint, or one that does not fit.
    """
    limit = None if source.file.bytes is None else 2 * source.file.bytes
    set_weights(model, read_checkpoint(path, max_bytes=limit), SOURCES[source.converter], str(path))


def _is_sound(converted: Path, note: Path, origin: dict[str, object]) -> bool:
    """Whether a conversion is there, of this origin and undamaged."""
    try:
        known = json.loads(note.read_text())
        return {**origin, "sha256": digest(converted)} == known
    except (OSError, ValueError):
        return False
