"""What one address can do to a download: break, stall, change, lie, redirect."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kzoo.zoo import download as module
from kzoo.zoo.download import AddressError, download

BODY = random.Random(0).randbytes(300_000)
LIMIT = 1_000_000


def get(url: str, part: Path, *, limit: int = LIMIT, length_needed: bool = True) -> bool:
    return download(url, part, limit=limit, length_needed=length_needed)


@pytest.fixture
def part(home: Path) -> Path:
    home.mkdir()
    return home / "a.pth.part"


def test_whole(server: Any, part: Path) -> None:
    assert get(server.serve("/a.pth", BODY), part) is False
    assert part.read_bytes() == BODY
    assert server.requests[0][1]["User-Agent"].startswith("kzoo/")


@pytest.mark.parametrize(
    "validator", [{}, {"etag": None, "headers": {"Last-Modified": "Tue, 18 Mar 2025 10:00:00 GMT"}}]
)
def test_connection_that_ends_early_is_resumed(
    server: Any, part: Path, validator: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_BYTES", 1)
    url = server.serve("/a.pth", BODY, cut=100_000, **validator)
    for cut in (100_001, 100_002, 100_003, None):  # more than TRIES: each brings enough
        server.serve("/a.pth", BODY, cut=cut, **validator)
    assert get(url, part) is True
    assert part.read_bytes() == BODY
    assert "Range" not in server.requests[0][1]
    assert [headers["Range"] for _, headers in server.requests[1:]] == [f"bytes={100_000 + n}-" for n in range(4)]
    condition = "Tue, 18 Mar 2025 10:00:00 GMT" if validator else '"v1"'
    assert [headers["If-Range"] for _, headers in server.requests[1:]] == [condition] * 4
    assert server.sent == len(BODY)


def test_connection_that_always_ends_early_is_given_up(server: Any, part: Path) -> None:
    url = server.serve("/a.pth", BODY, cut=100_000)
    with pytest.raises(AddressError, match="the connection ended after 100000 of 300000 bytes"):
        get(url, part)
    assert len(server.requests) == 1 + module.TRIES
    assert part.read_bytes() == BODY[:100_000]  # for another day


def test_connections_that_bring_a_byte_each_are_given_up(server: Any, part: Path) -> None:
    for cut in range(10):
        url = server.serve("/a.pth", BODY, cut=100_000 + cut)
    with pytest.raises(AddressError, match="the connection ended after 100003 of 300000 bytes"):
        get(url, part)
    assert len(server.requests) == 1 + module.TRIES


def test_stalled_connection_is_resumed_then_given_up(
    server: Any, part: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(module, "STALL_BYTES", 1)
    url = server.serve("/a.pth", BODY, cut=100_000, then=server.over.wait)
    server.serve("/a.pth", BODY)
    assert get(url, part) is True
    assert part.read_bytes() == BODY
    assert server.sent == len(BODY)
    assert f"{url}: no byte for 0.2 s; trying again." in caplog.text
    begin = time.monotonic()
    mute = server.serve("/mute", BODY, cut=0, then=server.over.wait)
    with pytest.raises(AddressError, match=r"^no byte for 0.2 s$"):
        get(mute, part)
    assert server.asked().count("/mute") == module.TRIES
    assert time.monotonic() - begin < 10  # 3 * 0.2 s, on a busy machine too


def test_trickle_is_given_up(server: Any, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that come far more often than the socket's timeout, for ever."""
    monkeypatch.setattr(module, "STALL_SECONDS", 0.5)
    url = server.serve("/a.pth", BODY, pause=0.02)
    with pytest.raises(AddressError, match=r"^fewer than 65,536 bytes in 0.5 s$"):
        get(url, part)
    assert len(server.requests) == module.TRIES
    assert 0 < part.stat().st_size < 1000  # to go on with


