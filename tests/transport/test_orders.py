"""Erasing at the person's word: never less than asked, never what comes later, and whatever may have left is ordered."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import TooLarge
from codec.model import ChunkId
from codec.seal import DeviceSigningKey
from codec.tombstone import Range, Tombstone, verify_tombstone
from tests.transport.simfs import SimFiles
from tests.transport.test_spool_model import SOAK
from transport.chunk_index import ChunkIndex, State
from transport.errors import StorageFailed
from transport.fs import Files, RealFiles
from transport.orders import Orders, Wanted, listing
from transport.outbox import Outbox
from transport.outgoing import Outgoing
from transport.spool import Spool

DEVICE = "dev-0123"
KEY = DeviceSigningKey.from_raw(bytes(range(32)))
HOUR_NS = 3_600_000_000_000
MINUTE_MS = 60_000


class Desk:
    """A device's spool, index and outbox in one folder. Chunk k covers minute k, from `start_ms` on."""

    def __init__(self, files: Files, folder: Path) -> None:
        self.start_ms = time.time_ns() // 1_000_000 - 100 * MINUTE_MS
        self.copies: set[ChunkId] = set()
        self.spool = Spool.open(files, folder / "spool", device=DEVICE, limit_bytes=4 << 20)
        self.index = ChunkIndex(files, folder / "chunks", DEVICE)
        self.outbox = Outbox(files, folder / "erasures")
        self.outgoing = Outgoing(DEVICE, self.outbox, self.spool, self.index)
        self.orders = Orders(
            DEVICE, self.spool, self.index, self.outbox, signer=lambda: KEY, forget_copies=self.forget_copies
        )

    def forget_copies(self, which: object) -> None:
        self.copies = {chunk_id for chunk_id in self.copies if not which(chunk_id)}  # type: ignore[operator]

    def put(self, *, held: bool = False, indexed: bool = True) -> ChunkId:
        chunk_id = self.spool.next_id()
        # As the agent does: it may leave when it is closed, or has been held back after that.
        closed_ms = self.start_ms + (chunk_id.seq + 1) * MINUTE_MS
        ready_ns = time.time_ns() + HOUR_NS if held else closed_ms * 1_000_000
        self.spool.put(chunk_id, b"x" * 100, value=200, ready_wall_ns=ready_ns)
        if indexed:
            t0_ms = self.start_ms + chunk_id.seq * MINUTE_MS
            self.index.add(chunk_id, t0_wall_ms=t0_ms, duration_ms=MINUTE_MS - 1, screens=False)
        self.copies.add(chunk_id)
        return chunk_id

    def send(self, chunk_id: ChunkId, *, answered: bool = True) -> None:
        self.outgoing.read(chunk_id)
        if answered:
            self.outgoing.ack([chunk_id])

    def minutes(self, first: int, last: int) -> Wanted:
        return Wanted(since_ms=self.start_ms + first * MINUTE_MS, until_ms=self.start_ms + (last + 1) * MINUTE_MS - 1)

    def ordered(self) -> list[Tombstone]:
        return [verify_tombstone(item.payload, KEY.public) for item in self.outbox.items()]

    def here(self) -> set[int]:
        return {entry.chunk_id.seq for entry in self.spool.entries()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(RealFiles(), tmp_path)


def test_what_was_never_sent_is_deleted_and_the_archive_is_not_asked(desk: Desk) -> None:
    ids = [desk.put(held=True) for _ in range(5)]
    done = desk.orders.erase(desk.minutes(1, 3))
    assert [gap.chunk_id for gap in done.here] == ids[1:4]
    assert (done.ordered, done.numbers, desk.ordered()) == (0, (), [])
    assert desk.here() == {0, 4}
    assert desk.copies == {ids[0], ids[4]}
    assert (done.from_ms, done.until_ms) == (desk.start_ms + MINUTE_MS, desk.start_ms + 4 * MINUTE_MS - 1)


def test_what_left_is_ordered_to_be_erased_and_copies_go(desk: Desk) -> None:
    ids = [desk.put() for _ in range(6)]
    for chunk_id in ids[:3]:
        desk.send(chunk_id)
    desk.send(ids[3], answered=False)
    done = desk.orders.erase(desk.minutes(2, 4))
    assert (done.ordered, len(done.here)) == (2, 2)
    (tombstone,) = desk.ordered()
    assert tombstone.ranges == (Range(ids[0].epoch, 2, 3),)
    assert desk.here() == {5}
    assert {entry.chunk_id.seq: entry.state for entry in desk.index.entries()} == {
        0: State.ARCHIVED,
        1: State.ARCHIVED,
        2: State.ERASING,
        3: State.ERASING,
        4: State.GONE,
        5: State.MADE,
    }
    assert desk.copies == {ids[0], ids[1], ids[5]}


def test_asking_twice_orders_once_unless_the_archive_refused(desk: Desk) -> None:
    desk.send(desk.put())
    assert desk.orders.erase(desk.minutes(0, 0)).ordered == 1
    again = desk.orders.erase(desk.minutes(0, 0))
    assert (again.ordered, again.already, again.numbers) == (0, 1, ())
    desk.outbox.answer(0, "erased", 1)
    assert desk.orders.erase(desk.minutes(0, 0)).already == 1
    (tmp,) = [item.number for item in desk.outbox.items()]
    assert tmp == 0
    desk.send(desk.put())
    desk.orders.erase(desk.minutes(1, 1))
    desk.outbox.answer(1, "refused: bad signature", 1)
    assert desk.orders.erase(desk.minutes(1, 1)).numbers == (2,)


def test_everything_is_everything_so_far_and_nothing_later(desk: Desk) -> None:
    for _ in range(3):
        desk.send(desk.put())
    desk.index.add(ChunkId(DEVICE, 5, 9), t0_wall_ms=1, duration_ms=1, screens=False)
    desk.orders.erase(Wanted())
    later = desk.put()
    (tombstone,) = desk.ordered()
    assert tombstone.ranges == tuple(sorted([Range(5, 0, 2**32 - 1), Range(later.epoch, 0, 2)]))
    assert not tombstone.covers(later)
    assert desk.here() == {3}


def test_a_chunk_that_the_index_lacks_is_erased_with_its_neighbours(desk: Desk) -> None:
    for number in range(6):
        desk.send(desk.put(indexed=number != 3))
    done = desk.orders.erase(desk.minutes(2, 2))
    assert desk.ordered()[0].ranges[0].first == 2
    assert desk.ordered()[0].ranges[0].last == 3
    assert done.uncertain == 1


def test_single_chunks_and_ids_of_the_future(desk: Desk) -> None:
    ids = [desk.put() for _ in range(3)]
    desk.send(ids[1])
    epoch = ids[0].epoch
    done = desk.orders.erase(Wanted(ids=frozenset({(epoch, 1), (epoch, 2), (epoch, 3), (epoch, 99), (77, 5)})))
    assert done.ordered == 2
    assert desk.ordered()[0].ranges == tuple(sorted([Range(77, 5, 5), Range(epoch, 1, 1)]))
    assert desk.here() == {0}


def test_many_holes_make_several_orders(desk: Desk) -> None:
    ids = frozenset((77, 2 * number) for number in range(2500))
    done = desk.orders.erase(Wanted(ids=ids))
    assert done.ordered == 2500
    assert [len(tombstone.ranges) for tombstone in desk.ordered()] == [1024, 1024, 452]


def test_a_chunk_handed_to_the_network_meanwhile_is_ordered_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk_id = desk.put()
    forget = desk.spool.forget

    def slowly(which: object) -> object:
        desk.send(chunk_id, answered=False)
        return forget(which)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.spool, "forget", slowly)
    done = desk.orders.erase(desk.minutes(0, 0))
    assert done.ordered == 1
    assert desk.ordered()[0].covers(chunk_id)


