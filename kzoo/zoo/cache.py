"""The cache of fetched weights: where a file lies, and whether it is what was published.

The folder is `KZOO_HOME`, else `$KERAS_HOME/kzoo`, else `~/.keras/kzoo`. Beside a file `NAME` there may be its pin
`NAME.sha256` (see `write_pin`), the beginning of a download to be resumed, `NAME.part` or `NAME.zip.part`, each with
its `.json`, and `.NAME.lock`. Nothing here opens a connection.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

from kzoo.files import atomic_write, digest

_CHECKSUM = re.compile(r"(sha1:[0-9a-f]{8,40}|sha256:[0-9a-f]{8,64})")
_PIN = re.compile(r"(?:# (?P<origin>.+)\n)?(?P<digits>[0-9a-f]{64}) [ *].+\n?")
_LOCK_POLL_SECONDS = 0.1

_log = logging.getLogger("kzoo")


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        filename: its name in the cache.
        urls: http(s) addresses, in the order in which they are tried; empty where it can only be had by hand.
        checksum: `sha1:` or `sha256:` and the hex digits, all or the first 8 or more of them; None where none is
            published: then the first fetch pins it.
        bytes: about how many it has; more than twice that is refused.
        member: None where the addresses give the file itself; where they give a zip, the name of the file inside it.
            Name, checksum and bytes are the member's.
    """

    filename: str
    urls: tuple[str, ...] = ()
    checksum: str | None = None
    bytes: int | None = None
    member: str | None = None

    def __post_init__(self) -> None:
        for field, name in (("filename", self.filename), ("member", self.member)):
            if name is not None and (not name.strip(". ") or re.search(r'[\\/:*?"<>|\0-\x1f]', name)):
                raise ValueError(f"{field}: expected a plain file name, without folders; got {name!r}.")
        for url in self.urls:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"urls: expected http:// or https:// addresses, got {url!r}.")
        if self.checksum is not None and not _CHECKSUM.fullmatch(self.checksum):
            raise ValueError(
                "checksum: expected `sha1:` or `sha256:` and the hex digits in small letters, at least the first 8; "
                f"got {self.checksum!r}."
            )
        if self.bytes is not None and self.bytes < 1:
            raise ValueError(f"bytes: expected a positive number or none, got {self.bytes!r}.")


@dataclass(frozen=True)
class CacheState:
    """What is known of a file in the cache.

    Attributes:
        path: where it lies, or would lie.
        bytes: its size; None where it is absent.
        status: `"absent"`; `"verified"`, it has the published checksum; `"pinned"`, none is published and it has the
            one written down earlier; `"unpinned"`, it was put there by hand and there is nothing to compare it with;
            `"damaged"`, it has another checksum.
        detail: the same as a phrase, with the figures.
        checksum: what a file has to have to be taken, as in `RemoteFile`; None where nothing is known.
    """

    path: Path
    bytes: int | None
    status: Literal["absent", "verified", "pinned", "unpinned", "damaged"]
    detail: str
    checksum: str | None


def cache_folder() -> Path:
    """The folder of the cache; need not exist yet."""
    if home := os.environ.get("KZOO_HOME"):
        return Path(home).expanduser()
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "kzoo"


def cached(remote: RemoteFile) -> CacheState:
    """What the cache knows of a file. Reads the whole file (0.3 s for 240 MB), writes nothing.

    Raises:
        ValueError: its pin is no pin.
        OSError: it cannot be read.
    """
    path = cache_folder() / remote.filename
    checksum, origin = _checksum(remote)
    if not path.is_file():
        return CacheState(path, None, "absent", "not in the cache", checksum)
    size = path.stat().st_size
    if checksum is None:
        return CacheState(path, size, "unpinned", f"{origin}, none pinned yet", None)
    if wrong := mismatch(path, checksum):
        return CacheState(path, size, "damaged", f"{wrong} ({origin})", checksum)
    return CacheState(path, size, "verified" if remote.checksum else "pinned", f"{checksum} ({origin})", checksum)


def known_checksum(remote: RemoteFile) -> str | None:
    """The file's published checksum, or the pinned one, or None; `ValueError` if the pin is none."""
    return _checksum(remote)[0]


def _checksum(remote: RemoteFile) -> tuple[str | None, str]:
    """The checksum that the file has to have, and where it is known from."""
    if remote.checksum is not None:
        return remote.checksum, "as published"
    return _read_pin(cache_folder() / remote.filename) or (None, "no checksum is published")


def conversion_path(name: str, remote: RemoteFile) -> Path:
    """Where the file is kept converted into the network `name`; see `kzoo.zoo.published`."""
    return cache_folder() / f"{Path(remote.filename).stem}.{name}.weights.h5"


def mismatch(path: Path, checksum: str) -> str | None:
    """None if the file has the checksum (`sha1:...` or `sha256:...`), else a phrase that gives both."""
    algorithm, _, expected = checksum.partition(":")
    found = digest(path, algorithm)
    if found.startswith(expected):
        return None
    return f"its {algorithm} is {found}, expected {expected}; {path.stat().st_size} bytes"


def write_pin(path: Path, content: Path, source: str) -> None:
    """Writes the SHA-256 of `content` down as what `path` has to have from now on, and where it came from.

    For files without a published checksum. The pin, `NAME.sha256`, outlives the file: a later download has to be the
    same. `sha256sum -c` reads it too.
    """
    with atomic_write(_pin_of(path)) as temporary:
        text = f"# pinned on {datetime.date.today()} from {source}\n{digest(content)}  {path.name}\n"
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds `path` against other processes and threads that write it too; waits for them, and says so.

    The system ends a lock with its process, so that one that was killed blocks nobody. The lock file stays: if it were
    removed, two processes could lock two files of one name.
    """
    with path.with_name(f".{path.name}.lock").open("ab") as file:
        if not _try_lock(file):
            _log.warning("Waiting for another process that is writing %s.", path.name)
            while not _try_lock(file):
                time.sleep(_LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            _unlock(file)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


def _pin_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _read_pin(path: Path) -> tuple[str, str] | None:
    """The pinned checksum of a file and how it came to be pinned; a line of `sha256sum` is a pin too."""
    pin = _pin_of(path)
    if not pin.is_file():
        return None
    found = _PIN.fullmatch(pin.read_text(encoding="utf-8", errors="replace"))
    if not found:
        raise ValueError(f"{str(pin)!r} is no checksum of {path.name!r}. Delete it to pin the file anew.")
    return f"sha256:{found['digits']}", found["origin"] or f"given in {pin.name}"