@pytest.mark.parametrize("kind", [{"ranges": False}, {"etag": None}, {"etag": 'W/"v1"'}])
def test_server_that_cannot_resume_begins_anew(server: Any, part: Path, kind: dict[str, Any]) -> None:
    url = server.serve("/a.pth", BODY, cut=100_000, **kind)
    server.serve("/a.pth", BODY, **kind)
    assert get(url, part) is False
    assert part.read_bytes() == BODY
    assert server.sent == 100_000 + len(BODY)


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize("size", [300_000, 300_001, 50_000])
def test_file_changed_between(server: Any, part: Path, heeds_if_range: bool, size: int) -> None:
    url = server.serve("/a.pth", BODY, cut=100_000)
    other = random.Random(1).randbytes(size)
    server.serve("/a.pth", other, etag='"v2"', heeds_if_range=heeds_if_range)
    assert get(url, part) is False
    assert part.read_bytes() == other


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-299999/300000",
        "bytes 100000-299999/400000",
        "bytes 100000-299998/300000",
        "bytes 100000-299999/*",
        "lines 1-2/3",
        pytest.param(f"bytes 100000-299999/{'9' * 5000}", id="digits"),
    ],
)
def test_rest_that_does_not_fit(server: Any, part: Path, content_range: str) -> None:
    url = server.serve("/a.pth", BODY, cut=100_000)
    server.serve("/a.pth", BODY, status=206, ranges=False, headers={"Content-Range": content_range})
    server.serve("/a.pth", BODY)
    assert get(url, part) is False
    assert part.read_bytes() == BODY
    assert "Range" not in server.requests[2][1]


def test_rest_that_ends_before_it_begins(server: Any, part: Path) -> None:
    chunked: dict[str, Any] = {"length": False, "headers": {"Transfer-Encoding": "chunked"}}
    url = server.serve("/a.pth", b"186a0\r\n" + BODY[:100_000], **chunked)  # so many bytes, and no end
    server.serve("/a.pth", b"y" * 30, status=206, ranges=False, headers={"Content-Range": "bytes 100000-49999/50000"})
    server.serve("/a.pth", BODY)
    assert get(url, part) is False
    assert part.read_bytes() == BODY


def test_part_of_another_address_is_not_continued(server: Any, part: Path) -> None:
    first = server.serve("/a.pth", BODY, cut=100_000)
    with pytest.raises(AddressError):
        get(first, part)
    assert get(server.serve("/b.pth", BODY), part) is False
    assert part.read_bytes() == BODY


def test_note_that_says_nothing(server: Any, part: Path) -> None:
    part.write_bytes(b"something")
    for note in ("", "[]", json.dumps({"url": "x"})):
        Path(f"{part}.json").write_text(note)
        assert get(server.serve("/a.pth", BODY), part) is False
        assert part.read_bytes() == BODY


def test_part_that_is_whole_is_not_asked_for_again(server: Any, part: Path) -> None:
    url = server.serve("/a.pth", BODY)
    get(url, part)
    assert get(url, part) is True
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "reason", "tries"),
    [(403, "HTTP 403 Forbidden", 1), (404, "HTTP 404 Not Found", 1), (500, "HTTP 500 Internal Server Error", 3)],
)
def test_status(server: Any, part: Path, status: int, reason: str, tries: int) -> None:
    with pytest.raises(AddressError) as error:
        get(server.serve("/a.pth", b"no", status=status), part)
    assert str(error.value) == reason
    assert len(server.requests) == tries
    assert not part.exists()


def test_other_successes_are_none(server: Any, part: Path) -> None:
    for status in (204, 206):
        with pytest.raises(AddressError, match=f"^HTTP {status} "):
            get(server.serve(f"/{status}", b"", status=status, length=False), part)


def test_status_that_passes(server: Any, part: Path) -> None:
    url = server.serve("/a.pth", b"busy", status=503)
    server.serve("/a.pth", BODY)
    get(url, part)
    assert part.read_bytes() == BODY


def test_unreachable(part: Path) -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(AddressError, match="ConnectionRefusedError"):
            get(f"http://127.0.0.1:{taken.getsockname()[1]}/a.pth", part)
    for url in ("http://127.0.0.1:1/ä", "http://127.0.0.1:port/a", "file:///nowhere/a.pth"):
        with pytest.raises(AddressError):
            get(url, part)


def test_redirects(server: Any, part: Path, tmp_path: Path) -> None:
    # The part's beginning is asked for where the redirect leads, too.
    url = server.serve("/old.pth", status=302, headers={"Location": "/a.pth"}, ranges=False)
    server.serve("/a.pth", BODY, cut=100_000)
    server.serve("/a.pth", BODY)
    assert get(url, part) is True
    assert part.read_bytes() == BODY
    assert server.sent == len(BODY)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for target in (secret.as_uri(), "ftp://127.0.0.1/a.pth", "data:,x"):
        url = server.serve(f"/{target[:4]}", status=302, headers={"Location": target})
        with pytest.raises(AddressError, match=r"HTTP 302 .*edirection to .* is not allowed") as error:
            get(url, part)
        assert target in str(error.value)
    loop = server.serve("/loop", status=302, headers={"Location": "/loop"})
    with pytest.raises(AddressError, match=r"HTTP 302 .* infinite loop"):
        get(loop, part)


