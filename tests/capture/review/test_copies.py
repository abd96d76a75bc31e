"""The person's own copies: bounded, sealed for their key alone, and never in the way of recording."""

from __future__ import annotations

import errno
import os
import random
import stat
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from capture.review.bounds import Bounds
from capture.review.copies import Copies
from codec import reader
from codec.chunk import Body, encode_body, open_chunk, seal_chunk
from codec.errors import Denied
from codec.model import ChunkId, KeyEvents, Meta, PointerEvents, Row
from codec.seal import ArchivePrivateKey, DeviceSigningKey
from tests.transport.simfs import SimFiles
from transport.folder import Folder
from transport.fs import RealFiles

OWN, ARCHIVE, SIGNER = ArchivePrivateKey.generate(), ArchivePrivateKey.generate(), DeviceSigningKey.generate()
DAY_S = 86_400
NOW_S = 1_800_000_000
FAR_S = NOW_S + 400 * DAY_S


@dataclass(frozen=True)
class Made:
    chunk_id: ChunkId
    chunk: bytes
    value: int
    body: bytes


def made(seq: int, *, value: int = 200, filling: int = 0) -> Made:
    chunk_id = ChunkId("device-of-a-test", 7, seq)
    rows = [
        Row(0, "focus", {"app": "code", "title": f"chapter {seq}", "filling": random.Random(seq).randbytes(filling)})
    ]
    meta = Meta(0, NOW_S * 10**9, 1000, purposes=("computer-use-training",), expires_s=FAR_S)
    body = encode_body(Body(meta, PointerEvents.empty(), KeyEvents.empty(), rows))
    chunk = seal_chunk(chunk_id, body, recipient=ARCHIVE.public, signer=SIGNER, expires_s=meta.expires_s, value=value)
    return Made(chunk_id, chunk, value, body)


class Clock:
    def __init__(self) -> None:
        self.s = float(NOW_S)

    def ns(self) -> int:
        return int(self.s * 1e9)


def copies_in(
    folder: Folder, clock: Clock, *, keep_s: float = 2 * DAY_S, limit_bytes: int = 10**6, free: int = 0
) -> Copies:
    return Copies(folder, Bounds(keep_s, limit_bytes), min_free_bytes=free, wall_ns=clock.ns)


def keep(copies: Copies, chunk: Made) -> None:
    copies.keep(chunk, OWN.public, SIGNER)


def seqs(copies: Copies) -> list[int]:
    return [copy.chunk_id.seq for copy in copies.entries()]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(RealFiles(), tmp_path / "copies")


def test_a_copy_is_the_same_chunk_for_another_key(folder: Folder) -> None:
    copies = copies_in(folder, Clock())
    keep(copies, made(3))
    (copy,) = copies.entries()
    content = copies.read(copy)
    header, body = open_chunk(content, OWN)
    assert (header.chunk_id, header.value, body) == (made(3).chunk_id, 200, made(3).body)
    assert (copy.chunk_id, copy.value, copy.closed_wall_ms) == (header.chunk_id, 200, NOW_S * 1000)
    opened = reader.open(content, OWN, purpose="computer-use-training", now_s=NOW_S)
    assert opened.body.rows[0].fields["title"] == "chapter 3"
    with pytest.raises(Denied):
        open_chunk(content, ARCHIVE)
    assert b"chapter" not in content


def test_copies_are_private_files(folder: Folder) -> None:
    copies = copies_in(folder, Clock())
    keep(copies, made(0))
    (name,) = os.listdir(folder.path)
    assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_what_is_too_old_goes_and_what_is_due_is_known(folder: Folder) -> None:
    clock = Clock()
    copies = copies_in(folder, clock)
    keep(copies, made(0))
    clock.s += DAY_S
    keep(copies, made(1))
    assert copies.next_due_s() == DAY_S
    clock.s += DAY_S + 1
    copies.prune()
    assert seqs(copies) == [1]
    clock.s -= 30 * DAY_S  # the clock had been wrong: nothing stays for a month more
    copies.prune()
    assert seqs(copies) == []
    assert copies.next_due_s() is None


def test_the_oldest_give_way_to_the_limit(folder: Folder) -> None:
    copies = copies_in(folder, Clock(), limit_bytes=12_000)
    for seq in range(10):
        keep(copies, made(seq, filling=3000))
        assert sum(copy.size_bytes for copy in copies.entries()) <= 12_000
    assert seqs(copies) == [7, 8, 9]
    keep(copies, made(10, filling=20_000))
    assert copies.skipped.total() == 1
    copies.prune()
    assert 10 not in seqs(copies)


@pytest.mark.parametrize("bounds", [Bounds(0, 10**6), Bounds(60, 0)])
def test_who_wants_no_copies_has_none(folder: Folder, bounds: Bounds) -> None:
    keep(copies_in(folder, Clock()), made(0))
    copies = Copies(folder, bounds, min_free_bytes=0, wall_ns=Clock().ns)
    keep(copies, made(1))
    assert seqs(copies) == [0]
    copies.prune()
    assert seqs(copies) == []


def test_a_disk_that_is_nearly_full_gets_its_room_back() -> None:
    files = SimFiles(1)
    folder = Folder(files, Path("/copies"))
    copies = copies_in(folder, Clock(), free=50_000)
    files.capacity_bytes = 100_000
    for seq in range(20):
        keep(copies, made(seq, filling=8000))
    assert files.free_bytes(Path("/copies")) >= 50_000
    assert 0 < len(copies.entries()) < 20
    files.capacity_bytes = 60_000
    keep(copies, made(20, filling=20_000))
    assert seqs(copies) == []
    assert copies.skipped.total() == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_nothing_that_the_disk_says_reaches_the_recording(
    folder: Folder, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = copies_in(folder, Clock())

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder, "write", refuse)
    keep(copies, made(0))
    assert seqs(copies) == []
    assert os.strerror(number) in next(iter(copies.skipped))


def test_nothing_that_is_wrong_with_a_copy_reaches_the_recording(folder: Folder) -> None:
    copies = copies_in(folder, Clock())
    keep(copies, replace(made(0), chunk=b"no chunk"))
    keep(copies, replace(made(0), value=300))
    assert seqs(copies) == []
    assert copies.skipped.total() == 2


def test_forgetting_overwrites_before_it_removes() -> None:
    files = SimFiles(1)
    folder = Folder(files, Path("/copies"))
    copies = copies_in(folder, Clock())
    for seq in range(3):
        keep(copies, made(seq))
    inode = files.now[Path("/copies") / copies.entries()[1].name]
    gone = copies.forget(lambda copy: copy.chunk_id.seq == 1)
    assert [copy.chunk_id.seq for copy in gone] == [1]
    assert seqs(copies) == [0, 2]
    assert not any(inode.data)
    assert not any(inode.synced)
    files.cut_power()
    assert 1 not in seqs(copies), "the removal is on the disk"


def test_half_written_copies_do_not_show_and_go_with_the_rest(folder: Folder) -> None:
    copies = copies_in(folder, Clock())
    keep(copies, made(0))
    (folder.path / ".half.chunk.new").write_bytes(b"half")
    (folder.path / "notes.txt").write_text("not ours")
    assert seqs(copies) == [0]
    copies.forget(lambda copy: True)
    assert os.listdir(folder.path) == ["notes.txt"]
