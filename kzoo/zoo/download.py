"""One file from one address: resumed where it was cut short, never longer than allowed, never waiting for ever."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kzoo import __version__
from kzoo.files import atomic_write
from kzoo.zoo.progress import Progress, megabytes

STALL_SECONDS = 30.0
"""A connection that brings nothing for so long, or fewer than `STALL_BYTES` in it, is given up."""
STALL_BYTES = 1 << 16
"""2 kB a second: so slow, 240 MB would take more than a day."""
TRIES = 3
"""So many tries in a row that bring fewer than `STALL_BYTES` together, and the address is given up."""
PAUSE_SECONDS = 1.0
"""Between two tries."""

_CHUNK = 1 << 18
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_COUNT = r"\d{1,18}"  # int() refuses thousands of digits by a ValueError
# What a connection can end in. ValueError: a redirect to, or a proxy in the environment with, a malformed address.
_FAILURES = (OSError, http.client.HTTPException, ValueError)

_log = logging.getLogger("kzoo")


class AddressError(Exception):
    """An address did not give the file; the message is the reason, without the address.

    Args:
        reason: for people.
        again: another try may succeed.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True)
class _Origin:
    """What a partial file is the beginning of. `validator` is the server's ETag, or its date of the last change."""

    url: str
    validator: str | None
    total: int | None


def download(url: str, part: Path, *, limit: int, length_needed: bool) -> bool:
    """Brings what `url` gives into the file `part`; goes on with what an earlier call left there.

    A server that can continue (Range, with an ETag or Last-Modified to tell that the file is still the same) is asked
    to; any other begins anew. When a connection breaks or stalls (fewer than `STALL_BYTES` in `STALL_SECONDS`), the
    download is tried again; what has arrived stays in `part` for a later call. Proxies are taken from the environment.

    Args:
        url: http, https or file.
        part: the file to write; what it is part of is noted in `NAME.json` beside it. A symlink there is replaced,
            not followed: others may write to a shared cache.
        limit: an answer of more bytes is refused.
        length_needed: refuse an answer of which nobody could tell whether it is whole.

    Returns:
        Whether the file's beginning is from an earlier connection.

    Raises:
        AddressError: the address does not give the file.
        OSError: `part` cannot be written.
    """
    most = _size(part)
    fruitless = 0
    while True:
        try:
            return _attempt(url, part, limit, length_needed)
        except AddressError as error:
            fruitless += 1
            if _size(part) - most >= STALL_BYTES:
                most, fruitless = _size(part), 0
            if not error.again or fruitless >= TRIES:
                raise
            _log.warning("%s: %s; trying again.", url, error)
            time.sleep(PAUSE_SECONDS)


def discard(part: Path) -> None:
    """Removes a partial file and the note of what it is part of."""
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _attempt(url: str, part: Path, limit: int, length_needed: bool) -> bool:
    """One connection; as `download`."""
    origin = _read_note(part)
    offset = _size(part) if origin and origin.url == url and origin.validator else 0
    headers = {}
    if origin and offset:
        if offset == origin.total:  # it arrived whole, and what came after that was cut short
            return True
        headers = {"Range": f"bytes={offset}-", "If-Range": origin.validator or ""}
    with _open(url, headers) as response:
        if origin and offset and response.status in (206, 416):
            total = _total_of_rest(response, offset, origin)
            if total is None:
                discard(part)
                raise AddressError("the file has changed since its first part was fetched", again=True)
        elif response.status in (200, None):  # None: a file:// address
            offset = 0
            length = response.headers.get("Content-Length", "")
            total = int(length) if re.fullmatch(_COUNT, length) else None
            _check_answer(response, total, limit, length_needed)
            part.unlink(missing_ok=True)  # before the note changes: the note never tells of another file's bytes
            part.open("xb").close()
            with atomic_write(_note_of(part)) as temporary:
                temporary.write_text(json.dumps(asdict(_Origin(url, _validator(response), total))), encoding="utf-8")
        else:
            raise AddressError(f"HTTP {response.status} {response.reason}")
        _receive(response, part, offset, total, limit, url)
    return offset > 0