@pytest.mark.parametrize(
    ("before", "after", "followed"),
    [("http", "http", True), ("http", "https", True), ("https", "https", True), ("https", "http", False)],
)
def test_redirects_keep_encryption(before: str, after: str, followed: bool) -> None:
    request = urllib.request.Request(f"{before}://example.org/a")
    arguments: Any = (request, None, 302, "Found", {}, f"{after}://example.org/b")
    if followed:
        assert module._SafeRedirects().redirect_request(*arguments).full_url == f"{after}://example.org/b"
    else:
        with pytest.raises(OSError, match="is not allowed"):
            module._SafeRedirects().redirect_request(*arguments)


def test_malformed_addresses_and_numbers(server: Any, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.serve("/moved", status=302, headers={"Location": "http://[::"})
    with pytest.raises(AddressError, match="Invalid IPv6 URL"):
        get(url, part)
    url = server.serve("/long", BODY, length=False, headers={"Content-Length": "9" * 5000})
    with pytest.raises(AddressError, match="does not tell the file's length"):
        get(url, part)
    monkeypatch.setenv("http_proxy", "http:/bad")
    with pytest.raises(AddressError, match="proxy"):
        get(url, part)


@pytest.mark.skipif(os.name != "posix", reason="symlinks need rights on Windows")
def test_symlinks_are_not_followed(server: Any, part: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    part.symlink_to(victim)
    url = server.serve("/a.pth", BODY)
    for etag in (None, '"v1"'):  # with a note that asks for the rest, too
        Path(f"{part}.json").write_text(json.dumps({"url": url, "validator": etag, "total": len(BODY)}))
        assert get(url, part) is False
        assert not part.is_symlink() and part.read_bytes() == BODY
        part.unlink()
        part.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), open(part, "ab", opener=module._open_no_symlink):
        pass
    assert victim.read_bytes() == b"mine"


def test_too_large(server: Any, part: Path) -> None:
    url = server.serve("/a.pth", bytes(2_000_000))
    with pytest.raises(AddressError, match=r"^2.0 MB, more than the 1.0 MB that are allowed$"):
        get(url, part)
    assert not part.exists()
    # 80 MB of which the server does not tell the length: more than the connection's buffers hold.
    endless = server.serve("/endless", bytes(80_000_000), length=False)
    before = server.sent
    with pytest.raises(AddressError, match=r"^more than the 1.0 MB that are allowed$"):
        get(endless, part, length_needed=False)
    assert not part.exists()
    assert server.sent - before < 40_000_000


def test_answers_that_are_no_file(server: Any, part: Path) -> None:
    page = server.serve("/login", b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(AddressError, match="answers with a web page in place of the file"):
        get(page, part)
    unknown = server.serve("/a.pth", BODY, length=False)
    with pytest.raises(AddressError, match="does not tell the file's length"):
        get(unknown, part)
    assert get(unknown, part, length_needed=False) is False
    assert part.read_bytes() == BODY


def test_chunked(server: Any, part: Path) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in (BODY[:70_000], BODY[70_000:]))
    kind: dict[str, Any] = {"length": False, "headers": {"Transfer-Encoding": "chunked"}}
    url = server.serve("/a.pth", chunks[:80_000], **kind)  # breaks off within a chunk
    server.serve("/a.pth", chunks + b"0\r\n\r\n", ranges=False, **kind)
    get(url, part)
    assert part.read_bytes() == BODY
    assert len(server.requests) == 2


def test_proxy_from_the_environment(server: Any, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.serve("http://weights.invalid/a.pth", BODY)
    monkeypatch.setenv("http_proxy", server.url)
    get("http://weights.invalid/a.pth", part)
    assert part.read_bytes() == BODY


def test_what_arrived_is_on_the_disk_at_once(server: Any, part: Path) -> None:
    """A kill loses nothing: the bytes are in the file while the connection still waits."""
    sent, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        sent.set()
        go_on.wait(10)

    url = server.serve("/a.pth", BODY, cut=100_001, then=wait)
    server.serve("/a.pth", BODY)
    thread = threading.Thread(target=get, args=(url, part))
    thread.start()
    assert sent.wait(10)
    for _ in range(200):
        if part.exists() and part.stat().st_size == 100_001:
            break
        threading.Event().wait(0.01)
    assert part.stat().st_size == 100_001
    go_on.set()
    thread.join()
    assert part.read_bytes() == BODY
