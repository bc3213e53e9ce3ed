"""Reads zip archives from a memory map: where the members lie, and one member at a time, never more than a limit.

Written for files of strangers. Unlike `zipfile`, it refuses what writers of checkpoints never make: two members of one
name, members that overlap, names that lead out of a folder, encryption, several disks, methods other than deflate.

Reference: PKWARE, APPNOTE.TXT, 4.3 (records) and 4.5.3 (64-bit sizes).
"""

from __future__ import annotations

import itertools
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kzoo.convert.errors import CheckpointError, reading

# The archive's end record, its 64-bit form and the pointer to that; a directory entry; a member's own header.
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_POINTER_64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_HEADER = struct.Struct("<4s5H3L2H")

_MAX_COMMENT = 2**16
_IN_64_BITS = 0xFFFFFFFF
_ENCRYPTED = 0x1 | 0x40
_STORED, _DEFLATED = 0, 8
_UNSAFE_NAME = re.compile(r"^/|(^|/)\.\.(/|$)|[\\:\0]")

# A checkpoint has one member a tensor. An entry takes some 400 bytes of memory.
_MAX_MEMBERS = 100_000
_CHUNK = 2**20

_FETCH_ANEW = "Fetch it anew and compare its SHA-256 with its publisher's."


@dataclass(slots=True)
class Member:
    """A file in the archive, as the archive's directory describes it."""

    name: str
    compressed: bool
    checksum: int
    packed_size: int
    size: int
    header: int


def map_file(path: Path) -> mmap.mmap:
    """The whole file as a read-only memory map."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def list_members(data: mmap.mmap) -> dict[str, Member]:
    """The archive's files by name, without its folders.

    Raises: `CheckpointError` if the directory is damaged, or describes what this module refuses.
    """
    count, size, directory = _directory(data)
    if count > _MAX_MEMBERS:
        raise CheckpointError(f"its zip directory has {count:,} entries; kzoo reads at most {_MAX_MEMBERS:,}.")
    members: dict[str, Member] = {}
    place = directory
    for _ in range(count):
        member, place = _entry(data, place)
        if place > directory + size:
            raise CheckpointError(f"its zip directory is damaged: it is longer than it says. {_FETCH_ANEW}")
        if _UNSAFE_NAME.search(member.name):
            raise CheckpointError(f"it is a zip with an unsafe member name, {member.name[:200]!r}. Do not unpack it.")
        if member.name in members:
            raise CheckpointError(f"it is a zip with two members named {member.name[:200]!r}. Do not unpack it.")
        members[member.name] = member
    ends = itertools.pairwise([*sorted((m.header, m.packed_size) for m in members.values()), (directory, 0)])
    if any(header + _HEADER.size + packed_size > following for (header, packed_size), (following, _) in ends):
        raise CheckpointError("it is a zip whose members overlap. Do not unpack it.")
    return {name: member for name, member in members.items() if not name.endswith("/")}


def locate_member(data: mmap.mmap, member: Member) -> tuple[int, int]:
    """Where the member's bytes start and stop in the file, packed if it is compressed."""
    signature, *_, name_length, extra_length = _HEADER.unpack_from(data, member.header)
    name = member.header + _HEADER.size
    start = name + name_length + extra_length
    stop = start + member.packed_size
    if signature != b"PK\3\4" or data[name : name + name_length] != member.name.encode() or stop > len(data):
        raise CheckpointError(f"its zip member {member.name[:200]!r} is not where the directory says. {_FETCH_ANEW}")
    return start, stop


def read_member(data: mmap.mmap, member: Member, limit: int) -> bytes:
    """The member's bytes, unpacked.

    Raises: `CheckpointError` if they are more than `limit`, or other than the directory says.
    """
    if member.size > limit:
        raise CheckpointError(
            f"its zip member {member.name[:200]!r} has {member.size:,} bytes; the limit is {limit:,}."
        )
    if not member.compressed:  # torch can leave the checksum out
        start, stop = locate_member(data, member)
        return data[start:stop]
    return b"".join(_chunks(data, member))


