"""A server on the loopback that misbehaves as told, and a cache folder of the test's own."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kzoo.zoo import download


@dataclass
class Reply:
    """One answer: after `before`, so much of the body as `cut` says, then `then`, and the connection ends.

    With a `pause` (in seconds) the body comes a byte at a time.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = '"v1"'
    ranges: bool = True
    heeds_if_range: bool = True
    length: bool = True
    cut: int | None = None
    pause: float = 0.0
    before: Callable[[], object] = lambda: None
    then: Callable[[], object] = lambda: None


class FileServer:
    """What is served, what was asked for, and how many bytes of files went out."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: dict[str, list[Reply]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        self.over = threading.Event()
        """Set at the test's end; `then=server.over.wait` is a connection that stalls."""

    def serve(self, path: str, body: bytes = b"", **kind: object) -> str:
        """Adds an answer for `path`, one a request, the last one again and again; returns the address."""
        self.replies.setdefault(path, []).append(Reply(body, **kind))  # type: ignore[arg-type]
        return self.url + path

    def asked(self) -> list[str]:
        """The paths that were asked for."""
        return [path for path, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    files: FileServer

    def do_GET(self) -> None:
        files = self.files
        files.requests.append((self.path, dict(self.headers)))
        replies = files.replies.get(self.path) or [Reply(b"not here", 404)]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        start, status, body = 0, reply.status, reply.body
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (reply.etag, reply.headers.get("Last-Modified"))
        if asked and reply.ranges and (same or not reply.heeds_if_range):
            start, status = int(asked[1]), 206
        if start and start >= len(body):
            start, status, body = 0, 416, b""
        self.send_response(status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.etag:
            self.send_header("ETag", reply.etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if reply.length:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        try:
            reply.before()
            body = body[: reply.cut]
            size = 1 if reply.pause else 50_000
            for begin in range(start, len(body), size):
                block = body[begin : begin + size]
                files.sent += len(block)  # before the client can have it and look here
                self.wfile.write(block)
                files.over.wait(reply.pause)
            self.wfile.flush()
            reply.then()
        except OSError:  # the client has gone
            pass

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server of files, 127.0.0.1 at a free port."""
    handler = type("TestHandler", (Handler,), {})
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    files = handler.files = FileServer(f"http://127.0.0.1:{http_server.server_port}")
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield files
    files.over.set()
    http_server.shutdown()
    http_server.server_close()
    thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, with no mirror, no proxy and no waiting between tries; not made yet."""
    for name in ("KZOO_MIRROR", "KZOO_OFFLINE", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("KZOO_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    return tmp_path / "cache"
