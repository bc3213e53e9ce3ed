from __future__ import annotations

import io
import os
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from kzoo.convert import CheckpointError, read_torch
from kzoo.convert.zip_reader import extract_member, list_members, map_file, read_member

LIMIT = 10_000


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as target:
        warnings.simplefilter("ignore")
        for name, raw in members.items():
            target.writestr(name, raw)
    return path


def fails(path: Path, match: str) -> None:
    """Neither extraction nor reading gets anything out of the archive, and nothing is written anywhere."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(CheckpointError, match=match):
        extract_member(path, "net.pth", path.parent / "out", max_bytes=LIMIT)
    with pytest.raises(CheckpointError, match=r"Cannot read"):
        read_torch(path)
    assert [found for found in sorted(path.parent.rglob("*")) if found.is_file()] == [f for f in before if f.is_file()]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_published_archive(tmp_path: Path, compression: int) -> None:
    weights = {"a": torch.randn(300, 1000), "b": torch.zeros(400, 1000)}  # several pieces of a megabyte
    torch.save(weights, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    raw = (tmp_path / "net.pth").read_bytes()
    path = archive(tmp_path / "net.zip", {"read me.txt": b"hello", "folder/": b"", "folder/net.pth": raw}, compression)
    target = tmp_path / "unpacked.pth"
    extract_member(path, "net.pth", target, max_bytes=len(raw))  # whatever folder it is in
    assert target.read_bytes() == raw
    np.testing.assert_array_equal(read_torch(target)["a"], weights["a"].numpy())
    with pytest.raises(CheckpointError, match=rf"'net.pth' has {len(raw):,} bytes; the limit is {len(raw) - 1:,}"):
        extract_member(path, "net.pth", target, max_bytes=len(raw) - 1)
    with pytest.raises(CheckpointError, match=r"expected one 'n.pth' in it, found 0. It has: folder/net.pth, read me"):
        extract_member(path, "n.pth", target, max_bytes=len(raw))
    with pytest.raises(FileNotFoundError, match=r"No checkpoint at .*absent.zip'; expected a zip"):
        extract_member(tmp_path / "absent.zip", "net.pth", target, max_bytes=1)


def test_a_damaged_member_leaves_no_file(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.zip", {"net.pth": b"new" * 100})
    path.write_bytes(path.read_bytes().replace(b"newnew", b"newnow", 1))  # the checksum tells
    with pytest.raises(CheckpointError, match=r"'net.pth' is damaged"):
        extract_member(path, "net.pth", tmp_path / "out", max_bytes=LIMIT)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="symlinks need rights on Windows")
def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.zip", {"net.pth": b"new"})
    (tmp_path / "victim").write_bytes(b"old")
    (tmp_path / "out").symlink_to(tmp_path / "victim")
    extract_member(path, "net.pth", tmp_path / "out", max_bytes=LIMIT)
    assert (tmp_path / "victim").read_bytes() == b"old"
    assert not (tmp_path / "out").is_symlink() and (tmp_path / "out").read_bytes() == b"new"


def test_what_cannot_be_written_is_not_the_archives_fault(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.zip", {"net.pth": b"new"})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        extract_member(path, "net.pth", tmp_path / "nowhere" / "out", max_bytes=LIMIT)


def test_two_files_of_one_name_in_different_folders(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.zip", {"a/net.pth": b"one", "b/net.pth": b"two"})
    with pytest.raises(CheckpointError, match=r"expected one 'net.pth' in it, found 2"):
        extract_member(path, "net.pth", tmp_path / "out", max_bytes=LIMIT)


def test_numbers_of_64_bits(tmp_path: Path) -> None:
    path = tmp_path / "n.zip"
    with zipfile.ZipFile(path, "w") as target:
        with target.open("big.bin", "w", force_zip64=True) as file:
            file.write(b"x" * 70)
    raw = bytearray(path.read_bytes())
    # What zipfile writes beyond four gigabytes: sizes in the entry's extra field, place and number in a second end.
    entry = raw.index(b"PK\1\2")
    end = raw.index(b"PK\5\6")
    raw[entry + 20 : entry + 28] = b"\xff" * 8
    raw[entry + 30 : entry + 32] = struct.pack("<H", 6 + 20)
    name_end = entry + 46 + len("big.bin")
    raw[name_end:end] = struct.pack("<2Hxx", 7, 2) + struct.pack("<2H2Q", 1, 16, 70, 70)
    end = raw.index(b"PK\5\6")
    second = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, end - entry, entry)
    pointer = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(raw[:end] + second + pointer + last)
    assert zipfile.ZipFile(path).read("big.bin") == b"x" * 70
    data = map_file(path)
    assert read_member(data, list_members(data)["big.bin"], 70) == b"x" * 70
    path.write_bytes(raw[:end] + second.replace(b"PK\6\6", b"PK\6\5") + pointer + last)
    fails(path, "directory is damaged")


@pytest.mark.parametrize(
    "name", ["../net.pth", "/net.pth", "a/../../net.pth", "..", "a\\..\\net.pth", "C:net.pth", "a/..", "n\x01/../x"]
)
def test_names_that_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "sub.zip", {"net.pth": b"good", name: b"bad"})
    fails(path, "unsafe member name")
    with pytest.raises(CheckpointError, match="unsafe member name"):
        extract_member(path, name, tmp_path / "out", max_bytes=LIMIT)


def test_two_members_of_one_name_or_at_one_place(tmp_path: Path) -> None:
    path = archive(tmp_path / "n.zip", {"net.pth": b"one", "net.ptx": b"two"})
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"net.ptx", b"net.pth"))
    fails(path, "two members named 'net.pth'")
    entry = raw.rindex(b"PK\1\2")
    path.write_bytes(raw[: entry + 42] + bytes(4) + raw[entry + 46 :])  # the second's header: where the first's is
    fails(path, "members overlap")


def test_encrypted_and_oddly_packed(tmp_path: Path) -> None:
    path = archive(tmp_path / "n.zip", {"net.pth": b"one"})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    fails(path, "'net.pth' is encrypted")
    archive(path, {"net.pth": b"one"}, zipfile.ZIP_BZIP2)
    fails(path, "'net.pth' is packed by method 12; expected 0 or 8")


def patched(path: Path, place: int, size: int) -> None:
    """Writes another size into the last entry of the archive's directory."""
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\1\2") + place
    raw[entry : entry + 4] = struct.pack("<L", size)
    path.write_bytes(raw)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "n.zip", {"net.pth": bytes(64 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**18
    tracemalloc.start()
    fails(path, r"has 67,108,864 bytes; the limit is 10,000")
    patched(path, 24, 9_000)  # a lie about the size unpacked
    fails(path, "'net.pth' is damaged, or lies about its size")
    data = map_file(path)
    with pytest.raises(CheckpointError, match="lies about its size"):
        read_member(data, list_members(data)["net.pth"], LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


@pytest.mark.parametrize(("place", "size"), [(24, 2**32 - 2), (20, 2**32 - 2), (24, 1), (20, 1), (42, 2**31), (16, 7)])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_sizes_places_and_checksums_that_lie(tmp_path: Path, compression: int, place: int, size: int) -> None:
    path = archive(tmp_path / "n.zip", {"net.pth": bytes(range(250)) * 4}, compression)
    patched(path, place, size)
    fails(path, "Cannot read")


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "n.zip", {f"{index}": b"" for index in range(11)} | {"net.pth": b""})
    monkeypatch.setattr("kzoo.convert.zip_reader._MAX_MEMBERS", 11)
    fails(path, "12 entries; kzoo reads at most 11")
    raw = path.read_bytes()
    path.write_bytes(raw[:-14] + struct.pack("<2H", 9, 9) + raw[-10:])
    monkeypatch.undo()
    fails(path, "expected one 'net.pth' in it, found 0")


def test_truncated_and_prolonged(tmp_path: Path) -> None:
    raw = archive(tmp_path / "n.zip", {"net.pth": b"one" * 50}).read_bytes()
    for size in range(4, len(raw), 7):
        (tmp_path / "n.zip").write_bytes(raw[:size])
        fails(tmp_path / "n.zip", "Cannot read")
    (tmp_path / "n.zip").write_bytes(raw + b"more")
    fails(tmp_path / "n.zip", "goes on behind the end")
    (tmp_path / "n.zip").write_bytes(b"")
    fails(tmp_path / "n.zip", "is empty")
    with pytest.raises(CheckpointError, match="is a directory"):
        extract_member(tmp_path, "net.pth", tmp_path / "out", max_bytes=LIMIT)
    # As zipfile sees it, nothing else is wrong with the whole one.
    assert zipfile.ZipFile(io.BytesIO(raw)).testzip() is None