def extract_member(path: str | os.PathLike[str], name: str, to: str | os.PathLike[str], *, max_bytes: int) -> None:
    """Unpacks one file of a zip archive: how some projects publish their `.pth` files.

    Args:
        path: the archive.
        name: the file, in whatever folder of the archive, e.g. `"encnet_resnet50s_pcontext-9b22b8e5.pth"`.
        to: the file to write, anew: what is there is removed, a symlink is not followed. A failure leaves none, a kill
            can leave the beginning of it.
        max_bytes: the most that the file may have, unpacked.

    Raises:
        FileNotFoundError: no such archive.
        CheckpointError: no zip, damaged, unsafe, without exactly one such file, or with one larger than `max_bytes`.
        OSError: `to` cannot be written.
    """
    target = Path(to)
    target.unlink(missing_ok=True)
    try:
        with target.open("xb") as file:
            for chunk in _unpacked(path, name, max_bytes):
                file.write(chunk)  # out here, because what fails in there is the archive's fault
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _unpacked(path: str | os.PathLike[str], name: str, max_bytes: int) -> Iterator[bytes]:
    """The bytes of the archive's file `name`, as `extract_member`, a piece at a time."""
    with reading(path, "a zip archive with a checkpoint in it") as archive:
        data = map_file(archive)
        members = list_members(data)
        found = [member for full, member in members.items() if full.rpartition("/")[2] == name]
        if len(found) != 1:
            names = ", ".join(sorted(members)[:5])[:500]
            raise CheckpointError(f"expected one {name!r} in it, found {len(found)}. It has: {names}.")
        if found[0].size > max_bytes:
            raise CheckpointError(f"its member {name!r} has {found[0].size:,} bytes; the limit is {max_bytes:,}.")
        yield from _chunks(data, found[0])


def _directory(data: mmap.mmap) -> tuple[int, int, int]:
    """How many entries the archive's directory has, its size and its place."""
    place = data.rfind(b"PK\5\6", max(0, len(data) - _END.size - _MAX_COMMENT))
    if place < 0 or place + _END.size > len(data):
        raise CheckpointError(f"it begins as a zip archive, but has no end: it is cut off. {_FETCH_ANEW}")
    _, disk, _, _, count, size, directory, comment = _END.unpack_from(data, place)
    if place + _END.size + comment != len(data):
        raise CheckpointError(f"it goes on behind the end of the zip archive, or is cut off in it. {_FETCH_ANEW}")
    pointer = place - _POINTER_64.size
    if pointer >= 0 and data[pointer : pointer + 4] == b"PK\6\7":
        _, _, place, _ = _POINTER_64.unpack_from(data, pointer)
        if data[place : place + 4] != b"PK\6\6" or place + _END_64.size > pointer:
            raise CheckpointError(f"its zip directory is damaged. {_FETCH_ANEW}")
        *_, disk, _, _, count, size, directory = _END_64.unpack_from(data, place)
    if disk or directory + size > place:
        raise CheckpointError(f"its zip directory is damaged, or on another disk. {_FETCH_ANEW}")
    return count, size, directory


def _entry(data: mmap.mmap, place: int) -> tuple[Member, int]:
    """The directory's entry at `place`, and the place of the next."""
    (
        signature, _, _, flags, method, _, _, checksum, packed_size, size,
        name_length, extra_length, comment_length, disk, _, _, header,
    ) = _ENTRY.unpack_from(data, place)  # fmt: skip
    start = place + _ENTRY.size
    name = data[start : start + name_length].decode("utf-8")
    if signature != b"PK\1\2" or disk not in (0, 0xFFFF):
        raise CheckpointError(f"its zip directory is damaged. {_FETCH_ANEW}")
    if flags & _ENCRYPTED:
        raise CheckpointError(f"its zip member {name[:200]!r} is encrypted. Unpack it by other means.")
    if method not in (_STORED, _DEFLATED):
        raise CheckpointError(f"its zip member {name[:200]!r} is packed by method {method}; expected 0 or 8 (deflate).")
    if _IN_64_BITS in (size, packed_size, header):
        wide = _wide_numbers(data[start + name_length : start + name_length + extra_length])
        size, packed_size, header = (next(wide) if n == _IN_64_BITS else n for n in (size, packed_size, header))
    if method == _STORED and packed_size != size:
        raise CheckpointError(f"its zip member {name[:200]!r} lies about its size. {_FETCH_ANEW}")
    member = Member(name, method == _DEFLATED, checksum, packed_size, size, header)
    return member, start + name_length + extra_length + comment_length


def _wide_numbers(extra: bytes) -> Iterator[int]:
    """The 64-bit numbers in an entry's extra field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            yield from (number for (number,) in struct.iter_unpack("<Q", extra[4 : 4 + length]))
            return
        extra = extra[4 + length :]


def _chunks(data: mmap.mmap, member: Member) -> Iterator[bytes]:
    """The member's bytes, unpacked, a piece at a time; never more of them than the directory says."""
    start, stop = locate_member(data, member)
    unpack = zlib.decompressobj(-zlib.MAX_WBITS) if member.compressed else None
    size = checksum = 0
    packed = b""
    while start < stop or packed:
        if not packed:
            packed = data[start : min(start + _CHUNK, stop)]
            start += len(packed)
        chunk = unpack.decompress(packed, _CHUNK) if unpack else packed
        packed = unpack.unconsumed_tail if unpack else b""
        size += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
        if size > member.size:
            break
        yield chunk
    if size != member.size or checksum != member.checksum or (unpack and not unpack.eof):
        raise CheckpointError(f"its zip member {member.name[:200]!r} is damaged, or lies about its size. {_FETCH_ANEW}")