def test_the_listing_shows_orders_and_answers(desk: Desk) -> None:
    for _ in range(3):
        desk.send(desk.put())
    desk.orders.erase(desk.minutes(0, 1))
    desk.outbox.answer(0, "erased", 1234)
    desk.orders.erase(desk.minutes(2, 2))
    newest, first = listing(desk.outbox)
    assert (newest["number"], newest["answer"], newest["chunks"]) == (1, "", 1)
    assert (first["answer"], first["answered_wall_s"], first["chunks"]) == ("erased", 1234, 2)
    assert first["what"].endswith("/0-1")


@settings(max_examples=250 * SOAK, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sent=st.integers(0, 5),
    first=st.integers(0, 5),
    length=st.integers(0, 5),
    crash_at=st.integers(1, 150),
    fail_at=st.none() | st.integers(1, 100),
    power=st.booleans(),
)
def test_after_any_crash_what_was_ordered_is_deleted_and_what_left_is_ordered(
    seed: int, sent: int, first: int, length: int, crash_at: int, fail_at: int | None, power: bool
) -> None:
    files = SimFiles(seed)
    files.make_dir(Path("/s"))
    files.synced_dirs |= files.dirs
    desk = Desk(files, Path("/s"))
    ids = [desk.put() for _ in range(6)]
    files.sync_dir(Path("/s"))
    for chunk_id in ids[:sent]:
        desk.send(chunk_id)
    files.crash_at, files.fail_at = crash_at, fail_at
    asked = {seq for seq in range(6) if first <= seq <= first + length}
    answered = False
    try:
        desk.orders.erase(desk.minutes(first, first + length))
        answered = True
    except (StorageFailed, TooLarge, OSError, SimFiles.Killed):
        pass
    if power:
        files.cut_power()
    files.kill()
    again = Desk(files, Path("/s"))
    again.start_ms = desk.start_ms
    again.orders.settle()
    covered = {seq for seq in range(6) for t in again.ordered() if t.covers(ids[seq])}
    assert not again.here() & covered
    assert covered <= asked, "more was ordered than asked, with every chunk in the index"
    if answered:
        assert not again.here() & asked
        assert asked & set(range(sent)) <= covered
    again.orders.erase(desk.minutes(first, first + length))  # the person asks again
    assert not again.here() & asked
    assert asked & set(range(sent)) <= {seq for seq in range(6) for t in again.ordered() if t.covers(ids[seq])}
