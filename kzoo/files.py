"""Writing files so that nothing half-written is ever left in their place, and their checksums."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it into place when the block succeeds.

    The temporary file keeps `path`'s suffixes, because Keras, h5py and NumPy choose their format by them. If the
    block raises, the temporary file is removed and `path` stays as it was. Parent folders are created. A kill leaves
    the temporary file: see `remove_partials`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".partial-", suffix="-" + path.name, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; what we publish gets the permissions a plain open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partials(path: str | os.PathLike[str]) -> None:
    """Removes what killed processes left of their `atomic_write`s to `path`; call it where no other process writes."""
    path = Path(path)
    for partial in path.parent.glob(f".partial-*-{glob.escape(path.name)}"):
        partial.unlink(missing_ok=True)


def digest(path: str | os.PathLike[str], algorithm: str = "sha256") -> str:
    """A file's checksum (`"sha1"`, `"sha256"`) in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
