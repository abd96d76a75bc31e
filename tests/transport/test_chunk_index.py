"""The index of chunks: bounded, tolerant of whatever a disk does to it, and never too narrow about a chunk's minutes."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.model import ChunkId
from tests.transport.simfs import SimFiles
from tests.transport.test_spool_model import SOAK
from transport.chunk_index import HEAD_BYTES, LONGEST_MS, RECORD_BYTES, ChunkIndex, Kind, State
from transport.fs import RealFiles

DEVICE = "dev-0123"
T0 = 1_790_000_000_000


def id_of(seq: int, epoch: int = 7) -> ChunkId:
    return ChunkId(DEVICE, epoch, seq)


@pytest.fixture
def index(tmp_path: Path) -> ChunkIndex:
    return ChunkIndex(RealFiles(), tmp_path / "chunks", DEVICE)


def fill(index: ChunkIndex, seqs: list[int], *, epoch: int = 7) -> None:
    for seq in seqs:
        index.add(id_of(seq, epoch), t0_wall_ms=T0 + seq * 1000, duration_ms=900, screens=bool(seq % 2))


def test_what_was_noted_comes_back_also_to_another_instance(index: ChunkIndex, tmp_path: Path) -> None:
    fill(index, [0, 1, 2])
    index.mark([id_of(0), id_of(1), id_of(99)], State.SENT, sync=True)
    index.mark([id_of(0)], State.ARCHIVED)
    index.mark([id_of(0)], State.SENT)
    found = list(ChunkIndex(RealFiles(), tmp_path / "chunks", DEVICE).entries())
    assert [(e.chunk_id.seq, e.t0_wall_ms, e.end_wall_ms, e.kind, e.state) for e in found] == [
        (0, T0, T0 + 900, Kind.EVENTS, State.ARCHIVED),
        (1, T0 + 1000, T0 + 1900, Kind.SCREENS, State.SENT),
        (2, T0 + 2000, T0 + 2900, Kind.EVENTS, State.MADE),
    ]
    assert stat.S_IMODE((tmp_path / "chunks").stat().st_mode) == 0o600


def test_an_index_of_another_device_or_of_no_sense_begins_anew(index: ChunkIndex, tmp_path: Path) -> None:
    fill(index, [0, 1])
    other = ChunkIndex(RealFiles(), tmp_path / "chunks", "dev-4567")
    assert list(other.entries()) == []
    other.add(ChunkId("dev-4567", 1, 0), t0_wall_ms=5, duration_ms=5, screens=False)
    assert [entry.chunk_id.device for entry in other.entries()] == ["dev-4567"]
    (tmp_path / "chunks").write_bytes(b"nonsense")
    fill(index, [3])
    assert [entry.chunk_id for entry in index.entries()] == [id_of(3)]


def test_a_missing_chunk_gets_the_time_between_its_neighbours_and_counts_as_sent(index: ChunkIndex) -> None:
    fill(index, [0, 1, 5])
    fill(index, [4], epoch=9)
    spans = {span.chunk_id: span for span in index.spans(id_of(8), now_wall_ms=T0 + 9_000)}
    assert set(spans) == {*(id_of(seq) for seq in range(8)), *(id_of(seq, 9) for seq in range(5))}
    for seq in (2, 3, 4):
        span = spans[id_of(seq)]
        assert (span.t0_wall_ms, span.end_wall_ms, span.state, span.certain) == (
            T0 + 1000 - LONGEST_MS,
            T0 + 5900,
            State.SENT,
            False,
        )
    assert (spans[id_of(7)].t0_wall_ms, spans[id_of(7)].end_wall_ms) == (T0 + 5000 - LONGEST_MS, T0 + 9000)
    assert spans[id_of(5)].certain
    first = spans[id_of(0, 9)]  # what came before the oldest entry may be as old as may be
    assert (first.t0_wall_ms, first.end_wall_ms, first.certain) == (0, T0 + 4900, False)


def test_an_id_that_is_not_used_yet_is_not_there(index: ChunkIndex) -> None:
    """A record without its chunk: the process died between the two, and the id is the next one still."""
    fill(index, [0, 1, 2])
    assert [span.chunk_id.seq for span in index.spans(id_of(2), now_wall_ms=T0 + 9_000)] == [0, 1]


def test_it_is_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    index = ChunkIndex(RealFiles(), tmp_path / "chunks", DEVICE, max_entries=100)
    fill(index, list(range(1000)))
    found = [entry.chunk_id.seq for entry in index.entries()]
    assert found == list(range(found[0], 1000))
    assert 75 <= len(found) <= 100
    assert (tmp_path / "chunks").stat().st_size <= HEAD_BYTES + 101 * RECORD_BYTES


def test_what_is_older_than_the_retention_goes(index: ChunkIndex) -> None:
    fill(index, list(range(5000)))
    index.prune(before_wall_ms=T0 + 100_000)
    assert len(list(index.entries())) == 5000
    index.prune(before_wall_ms=T0 + 3_000_000)
    assert next(entry.chunk_id.seq for entry in index.entries()) == 3000
    index.mark([id_of(4999)], State.ARCHIVED)
    assert [entry.chunk_id.seq for entry in index.entries() if entry.state is State.ARCHIVED] == [4999]


@settings(max_examples=150 * SOAK, deadline=None)
@given(place=st.integers(0, HEAD_BYTES + 6 * RECORD_BYTES - 1), bit=st.integers(0, 7), cut=st.integers(0, 40))
def test_damage_never_makes_a_chunk_look_unsent_or_younger(place: int, bit: int, cut: int) -> None:
    files = SimFiles()
    files.make_dir(Path("/s"))
    index = ChunkIndex(files, Path("/s/chunks"), DEVICE)
    fill(index, list(range(6)))
    index.mark([id_of(seq) for seq in range(6)], State.SENT, sync=True)
    data = files.now[Path("/s/chunks")].data
    data[place] ^= 1 << bit
    del data[len(data) - cut :]
    for span in index.spans(id_of(6), now_wall_ms=T0 + 10_000):
        assert span.t0_wall_ms <= T0 + span.chunk_id.seq * 1000
        assert span.end_wall_ms >= T0 + span.chunk_id.seq * 1000 + 900
        assert span.state is not State.MADE or place % RECORD_BYTES == HEAD_BYTES % RECORD_BYTES + 25


@settings(max_examples=200 * SOAK, deadline=None)
@given(seed=st.integers(0, 2**32), crash_at=st.integers(1, 120), fail_at=st.none() | st.integers(1, 60))
def test_after_any_crash_the_next_process_goes_on(seed: int, crash_at: int, fail_at: int | None) -> None:
    files = SimFiles(seed)
    files.make_dir(Path("/s"))
    files.synced_dirs |= files.dirs
    files.crash_at, files.fail_at, files.failure = crash_at, fail_at, errno.EIO
    index = ChunkIndex(files, Path("/s/chunks"), DEVICE, max_entries=8)
    marked: set[int] = set()
    try:
        for seq in range(12):
            try:
                fill(index, [seq])
                index.mark([id_of(seq)], State.SENT, sync=True)
                marked.add(seq)
            except OSError:
                continue
    except SimFiles.Killed:
        pass
    files.cut_power()
    again = ChunkIndex(files, Path("/s/chunks"), DEVICE, max_entries=8)
    for entry in again.entries():
        assert entry.t0_wall_ms == T0 + entry.chunk_id.seq * 1000
        assert entry.state is not State.MADE or entry.chunk_id.seq not in marked
    fill(again, [50])
    assert [entry.chunk_id.seq for entry in again.entries()][-1] == 50
