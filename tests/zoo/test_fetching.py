"""Fetching into the cache: mirrors, checksums, pins, zips, kills, two processes, and what the user is told."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kzoo.errors import FetchError
from kzoo.zoo import fetching
from kzoo.zoo.cache import RemoteFile, cached
from kzoo.zoo.fetching import fetch

BODY = random.Random(0).randbytes(300_000)
SHA1 = hashlib.sha1(BODY).hexdigest()
CHECKSUM = f"sha1:{SHA1}"
NAME = f"net-{SHA1[:8]}.pth"
LOCK = f".{NAME}.lock"


def remote(*urls: str, **changes: Any) -> RemoteFile:
    return RemoteFile(**{"filename": NAME, "urls": urls, "checksum": CHECKSUM, "bytes": len(BODY), **changes})


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def start(file: RemoteFile) -> subprocess.Popen[str]:
    """Another process that fetches the file and prints its path."""
    code = f"from kzoo.zoo.fetching import fetch; from kzoo.zoo.cache import RemoteFile; print(fetch({file!r}))"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise TimeoutError


def test_fetched_once_and_kept(server: Any, home: Path) -> None:
    file = remote(server.serve("/a.pth", BODY))
    assert fetch(file) == home / NAME
    assert (home / NAME).read_bytes() == BODY
    assert names(home) == [LOCK, NAME]
    assert fetch(file) == home / NAME
    assert len(server.requests) == 1
    assert cached(file).status == "verified"


def test_damaged_cached_file_is_replaced_or_refused(
    server: Any, home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    damaged = bytearray(BODY)
    damaged[150_000] ^= 1
    (home / NAME).write_bytes(damaged)
    facts = f"its sha1 is {hashlib.sha1(damaged).hexdigest()}, expected {SHA1}; 300000 bytes (as published)"
    file = remote(server.serve("/a.pth", BODY))
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    with pytest.raises(FetchError) as error:
        fetch(file)
    assert f"The file in the cache is damaged: {facts}." in str(error.value)
    assert (home / NAME).read_bytes() == damaged  # somebody may want it
    monkeypatch.setenv("KZOO_OFFLINE", "0")
    fetch(file)
    assert (home / NAME).read_bytes() == BODY
    assert f"{home / NAME} is damaged: {facts}. It is not used." in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"body": BODY[:-1] + b"\0"},
        {"body": BODY[:200_000]},
        {"status": 403},
        {"status": 302, "headers": {"Location": "http://[::"}},
    ],
)
def test_next_address_where_one_fails(
    server: Any, home: Path, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bad = server.serve("/bad.pth", **{"body": BODY, **changes})
    fetch(remote(bad, server.serve("/good.pth", BODY)))
    assert (home / NAME).read_bytes() == BODY
    assert names(home) == [LOCK, NAME]
    assert server.asked() == ["/bad.pth", "/good.pth"]
    assert caplog.text.count("Trying the next address.") == 1
    assert f"{bad}: " in caplog.text


def test_error_tells_everything(server: Any, home: Path) -> None:
    forbidden = server.serve("/forbidden.zip", b"", status=403)
    gone = server.serve("/gone.zip", b"", status=404)
    wrong = server.serve("/wrong.zip", zipped((NAME, b"other")))
    with pytest.raises(FetchError) as error:
        fetch(remote(forbidden, gone, wrong, member=NAME))
    assert str(error.value).splitlines() == [
        f"Could not fetch '{NAME}' ({CHECKSUM}, about 0.3 MB).",
        f"- {forbidden}: HTTP 403 Forbidden.",
        f"- {gone}: HTTP 404 Not Found.",
        f"- {wrong}: its sha1 is {hashlib.sha1(b'other').hexdigest()}, expected {SHA1}; 5 bytes.",
        f"Get it by other means, unpack '{NAME}' from the zip and put it at '{home / NAME}', or give its path as "
        f"weights=PATH, or set KZOO_MIRROR to a base address under which '{NAME}' lies.",
    ]
    assert names(home) == [LOCK]
    with pytest.raises(
        FetchError, match=r"'b' \(no checksum published\).\nNo address is known for it.\nGet it by other"
    ):
        fetch(RemoteFile("b"))


def test_mirror_comes_first(server: Any, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    published = server.serve("/a.zip", zipped((NAME, BODY)))
    file = remote(published, member=NAME)
    monkeypatch.setenv("KZOO_MIRROR", f"{server.url}/mirror/")
    fetch(file)
    assert server.asked() == [f"/mirror/{NAME}", "/a.zip"]  # no mirror of this file
    server.serve(f"/mirror/{NAME}", BODY)
    (home / NAME).unlink()
    fetch(file)  # as it is, not in a zip
    assert server.asked()[2:] == [f"/mirror/{NAME}"]
    (home / NAME).rename(tmp_path / NAME)
    monkeypatch.setenv("KZOO_MIRROR", tmp_path.as_uri())
    monkeypatch.setenv("KZOO_OFFLINE", "1")  # a folder is no connection
    fetch(file)
    assert len(server.requests) == 3
    assert (home / NAME).read_bytes() == BODY
    (home / NAME).unlink()
    monkeypatch.setenv("KZOO_MIRROR", "/mnt/share")
    with pytest.raises(ValueError, match=r"KZOO_MIRROR must be a base address .* Received: '/mnt/share'"):
        fetch(file)
    monkeypatch.setenv("KZOO_MIRROR", "http://[bad")
    with pytest.raises(ValueError, match=r"KZOO_MIRROR must be a base address .* Received: 'http://\[bad'"):
        fetch(file)


def test_offline(server: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = remote(server.serve("/a.pth", BODY))
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    with pytest.raises(FetchError, match=r"\nKZOO_OFFLINE is set, so no connection was tried.\nGet it by other means"):
        fetch(file)
    assert server.requests == []
    (home / NAME).write_bytes(BODY)
    assert fetch(file) == home / NAME


def test_file_without_checksum_is_pinned(server: Any, home: Path) -> None:
    file = remote(server.serve("/a.pth", BODY), checksum=None)
    fetch(file)
    origin = f"pinned on {datetime.date.today()} from {server.url}/a.pth"
    digest = hashlib.sha256(BODY).hexdigest()
    assert (home / f"{NAME}.sha256").read_text() == f"# {origin}\n{digest}  {NAME}\n"
    assert cached(file).status == "pinned"
    fetch(file)
    assert len(server.requests) == 1
    # Damaged or gone, it is fetched again, but only the same file is taken.
    (home / NAME).write_bytes(b"damaged")
    fetch(file)
    assert (home / NAME).read_bytes() == BODY
    (home / NAME).unlink()
    server.replies.clear()
    server.serve("/a.pth", BODY[::-1])
    with pytest.raises(FetchError) as error:
        fetch(file)
    assert f"its sha256 is {hashlib.sha256(BODY[::-1]).hexdigest()}, expected {digest}; 300000 bytes." in str(
        error.value
    )
    assert f"Its checksum was pinned; if another file is right now, delete '{home / NAME}.sha256'." in str(error.value)
    assert not (home / NAME).exists()
    (home / f"{NAME}.sha256").unlink()
    fetch(file)
    assert (home / NAME).read_bytes() == BODY[::-1]


def test_file_put_there_by_hand_is_pinned(home: Path) -> None:
    home.mkdir()
    (home / NAME).write_bytes(BODY)
    file = remote(checksum=None)
    assert fetch(file) == home / NAME
    assert cached(file).status == "pinned"
    assert cached(file).detail.endswith(f"(pinned on {datetime.date.today()} from a file put there by hand)")
    (home / NAME).write_bytes(BODY[1:])
    with pytest.raises(FetchError, match="The file in the cache is damaged"):
        fetch(file)


@pytest.mark.parametrize("inside", [NAME, f"models/{NAME}"])
def test_member_of_a_zip(server: Any, home: Path, inside: str) -> None:
    file = remote(server.serve("/a.zip", zipped(("readme", b"x"), (inside, BODY))), member=NAME)
    fetch(file)
    assert (home / NAME).read_bytes() == BODY
    assert names(home) == [LOCK, NAME]
    fetch(file)
    assert len(server.requests) == 1


def test_member_may_have_another_name_than_the_cache(server: Any, home: Path) -> None:
    fetch(remote(server.serve("/a.zip", zipped(("model.pdparams", BODY))), member="model.pdparams"))
    assert names(home) == [LOCK, NAME]


def encrypted() -> bytes:
    """A zip whose headers, the local one and the central one, say that the member is encrypted."""
    archive = bytearray(zipped((NAME, BODY)))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        archive[archive.index(signature) + flags] |= 1
    return bytes(archive)


def damaged() -> bytes:
    archive = bytearray(zipped((NAME, BODY), method=zipfile.ZIP_STORED))
    archive[1000] ^= 1
    return bytes(archive)


FETCH_ANEW = "Fetch it anew and compare its SHA-256 with its publisher's"


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (zipped(("other.pth", BODY)), f"expected one '{NAME}' in it, found 0. It has: other.pth"),
        (zipped((f"a/{NAME}", b"a"), (f"b/{NAME}", b"b")), f"'{NAME}' in it, found 2. It has: a/{NAME}, b/{NAME}"),
        (zipped((f"../{NAME}", BODY)), f"unsafe member name, '../{NAME}'. Do not unpack it"),
        (zipped((f"/tmp/{NAME}", BODY)), f"unsafe member name, '/tmp/{NAME}'. Do not unpack it"),
        (encrypted(), f"member '{NAME}' is encrypted. Unpack it by other means"),
        (zipped((NAME, BODY), method=zipfile.ZIP_LZMA), f"'{NAME}' is packed by method 14; expected 0 or 8 (deflate)"),
        (zipped((NAME, bytes(600_001))), f"'{NAME}' has 600,001 bytes; the limit is 600,000"),
        (damaged(), f"'{NAME}' is damaged, or lies about its size. {FETCH_ANEW}"),
        (BODY, f"but has no end: it is cut off. {FETCH_ANEW}"),
    ],
)
def test_zips_that_are_refused(server: Any, home: Path, archive: bytes, reason: str) -> None:
    with pytest.raises(FetchError) as error:
        fetch(remote(server.serve("/a.zip", archive), member=NAME))
    assert f"{reason}.\n" in str(error.value)
    assert names(home) == [LOCK]
    assert not Path("/tmp", NAME).exists()
    assert len(server.requests) == 1


def test_too_large_is_refused(server: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = remote(server.serve("/a.pth", bytes(600_001)), checksum=None)
    with pytest.raises(FetchError, match=r"0.6 MB, more than the 0.6 MB that are allowed"):
        fetch(file)
    file = remote(server.serve("/b.pth", bytes(600_000)), checksum=None)
    assert fetch(file).stat().st_size == 600_000  # twice what is expected
    monkeypatch.setattr(fetching, "SIZE_LIMIT", 500_000)
    with pytest.raises(FetchError, match=r"0.6 MB, more than the 0.5 MB that are allowed"):
        fetch(dataclasses.replace(file, filename="c.pth", bytes=None))


@pytest.mark.parametrize("member", [None, NAME])
def test_resumes_after_a_kill(server: Any, home: Path, member: str | None) -> None:
    body = zipped((NAME, BODY)) if member else BODY
    url = server.serve("/a", body, cut=200_000, then=server.over.wait)
    server.serve("/a", body)
    file = remote(url, member=member)
    process = start(file)
    part = home / f"{NAME}{'.zip' if member else ''}.part"
    wait_for(lambda: part.exists() and part.stat().st_size == 200_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert LOCK in names(home)  # the dead process's lock
    assert NAME not in names(home)
    fetch(file)
    assert (home / NAME).read_bytes() == BODY
    assert server.requests[1][1]["Range"] == "bytes=200000-"
    assert server.sent == len(body)
    assert names(home) == [LOCK, NAME]


@pytest.mark.parametrize("member", [None, NAME])
def test_part_that_rotted_is_fetched_whole(
    server: Any, home: Path, member: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    body = zipped((NAME, BODY)) if member else BODY
    url = server.serve("/a", body, cut=200_000)
    server.serve("/a", status=403, ranges=False)
    with pytest.raises(FetchError):
        fetch(remote(url, member=member))
    part = home / f"{NAME}{'.zip' if member else ''}.part"
    assert part.stat().st_size == 200_000
    part.write_bytes(bytes(200_000))
    server.serve("/a", body)
    server.replies["/a"].pop(0)
    fetch(remote(url, member=member))
    assert (home / NAME).read_bytes() == BODY
    assert names(home) == [LOCK, NAME]
    assert "; fetching it whole." in caplog.text


def test_server_that_always_breaks_off_and_then_lies(server: Any, home: Path) -> None:
    for cut in (100_000, None) * 10:
        bad = server.serve("/bad.pth", BODY[::-1], cut=cut)
    fetch(remote(bad, server.serve("/good.pth", BODY)))
    assert (home / NAME).read_bytes() == BODY
    assert server.asked() == ["/bad.pth"] * 4 + ["/good.pth"]  # begun and resumed, fetched whole once


def test_two_processes_download_once(server: Any, home: Path) -> None:
    go_on = threading.Event()
    file = remote(server.serve("/a.pth", BODY, before=lambda: go_on.wait(10)), checksum=None)
    first = start(file)
    wait_for(lambda: len(server.requests) == 1)
    second = start(file)
    assert second.stderr is not None
    assert second.stderr.readline() == f"Waiting for another process that is writing {NAME}.\n"
    go_on.set()
    for process in (first, second):
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, out) == (0, f"{home / NAME}\n")
    assert len(server.requests) == 1


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root, whom no permission stops, becomes somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder that everybody may read."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        monkeypatch.setenv("KZOO_HOME", folder)
        yield Path(folder)
        os.chmod(folder, 0o755)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_read_only_cache(server: Any, shared_home: Path) -> None:
    file = remote(server.serve("/a.pth", BODY))
    fetch(file)
    shared_home.chmod(0o555)
    other = remote(server.serve("/b.pth", BODY), filename="b.pth")
    with as_nobody():
        assert fetch(file) == shared_home / NAME
        with pytest.raises(FetchError) as error:
            fetch(other)
    assert str(error.value).startswith(
        f"The cache folder '{shared_home}' cannot be used for 'b.pth': [Errno 13] Permission"
    )
    assert str(error.value).endswith("or mend the permissions there, or set KZOO_HOME to another folder.")
    assert server.asked() == ["/a.pth"]


def test_cache_that_is_no_folder(home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(
        FetchError, match=r"The cache folder '.*cache' cannot be used for 'net-.*File exists.*KZOO_HOME"
    ):
        fetch(remote("http://127.0.0.1:1/a.pth"))


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("member", [None, NAME])
def test_full_disk(server: Any, home: Path, member: str | None) -> None:
    import resource

    url = server.serve("/a", zipped((NAME, bytes(300_000))) if member else bytes(300_000))
    file = remote(url, url, member=member, checksum=f"sha1:{hashlib.sha1(bytes(300_000)).hexdigest()}")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # what is written beyond fails as on a full disk
    try:
        with pytest.raises(FetchError, match=r"The cache folder .* cannot be used .*File too large. Make room"):
            fetch(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(server.requests) == 1  # no other address helps
    part = f"{NAME}.zip.part" if member else f"{NAME}.part"
    assert names(home) == [LOCK, part, f"{part}.json"]
    fetch(file)
    assert len(server.requests) == (1 if member else 2)  # the zip was there already
    assert names(home) == [LOCK, NAME]
