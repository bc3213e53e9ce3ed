"""Word vectors in text form, as word2vec, fastText and GloVe are distributed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SEPARATORS = re.compile(r"[\s_-]+")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a class name, in lower case: parted at spaces, hyphens and underscores."""
    return tuple(word for word in _SEPARATORS.split(name.lower()) if word)


def key_of(name: str) -> str:
    """What of a name counts when it is looked for: not spaces, hyphens, underscores or case."""
    return "".join(words_of(name)) or name


def read_vectors(path: Path, class_names: Sequence[str]) -> NDArray[np.float32]:
    """The vectors of classes from a text file with `WORD x1 ... xD` a line and perhaps `COUNT D` in front.

    The file is read once, line by line. The vector of a class is, of what the file holds, the first of

        1. the name itself: `cow`, and of spellings in other case, or with other separators such as word2vec's phrase
           `potted_plant` for "potted plant", the first in the file, which is the most frequent;
        2. the mean over the name's words, for a name of several: "potted plant" is (potted + plant) / 2;
        3. a word of the same letters: `tvmonitor` for "tv-monitor", `potted_plant` for "pottedplant".

    Args:
        path: the file, UTF-8.
        class_names: the classes.

    Returns: (C, D), in the order of the names.
    Raises: `ValueError` for words that the file does not hold, all of them named, and for a line that is no vector of
        the first one's length.
    """
    terms = {term for name in class_names for term in (name, *words_of(name))}
    by_key: dict[str, list[str]] = {}
    for term in terms:
        by_key.setdefault(key_of(term), []).append(term)
    # Of each term, how far off the best word so far is, and its vector.
    found: dict[str, tuple[int, NDArray[np.float64]]] = {}
    size = 0
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            parts = line.rstrip().split(" ", 1)
            if number == 1 and len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit():
                size = int(parts[1])
                continue
            if not line.strip():
                continue
            word, numbers = parts if len(parts) == 2 else (parts[0], "")
            size = size or numbers.count(" ") + 1
            if numbers.count(" ") + 1 != size:
                word, numbers = _with_spaces(line, size, f"Line {number} of {str(path)!r}")
            for term in by_key.get(key_of(word), ()):
                distance = 0 if word == term else 1 if words_of(word) == words_of(term) else 2
                if term not in found or distance < found[term][0]:
                    found[term] = distance, _numbers(numbers, size, f"Line {number} of {str(path)!r}")
    vectors, missing = [], []
    for name in class_names:
        distance, vector = found.get(name, (3, None))
        words = words_of(name)
        if distance > 1 and len(words) > 1 and all(word in found for word in words):
            vector = np.mean([found[word][1] for word in words], axis=0)
        if vector is None:
            lacking = [word for word in words if word not in found]
            missing.append(f"{name!r}" + (f" ({', '.join(lacking)})" if len(words) > 1 else ""))
        else:
            vectors.append(vector)
    if missing:
        raise ValueError(
            f"{str(path)!r} has no vector for {', '.join(missing)}. Write a class in words that the file holds, "
            "'tv monitor' for 'tvmonitor'; `select` finds it under either name."
        )
    return np.array(vectors, np.float32)


def _with_spaces(line: str, size: int, place: str) -> tuple[str, str]:
    """Word and numbers of a line with too many parts: GloVe has a few words with spaces in them."""
    parts = line.rstrip().rsplit(" ", size)
    word = parts[0].rsplit(" ", 1)[-1]
    try:
        float(word)
    except ValueError:
        if len(parts) == size + 1:
            return parts[0], " ".join(parts[1:])
    raise ValueError(
        f"{place} must be a word and {size} numbers, parted by single spaces, received {line[:60]!r} ... (vectors in "
        "binary form must be saved as text first)"
    )


def _numbers(text: str, size: int, place: str) -> NDArray[np.float64]:
    try:
        return np.array([float(value) for value in text.split(" ")])
    except ValueError:
        raise ValueError(f"{place} must be a word and {size} numbers, received ... {text[:60]!r} ...") from None
