"""Published weights, fetched into the cache once and checked each time they are used."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

from kzoo.convert.errors import CheckpointError
from kzoo.convert.zip_reader import extract_member
from kzoo.errors import FetchError
from kzoo.zoo.cache import CacheState, RemoteFile, cache_folder, cached, file_lock, mismatch, write_pin
from kzoo.zoo.download import AddressError, discard, download
from kzoo.zoo.progress import megabytes

SIZE_LIMIT = 2 << 30
"""Bytes that a file of unknown size may have."""

_log = logging.getLogger("kzoo")


def fetch(remote: RemoteFile, permit: Callable[[], None] = lambda: None) -> Path:
    """The file's path in the cache, once it is there and has its checksum; downloads it where necessary.

    The checksum is compared on every call. A file without a published one is pinned: the SHA-256 of the first download
    is written down, and every later use and download has to have it. A damaged file is fetched again. Two processes
    that want the same file download it once; a download that was cut short is resumed.

    Args:
        remote: the file.
        permit: called before a download, and raises a `FetchError` where it may not be.

    Environment:
        KZOO_HOME: the cache's folder, in place of `$KERAS_HOME/kzoo` or `~/.keras/kzoo`.
        KZOO_MIRROR: a base address, tried first with the file's name appended: http://, https://, or file:// (a shared
            disk on a closed network). A copy of somebody's cache folder is a mirror; zips lie there unpacked.
        KZOO_OFFLINE: 1 to open no connection; a file:// mirror is still read.

    Raises:
        FetchError: no address gave the file, or the cache cannot be written.
        ValueError: `KZOO_MIRROR` is no such address, or the file's pin is damaged.
    """
    try:
        state = cached(remote)
        if state.status in ("verified", "pinned"):  # without the lock: a cache that others wrote may be read-only
            return state.path
        state.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(state.path):
            state = cached(remote)  # another process may have fetched it meanwhile
            if state.status == "unpinned":
                write_pin(state.path, state.path, "a file put there by hand")
            elif state.status not in ("verified", "pinned"):
                permit()
                _fetch_from_any(remote, state)
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(
            f"The cache folder {str(cache_folder())!r} cannot be used for {remote.filename!r}: {error}. "
            "Make room or mend the permissions there, or set KZOO_HOME to another folder."
        ) from error
    return state.path


def _fetch_from_any(remote: RemoteFile, state: CacheState) -> None:
    """Fetches from the first address that gives the right file."""
    offline = os.environ.get("KZOO_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")
    if state.status == "damaged":
        _log.warning("%s is damaged: %s. It is not used.", state.path, state.detail)
    reasons: list[str] = []
    for url, member in _addresses(remote):
        if offline and not url.startswith("file:"):
            continue
        if reasons:
            _log.warning("%s. Trying the next address.", reasons[-1])
        try:
            _fetch_from(url, member, remote, state)
            return
        except (AddressError, CheckpointError) as error:
            reasons.append(f"{url}: {str(error).rstrip('.')}")
    raise FetchError(_message(remote, state, reasons, offline))


def _addresses(remote: RemoteFile) -> list[tuple[str, str | None]]:
    """The addresses in the order of trial, each with the name of the file in the zip where it gives a zip."""
    published = [(url, remote.member) for url in remote.urls]
    mirror = os.environ.get("KZOO_MIRROR")
    if not mirror:
        return published
    try:
        known = urlsplit(mirror).scheme in ("http", "https", "file")
    except ValueError:  # http://[bad
        known = False
    if not known:
        raise ValueError(
            "KZOO_MIRROR must be a base address that begins with https://HOST, http://HOST or file:// "
            f"(a folder: file:///mnt/share). Received: {mirror!r}"
        )
    return [(f"{mirror.rstrip('/')}/{quote(remote.filename)}", None), *published]


def _fetch_from(url: str, member: str | None, remote: RemoteFile, state: CacheState) -> None:
    """Fetches from one address, verifies, and only then puts the file into its place."""
    path, limit = state.path, 2 * remote.bytes if remote.bytes else SIZE_LIMIT
    plain, zipped, unpacked = (path.with_name(path.name + end) for end in (".part", ".zip.part", ".unpacked.part"))
    part = zipped if member else plain
    for anew in (False, True):
        resumed = download(url, part, limit=limit, length_needed=state.checksum is None)
        try:
            if member:
                extract_member(part, member, unpacked, max_bytes=limit)
            whole = unpacked if member else part
            if state.checksum and (wrong := mismatch(whole, state.checksum)):
                raise AddressError(wrong)
            break
        except (AddressError, CheckpointError) as error:
            discard(part)
            unpacked.unlink(missing_ok=True)
            if anew or not resumed:
                raise
            _log.warning("%s, resumed: %s; fetching it whole.", url, error)
    if state.checksum is None:
        write_pin(path, whole, url)  # first: a file in its place without its pin would look as if put there by hand
    whole.replace(path)
    for left in (plain, zipped, unpacked):
        discard(left)


def _message(remote: RemoteFile, state: CacheState, reasons: list[str], offline: bool) -> str:
    """What was tried, and what the user can do."""
    size = f", about {megabytes(remote.bytes)}" if remote.bytes else ""
    lines = [f"Could not fetch {remote.filename!r} ({remote.checksum or 'no checksum published'}{size})."]
    if offline:
        lines.append("KZOO_OFFLINE is set, so no connection was tried.")
    elif not reasons:
        lines.append("No address is known for it.")
    lines += [f"- {reason}." for reason in reasons]
    if state.status == "damaged":
        lines.append(f"The file in the cache is damaged: {state.detail}.")
    if state.checksum and not remote.checksum:
        lines.append(f"Its checksum was pinned; if another file is right now, delete '{state.path}.sha256'.")
    unpacked = f", unpack {remote.member!r} from the zip" if remote.member else ""
    lines.append(
        f"Get it by other means{unpacked} and put it at {str(state.path)!r}, or give its path as weights=PATH, or set "
        f"KZOO_MIRROR to a base address under which {remote.filename!r} lies."
    )
    return "\n".join(lines)