def _receive(response: Any, part: Path, done: int, total: int | None, limit: int, url: str) -> None:
    """Appends the body to `part`, which has `done` bytes of `total`."""
    window, before = time.monotonic(), done
    progress = Progress(part.name.removesuffix(".part"), urlsplit(url).hostname or url, done, total)
    try:
        with open(part, "ab", opener=_open_no_symlink) as file:
            while done != total:
                # Not read(): it would wait for a full chunk, and lose what it has when the connection stalls.
                try:
                    chunk = response.read1(_CHUNK if total is None else min(_CHUNK, total - done))
                except _FAILURES as error:
                    raise _broken(error) from error
                if not chunk:
                    break
                file.write(chunk)
                file.flush()  # so that a kill loses nothing of it
                done += len(chunk)
                progress.update(done)
                if done > limit:
                    break
                if time.monotonic() - window >= STALL_SECONDS:
                    if done - before < STALL_BYTES and done != total:
                        slow = f"fewer than {STALL_BYTES:,} bytes in {STALL_SECONDS:g} s"
                        raise AddressError(slow, again=True)
                    window, before = time.monotonic(), done
    finally:
        progress.close()
    if done > limit:
        discard(part)
        raise AddressError(f"more than the {megabytes(limit)} that are allowed")
    if total is not None and done != total:
        raise AddressError(f"the connection ended after {done} of {total} bytes", again=True)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and from http to http; urllib itself refuses file: and the like, but follows ftp:."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("https", urlsplit(req.full_url).scheme):
            raise urllib.error.HTTPError(newurl, code, f"redirection to {newurl!r} is not allowed", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, headers: dict[str, str]) -> Any:
    """The response, with any 2xx status or 416; takes the proxies from the environment as it is now."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": f"kzoo/{__version__}", **headers})
        return urllib.request.build_opener(_SafeRedirects).open(request, timeout=STALL_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        error.close()
        reason = " ".join(f"HTTP {error.code} {error.reason}".split())
        raise AddressError(reason, again=error.code in _TRANSIENT) from error
    except _FAILURES as error:
        raise _broken(error) from error


def _broken(error: Exception) -> AddressError:
    """The reason why a connection failed; what the network did may be over soon, a wrong name or certificate stays."""
    cause = error.reason if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, TimeoutError):
        return AddressError(f"no byte for {STALL_SECONDS:g} s", again=True)
    lost = isinstance(cause, ConnectionError) and not isinstance(cause, ConnectionRefusedError)
    again = lost or isinstance(cause, http.client.HTTPException)
    return AddressError(f"{type(cause).__name__}: {cause}".rstrip(": "), again=again)


def _check_answer(response: Any, total: int | None, limit: int, length_needed: bool) -> None:
    if response.headers.get_content_type() == "text/html":  # a login, a consent or an error page
        raise AddressError("it answers with a web page in place of the file")
    if total is not None and total > limit:
        raise AddressError(f"{megabytes(total)}, more than the {megabytes(limit)} that are allowed")
    if length_needed and total is None and not getattr(response, "chunked", False):
        raise AddressError("it does not tell the file's length, and without a checksum nobody can tell if it is whole")


def _validator(response: Any) -> str | None:
    """What If-Range takes: a strong ETag, else the date of the last change."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    date = response.headers.get("Last-Modified")
    return str(date) if date else None


def _total_of_rest(response: Any, offset: int, origin: _Origin) -> int | None:
    """The whole file's size by an answer that should be its rest from `offset` on; None if it is another file's.

    Some servers do not heed If-Range.
    """
    field = "ETag" if (origin.validator or "").startswith('"') else "Last-Modified"
    found = re.fullmatch(rf"bytes ({_COUNT})-({_COUNT})/({_COUNT})", response.headers.get("Content-Range", ""))
    if response.headers.get(field) not in (None, origin.validator) or not found:
        return None
    first, last, total = map(int, found.groups())
    return total if first == offset <= last == total - 1 and origin.total in (None, total) else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() and not part.is_symlink() else 0


def _open_no_symlink(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path) -> _Origin | None:
    try:
        return _Origin(**json.loads(_note_of(part).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
