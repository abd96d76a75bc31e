"""Deleting what has not left, copies first; and telling the next agent what was deleted without it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from capture.forgetting import Forgetting, leave_note, take_note
from capture.review.bounds import Bounds
from capture.review.copies import Copies
from codec.model import ChunkId
from tests.capture.review.test_copies import OWN, SIGNER, made
from transport.folder import Folder
from transport.fs import RealFiles
from transport.spool import Gap, Spool


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool.open(RealFiles(), tmp_path / "spool", device="device-of-a-test", limit_bytes=10 << 20) as spool:
        yield spool


def kept(spool: Spool, copies: Copies, count: int) -> list[ChunkId]:
    ids = []
    for _ in range(count):
        chunk_id = spool.next_id()
        one = made(chunk_id.seq)
        spool.put(chunk_id, one.chunk, value=200, ready_wall_ns=0)
        copies.keep(type(one)(chunk_id, one.chunk, one.value, one.body), OWN.public, SIGNER)
        ids.append(chunk_id)
    return ids


async def test_a_chunk_goes_with_its_copy(tmp_path: Path, spool: Spool, thread: ThreadPoolExecutor) -> None:
    copies = Copies(Folder(RealFiles(), tmp_path / "copies"), Bounds(86_400, 10**6), min_free_bytes=0)
    first, second, third = kept(spool, copies, 3)
    spool.ack([third])  # it has left: forgetting leaves its copy, which is what its owner can still see of it
    noted: list[ChunkId] = []
    forgetting = Forgetting(spool, copies, thread, noted=lambda gaps: noted.extend(gap.chunk_id for gap in gaps))
    await forgetting.where(lambda entry: entry.chunk_id != second)
    assert noted == [first]
    assert [entry.chunk_id for entry in spool.entries()] == [second]
    assert {copy.chunk_id for copy in copies.entries()} == {second, third}
    await forgetting.copies()
    assert copies.entries() == []
    assert [entry.chunk_id for entry in spool.entries()] == [second]


async def test_where_a_copy_stays_the_chunk_stays_too(
    tmp_path: Path, spool: Spool, thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(RealFiles(), tmp_path / "copies")
    copies = Copies(folder, Bounds(86_400, 10**6), min_free_bytes=0)
    kept(spool, copies, 1)

    def refuse(names: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(folder, "erase", refuse)
        forgetting = Forgetting(spool, copies, thread, noted=lambda gaps: None)
        with pytest.raises(OSError, match="Input/output"):
            await forgetting.where(lambda entry: True)
        assert len(list(spool.entries())) == 1, "it can be asked for again"
    await forgetting.where(lambda entry: True)
    assert list(spool.entries()) == []


def test_the_next_agent_learns_once_what_was_deleted_without_it(tmp_path: Path) -> None:
    path = tmp_path / "forgotten.json"
    ids = [ChunkId("device-of-a-test", 7, seq) for seq in range(3)]
    leave_note(path, [])
    assert not path.exists()
    leave_note(path, [Gap(ids[0], 0, 1, "forgotten")])
    leave_note(path, [Gap(one, 0, 1, "forgotten") for one in ids[1:]])
    assert [(one.chunk_id, one.reason) for one in take_note(path)] == [(one, "forgotten") for one in ids]
    assert take_note(path) == []
    path.write_text('[["device", "x"]]')
    path.chmod(0o600)
    assert take_note(path) == [], "a damaged note keeps no agent from starting"
    assert not path.exists()
