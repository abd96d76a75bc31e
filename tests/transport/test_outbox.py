"""The outbox: an order is kept until it is answered, whatever dies in between; and on its way it is a chunk like others."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.model import ChunkId
from codec.seal import DeviceSigningKey
from codec.tombstone import Range, sign_tombstone
from tests.transport.kit import MemoryLedger, mosquitto, parse_tiny, tiny_chunk, until
from tests.transport.simfs import SimFiles
from tests.transport.test_spool_model import SOAK
from transport.archive import FolderStore
from transport.chunk_index import ChunkIndex, State
from transport.collector import Collector, CollectorSettings
from transport.erasing import MAGIC, Eraser
from transport.errors import StorageFailed, TooLarge
from transport.exchange import Permit
from transport.fs import RealFiles
from transport.limits import Link
from transport.messages import NackCode
from transport.mqtt import Broker
from transport.outbox import MAX_WAITING, Outbox
from transport.outgoing import Outgoing
from transport.publisher import Publisher, PublisherSettings
from transport.session import ORDERS, SessionLimits
from transport.spool import Spool

DEVICE = "dev-1"
KEY = DeviceSigningKey.from_raw(bytes(range(32)))


def order(*seqs: int, epoch: int = 1) -> bytes:
    ranges = [Range(epoch, seq, seq) for seq in seqs]
    return sign_tombstone(DEVICE, ranges or None, wall_s=1, signer=KEY)


def test_an_order_waits_until_it_is_answered(tmp_path: Path) -> None:
    outbox = Outbox(RealFiles(), tmp_path / "erasures")
    told: list[int] = []
    outbox.subscribe(lambda: told.append(1))
    assert [outbox.add(order(1)), outbox.add(order(2))] == [0, 1]
    assert told == [1, 1]
    assert list(outbox.waiting()) == [0, 1]
    outbox.answer(0, "erased", 99)
    outbox.answer(0, "refused: what", 100)
    outbox.answer(7, "erased", 99)
    again = Outbox(RealFiles(), tmp_path / "erasures")
    assert list(again.waiting()) == [1]
    assert (again.read(0), again.read(1)) == (None, order(2))
    first, second = again.items()
    assert first.answer is not None
    assert (first.answer.text, first.answer.wall_s, second.answer) == ("erased", 99, None)
    assert again.add(order(3)) == 2


def test_what_waits_and_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.outbox.MAX_WAITING", 4)
    monkeypatch.setattr("transport.outbox.KEPT_ANSWERED", 3)
    outbox = Outbox(RealFiles(), tmp_path / "erasures")
    for number in range(10):
        assert outbox.add(order(number)) == number
        outbox.answer(number, "erased", number)
    assert [item.number for item in outbox.items()] == [7, 8, 9]
    for number in range(4):
        outbox.add(order(number))
    with pytest.raises(TooLarge):
        outbox.add(order(9))
    assert MAX_WAITING == 256


def test_a_damaged_answer_makes_the_order_go_again(tmp_path: Path) -> None:
    outbox = Outbox(RealFiles(), tmp_path / "erasures")
    outbox.add(order(1))
    outbox.answer(0, "erased", 99)
    (tmp_path / "erasures" / "0000000000.answer").write_bytes(b"\0\0")
    assert list(Outbox(RealFiles(), tmp_path / "erasures").waiting()) == [0]


@settings(max_examples=300 * SOAK, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    crash_at=st.integers(1, 100),
    fail_at=st.none() | st.integers(1, 60),
    power=st.booleans(),
)
def test_no_order_is_lost_or_answered_by_a_crash(seed: int, crash_at: int, fail_at: int | None, power: bool) -> None:
    files = SimFiles(seed)
    files.make_dir(Path("/s"))
    files.synced_dirs |= files.dirs
    files.crash_at, files.fail_at, files.failure = crash_at, fail_at, errno.EIO
    kept: dict[int, bytes] = {}
    answered: set[int] = set()
    tried: set[int] = set()
    with contextlib.suppress(SimFiles.Killed, StorageFailed):
        outbox = Outbox(files, Path("/s/erasures"))
        for seq in range(4):
            with contextlib.suppress(StorageFailed):
                kept[outbox.add(order(seq))] = order(seq)
            if seq % 2 and kept:
                tried.add(min(kept))
                with contextlib.suppress(StorageFailed):
                    outbox.answer(min(kept), "erased", 1)
                    answered.add(min(kept))
    if power:
        files.cut_power()
    files.kill()
    again = Outbox(files, Path("/s/erasures"))
    items = {item.number: item for item in again.items()}
    for number, payload in kept.items():
        assert items[number].payload == payload
        assert number in again.waiting() or number in tried
        assert number not in answered or number not in again.waiting()
    assert again.add(order(9)) not in kept


# -- on the way


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 9000000\n") as number:
        yield number


class Scene:
    """A device with spool, index and outbox, and a collector that knows its key."""

    def __init__(self, folder: Path, port: int) -> None:
        files = RealFiles()
        self.folder, self.port = folder, port
        self.spool = Spool.open(files, folder / "spool", device=DEVICE, limit_bytes=64 << 20)
        self.index = ChunkIndex(files, folder / "chunks", DEVICE)
        self.outbox = Outbox(files, folder / "erasures")
        self.archive = FolderStore(files, folder / "archive")
        self.tasks: list[asyncio.Task[None]] = []

    def put(self, *, ready_wall_ns: int = 0) -> ChunkId:
        chunk_id = self.spool.next_id()
        self.spool.put(chunk_id, tiny_chunk(chunk_id, b"x" * 500), value=200, ready_wall_ns=ready_wall_ns)
        self.index.add(chunk_id, t0_wall_ms=0, duration_ms=0, screens=False)
        return chunk_id

    async def collect(self) -> Collector:
        collector = Collector(
            CollectorSettings(Broker("127.0.0.1", self.port, "collector"), answer_delay_s=0.05),
            self.archive,
            parse=parse_tiny,
            handlers={MAGIC: Eraser(self.archive, lambda tombstone: KEY.public).handle},
        )
        self.tasks.append(asyncio.create_task(collector.run()))
        await until(lambda: collector.counters.get("connected", 0) > 0)
        return collector

    def publish(self) -> Publisher:
        publisher = Publisher(
            PublisherSettings(
                Broker("127.0.0.1", self.port, DEVICE),
                SessionLimits(answer_min_s=0.5, answer_cap_s=2.0),
                linger_s=0.2,
                reconnect_base_s=0.05,
                reconnect_cap_s=0.2,
                unheard_base_s=0.3,
                unheard_cap_s=0.3,
            ),
            Outgoing(DEVICE, self.outbox, self.spool, self.index),
            MemoryLedger(),
            conditions=lambda: Permit(Link.UNMETERED, 1),
        )
        self.tasks.append(asyncio.create_task(publisher.run()))
        return publisher

    def states(self) -> dict[int, State]:
        return {entry.chunk_id.seq: entry.state for entry in self.index.entries()}


@pytest.fixture
async def scene(tmp_path: Path, port: int) -> AsyncIterator[Scene]:
    made = Scene(tmp_path, port)
    yield made
    for task in made.tasks:
        task.cancel()
    for result in await asyncio.gather(*made.tasks, return_exceptions=True):
        assert isinstance(result, asyncio.CancelledError | None), result
    made.spool.close()


@pytest.mark.broker
async def test_chunks_are_erased_by_an_order_that_goes_the_same_way(scene: Scene) -> None:
    sent = [scene.put() for _ in range(3)]
    held = scene.put(ready_wall_ns=time.time_ns() + 3_600_000_000_000)
    await scene.collect()
    publisher = scene.publish()
    await until(lambda: set(scene.archive.iterate()) == set(sent) and scene.spool.usage().chunks == 1)
    assert scene.states() == {0: State.ARCHIVED, 1: State.ARCHIVED, 2: State.ARCHIVED, 3: State.MADE}
    scene.outbox.add(order(1, held.seq, epoch=held.epoch))
    await until(lambda: not scene.outbox.waiting())
    assert set(scene.archive.iterate()) == {sent[0], sent[2]}
    (item,) = scene.outbox.items()
    assert item.answer is not None
    assert item.answer.text == "erased"
    assert publisher.totals.refused_chunks == 0


@pytest.mark.broker
async def test_an_order_made_without_a_collector_is_sent_by_the_next_process(scene: Scene) -> None:
    scene.outbox.add(order())
    first = scene.publish()
    await until(lambda: first.totals.sent_chunks >= 1)
    scene.tasks.pop().cancel()
    scene.outbox = Outbox(RealFiles(), scene.folder / "erasures")
    await scene.collect()
    scene.publish()
    await until(lambda: not scene.outbox.waiting())
    assert scene.archive.put([(ChunkId(DEVICE, 5, 5), b"x")])[0].refused is NackCode.ERASED


def test_a_chunk_that_is_read_to_be_sent_is_noted_first(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 0)
    chunk_id = scene.put()
    outgoing = Outgoing(DEVICE, scene.outbox, scene.spool, scene.index)
    scene.outbox.add(order(1))
    orders, chunk = outgoing.ready(time.time_ns())
    assert (orders.chunk_id.epoch, orders.value, chunk.chunk_id) == (ORDERS, 255, chunk_id)
    assert outgoing.read(orders.chunk_id) == order(1)
    assert scene.states() == {0: State.MADE}
    outgoing.read(chunk_id)
    assert scene.states() == {0: State.SENT}
    (tmp_path / "chunks").unlink()
    (tmp_path / "chunks").mkdir()
    with pytest.raises(StorageFailed):
        outgoing.read(chunk_id)
    scene.spool.close()
