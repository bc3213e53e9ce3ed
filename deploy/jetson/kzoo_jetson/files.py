"""Checksums, and files that are either whole or not there."""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import Iterator


def sha256_of(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a name beside `path` for a file or folder; it becomes `path` if the block succeeds, and is removed if not.

    The name keeps the suffix, by which OpenCV and Pillow choose the format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        os.replace(str(partial), str(path))
    finally:
        if partial.is_dir():
            shutil.rmtree(str(partial))
        elif partial.exists():
            partial.unlink()
