from __future__ import annotations

import datetime
import hashlib
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kzoo.strict_yaml import from_mapping
from kzoo.zoo.cache import CacheState, RemoteFile, cache_folder, cached, file_lock, mismatch, write_pin

# From the standards: FIPS 180-4's examples for "abc".
SHA1_ABC = "a9993e364706816aba3e25717850c26c9cd0d89d"
SHA256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("KZOO_HOME", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == tmp_path / ".keras" / "kzoo"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "k"))
    assert cache_folder() == tmp_path / "k" / "kzoo"
    monkeypatch.setenv("KZOO_HOME", "~/z")
    assert cache_folder() == tmp_path / "z"


@pytest.mark.parametrize(
    ("checksum", "status", "detail"),
    [
        (f"sha1:{SHA1_ABC}", "verified", f"sha1:{SHA1_ABC} (as published)"),
        (f"sha1:{SHA1_ABC[:8]}", "verified", f"sha1:{SHA1_ABC[:8]} (as published)"),
        (f"sha256:{SHA256_ABC}", "verified", f"sha256:{SHA256_ABC} (as published)"),
        (f"sha256:{SHA256_ABC[:8]}", "verified", f"sha256:{SHA256_ABC[:8]} (as published)"),
        (
            "sha1:a9993e37",
            "damaged",
            f"its sha1 is {SHA1_ABC}, expected a9993e37; 3 bytes (as published)",
        ),
        # The digits in the middle of the real ones, not their beginning.
        (f"sha256:{SHA256_ABC[8:16]}", "damaged", f"its sha256 is {SHA256_ABC}, expected 8f01cfea; 3 bytes"),
        (None, "unpinned", "no checksum is published, none pinned yet"),
    ],
)
def test_state_of_a_file(home: Path, checksum: str | None, status: str, detail: str) -> None:
    remote = RemoteFile("a.pth", checksum=checksum)
    assert cached(remote) == CacheState(home / "a.pth", None, "absent", "not in the cache", checksum)
    assert not home.exists()
    home.mkdir()
    (home / "a.pth").write_bytes(b"abc")
    state = cached(remote)
    assert (state.path, state.bytes, state.status, state.checksum) == (home / "a.pth", 3, status, checksum)
    assert state.detail.startswith(detail)


def test_pin(home: Path) -> None:
    home.mkdir()
    remote, path = RemoteFile("a.pth"), home / "a.pth"
    path.write_bytes(b"abc")
    write_pin(path, path, "https://example.org/a.pth")
    origin = f"pinned on {datetime.date.today()} from https://example.org/a.pth"
    assert (home / "a.pth.sha256").read_text() == f"# {origin}\n{SHA256_ABC}  a.pth\n"
    pinned = f"sha256:{SHA256_ABC}"
    assert cached(remote) == CacheState(path, 3, "pinned", f"{pinned} ({origin})", pinned)
    path.write_bytes(b"abd")
    assert cached(remote).status == "damaged"
    assert cached(remote).detail.endswith(f"expected {SHA256_ABC}; 3 bytes ({origin})")
    path.unlink()
    assert cached(remote) == CacheState(path, None, "absent", "not in the cache", pinned)
    # A published checksum comes first.
    assert cached(RemoteFile("a.pth", checksum="sha1:00000000")).checksum == "sha1:00000000"


def test_pins_by_hand(home: Path) -> None:
    home.mkdir()
    path, pin = home / "a.pth", home / "a.pth.sha256"
    path.write_bytes(b"abc")
    for mode in (" ", "*"):  # as `sha256sum a.pth > a.pth.sha256` writes it, on Windows with an asterisk
        pin.write_text(f"{SHA256_ABC} {mode}a.pth\n")
        assert cached(RemoteFile("a.pth")).detail == f"sha256:{SHA256_ABC} (given in a.pth.sha256)"
    pin.write_text("nonsense\n")
    with pytest.raises(ValueError, match=r"a.pth.sha256' is no checksum of 'a.pth'. Delete it"):
        cached(RemoteFile("a.pth"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filename", "../a.pth"),
        ("filename", "folder\\a.pth"),
        ("filename", ".."),
        ("filename", ""),
        ("filename", "a\n.pth"),
        ("member", "folder/a.pth"),
        ("urls", ("https://example.org/a.pth", "file:///etc/passwd")),
        ("urls", ("ftp://example.org/a.pth",)),
        ("urls", ("https:///a.pth",)),
        ("checksum", "md5:0123456789abcdef"),
        ("checksum", "sha1:1234567"),
        ("checksum", "sha1:" + 41 * "a"),
        ("checksum", "sha256:ABCDEF01"),
        ("bytes", 0),
    ],
)
def test_wrong_descriptions(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: expected "):
        RemoteFile(**{"filename": "a.pth", field: value})


def test_description_from_yaml() -> None:
    mapping = {"filename": "a.pth", "urls": ["https://example.org/a.zip"], "checksum": "sha1:01234567", "bytes": 9}
    expected = RemoteFile("a.pth", ("https://example.org/a.zip",), "sha1:01234567", 9)
    assert from_mapping(RemoteFile, mapping) == expected


def test_mismatch_reads_large_files(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert mismatch(tmp_path / "a", f"sha1:{hashlib.sha1(content).hexdigest()}") is None
    (tmp_path / "a").write_bytes(content[:-1] + b"\0")
    assert mismatch(tmp_path / "a", f"sha1:{hashlib.sha1(content).hexdigest()}") is not None


def test_lock_excludes_threads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inside, most = [], []

    def work() -> None:
        with file_lock(tmp_path / "a"):
            inside.append(1)
            time.sleep(0.05)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    assert "Waiting for another process that is writing a." in caplog.text


def test_import_is_light() -> None:
    code = "import sys, kzoo.zoo.fetching; sys.exit(40 + ('tensorflow' in sys.modules) + ('keras' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 40
