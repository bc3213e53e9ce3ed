"""Word vectors of classes: word2vec, fastText, GloVe, and concatenations of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import unknown_name
from kzoo.models.zero_shot.vector_file import key_of, read_vectors

_INDEXED = re.compile(r"(\d+)(?:\s*:\s*|\s+)(.+)")


@dataclass(frozen=True, eq=False)
class ClassEmbeddings:
    """One vector a class.

    Attributes:
        class_names: the classes.
        vectors: (C, D) float32, read-only, in the order of the names.

    Raises:
        ValueError: another number or form of vectors, NaN or infinity, a vector of zeros, or two names that differ at
            most in spaces, hyphens, underscores or case.
    """

    class_names: tuple[str, ...]
    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        names, given = tuple(self.class_names), np.asarray(self.vectors)
        if given.ndim != 2 or given.dtype.kind not in "fiu" or len(given) != len(names) or not given.size:
            raise ValueError(
                f"Expected the vectors of {len(names)} classes as numbers ({len(names)}, D), one row a class, received "
                f"{given.dtype} {given.shape}."
            )
        with np.errstate(over="ignore"):  # a number too large for float32 becomes infinity, which is an error below
            vectors = given.astype(np.float32)
        keys = [key_of(name) for name in names]
        twice = [name for name, key in zip(names, keys, strict=True) if keys.count(key) > 1]
        if twice:
            raise ValueError(
                "Class names must differ in more than spaces, hyphens, underscores and case, received "
                f"{', '.join(map(repr, twice))}."
            )
        for name, vector in zip(names, vectors, strict=True):
            if not np.isfinite(vector).all() or not vector.any():
                what = "is all zeros" if np.isfinite(vector).all() else "holds NaN or infinity"
                raise ValueError(f"The vector of {name!r} {what}; take another source of vectors.")
        vectors.setflags(write=False)
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "vectors", vectors)

    @property
    def size(self) -> int:
        """Length D of the vectors."""
        return self.vectors.shape[1]

    def select(self, class_names: Iterable[str]) -> ClassEmbeddings:
        """The vectors of these classes, in this order and under these names.

        Names match that differ at most in spaces, hyphens, underscores and case: VOC's `pottedplant` finds
        `potted plant`, and `background` finds `__background__`.

        Raises: `ValueError` for a class without vector, with the near matches.
        """
        row_of = {key_of(name): row for row, name in enumerate(self.class_names)}
        names, rows = tuple(class_names), []
        for name in names:
            if key_of(name) not in row_of:
                raise unknown_name("class (it has no vector)", name, self.class_names)
            rows.append(row_of[key_of(name)])
        return ClassEmbeddings(names, self.vectors[rows])

    def normalized(self) -> ClassEmbeddings:
        """The same with every vector of norm 1."""
        exact = self.vectors.astype(np.float64)
        return ClassEmbeddings(self.class_names, exact / np.linalg.norm(exact, axis=1, keepdims=True))


def concatenate(sources: Sequence[ClassEmbeddings]) -> ClassEmbeddings:
    """The sources' vectors joined end to end, as CaGNet and SPNet join word2vec and fastText.

    Every source must have the same classes; names and order are the first one's. Nothing is normalised again.

    Raises: `ValueError` for no sources, or a class that one of them lacks.
    """
    if not sources:
        raise ValueError("Expected one source of vectors or more, received none.")
    names = sources[0].class_names
    for place, source in enumerate(sources[1:], 1):
        if {key_of(name) for name in source.class_names} != {key_of(name) for name in names}:
            raise ValueError(
                f"Sources to be concatenated must have the same classes: source 0 has {', '.join(names)}; source "
                f"{place} has {', '.join(source.class_names)}. `select` takes the same classes from each."
            )
    return ClassEmbeddings(names, np.concatenate([source.select(names).vectors for source in sources], axis=1))


def read_embeddings(
    path: str | os.PathLike[str],
    labels: str | os.PathLike[str] | Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    normalize: bool = True,
) -> ClassEmbeddings:
    """Class embeddings from a file.

    A `.npy` file is an array (C, D) whose rows `labels` names. Any other file is read as vectors in text form
    (word2vec, fastText or GloVe, with or without a header), one word a line, as a stream that keeps the words of the
    classes alone; a class of several words that the file does not hold as one is the mean over its words (see
    `kzoo.models.zero_shot.vector_file.read_vectors`).

    Args:
        path: the file.
        labels: the rows' names, or a file of them with a line `NAME`, `INDEX NAME` or `INDEX: NAME` a row. COCO-Stuff's
            entry 0, `unlabeled`, may be there without a row of its own. For a text file, the classes wanted.
        class_names: the classes wanted, in this order and under these names; all of `labels` by default. Names match
            as in `ClassEmbeddings.select`.
        normalize: give every vector norm 1.

    Returns: the embeddings.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no names, a class without vector (the message names it), rows that are not as many as labels, a
            file that is not what it should be, and what `ClassEmbeddings` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of vectors {str(path)!r}.")
    names = None if labels is None else _names(labels)
    if path.suffix == ".npy":
        if names is None:
            raise ValueError(f"{str(path)!r} holds numbers alone: give `labels`, the names of its rows.")
        found = _of_array(path, names)
        found = found if class_names is None else found.select(class_names)
    else:
        wanted = class_names if class_names is not None else names
        if wanted is None:
            raise ValueError(f"Give the classes whose vectors are wanted from {str(path)!r}, as `class_names`.")
        found = ClassEmbeddings(tuple(wanted), read_vectors(path, wanted))
    return found.normalized() if normalize else found


def _of_array(path: Path, names: list[str]) -> ClassEmbeddings:
    try:
        vectors = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"Cannot read {str(path)!r} as an array of numbers (C, D): {error}") from error
    if len(names) == len(vectors) + 1 and names[0] == "unlabeled":
        names = names[1:]
    if len(names) != len(vectors):
        raise ValueError(
            f"{str(path)!r} has {len(vectors)} rows, but there are {len(names)} labels; expected a label for each row."
        )
    return ClassEmbeddings(tuple(names), vectors)


def _names(labels: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    """The names in label order."""
    if not isinstance(labels, (str, os.PathLike)):
        return list(labels)
    path = Path(labels)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of labels {str(path)!r}.")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = [_INDEXED.fullmatch(line) for line in lines]
    if not any(found):
        return lines
    indices = [int(match[1]) if match else None for match in found]
    start = indices[0]
    if start is None or indices != list(range(start, start + len(indices))):
        raise ValueError(
            f"The lines of {str(path)!r} must be `NAME`, or all `INDEX NAME` or `INDEX: NAME` with indices that rise "
            f"by one, since they name the rows in order. Received: {lines[:3]} ..."
        )
    return [match[2] for match in found if match]
