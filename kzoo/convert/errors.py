"""The one error that a foreign checkpoint can end in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


class CheckpointError(ValueError):
    """A foreign checkpoint that cannot be read: damaged, hostile, too large, or of another kind."""


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], expected: str) -> Iterator[Path]:
    """Yields `path` as a `Path`, and lets nothing but a `CheckpointError` that names it out of the block.

    Args:
        path: the file that the block reads.
        expected: what the file should be, e.g. `"a file that torch.save wrote"`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is a directory or empty, or the block raised anything: what a damaged file makes the
            standard library and h5py raise is too much to list.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No checkpoint at {str(path)!r}; expected {expected}.")
    try:
        if path.is_dir():
            raise CheckpointError(f"it is a directory; expected {expected}. Name the file in it.")
        if path.stat().st_size == 0:
            raise CheckpointError(f"it is empty; expected {expected}. Fetch it anew.")
        yield path
    except CheckpointError as error:
        raise CheckpointError(f"Cannot read {str(path)!r}: {error}") from error.__cause__
    except OSError as error:
        raise CheckpointError(f"Cannot read {str(path)!r}: {error}. Expected {expected}.") from error
    except Exception as error:
        raise CheckpointError(
            f"Cannot read {str(path)!r}: it is damaged, or not {expected} ({type(error).__name__}: {error}). "
            "Fetch it anew and compare its SHA-256 with its publisher's."
        ) from error
