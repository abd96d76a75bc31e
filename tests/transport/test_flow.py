"""Publisher and collector together, over a real broker: what is freed, what is spent, what happens when something fails."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codec.errors import Corrupt
from codec.model import ChunkId
from codec.seal import DeviceSigningKey
from tests.transport.kit import MemoryLedger, Proxy, mosquitto, nats, parse_tiny, tiny_chunk, until
from transport.archive import FolderStore
from transport.collector import Collector, CollectorEvent, CollectorSettings
from transport.errors import StorageFailed, Unavailable
from transport.exchange import Permit
from transport.fs import RealFiles
from transport.intake import Reply
from transport.ledger import Ledger
from transport.limits import Limits, Link
from transport.messages import (
    Answer,
    Nack,
    NackCode,
    ack_topic,
    digest_of,
    pack_answer,
    parse_answer,
    sign_answer,
    up_topic,
)
from transport.metering import Meter
from transport.mqtt import Broker, Connection, Dialer, Message, Protocol
from transport.publisher import Progress, Publisher, PublisherSettings
from transport.session import SessionLimits
from transport.spool import Gap, Spool

pytestmark = pytest.mark.broker
DEVICE = "dev-1"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 9000000\n") as number:
        yield number


@dataclass
class Scene:
    """A device and a collector in one process."""

    folder: Path
    port: int
    protocol: Protocol = Protocol.V5
    permit: Permit = field(default_factory=lambda: Permit(Link.UNMETERED))
    ledger: MemoryLedger | Ledger = field(default_factory=MemoryLedger)
    progress: list[Progress] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    events: list[CollectorEvent] = field(default_factory=list)
    chunks: dict[ChunkId, bytes] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spool = Spool.open(RealFiles(), self.folder / "spool", device=DEVICE, limit_bytes=64 << 20)
        self.archive = FolderStore(RealFiles(), self.folder / "archive")
        self.settings = PublisherSettings(
            Broker("127.0.0.1", self.port, DEVICE, protocol=self.protocol, connect_timeout_s=3.0),
            SessionLimits(answer_min_s=0.5, answer_cap_s=2.0),
            linger_s=0.2,
            reconnect_base_s=0.05,
            reconnect_cap_s=0.2,
            unheard_base_s=0.5,
            unheard_cap_s=0.5,
        )

    def put(self, size: int = 1000, *, value: int = 200, ready_wall_ns: int = 0) -> ChunkId:
        chunk_id = self.spool.next_id()
        chunk = tiny_chunk(chunk_id, bytes([chunk_id.seq % 256]) * size)
        self.spool.put(chunk_id, chunk, value=value, ready_wall_ns=ready_wall_ns)
        self.chunks[chunk_id] = chunk
        return chunk_id

    async def collect(self, **more: object) -> Collector:
        settings = CollectorSettings(
            Broker("127.0.0.1", self.port, "collector", protocol=self.protocol), answer_delay_s=0.05
        )
        collector = Collector(settings, self.archive, self.events.append, parse=parse_tiny, **more)  # type: ignore[arg-type]
        self.tasks.append(asyncio.create_task(collector.run()))
        await until(lambda: any(event.kind == "connected" for event in self.events))
        return collector

    def publish(self, port: int | None = None) -> Publisher:
        settings = replace(self.settings, broker=replace(self.settings.broker, port=port or self.port))
        publisher = Publisher(
            settings,
            self.spool,
            self.ledger,
            conditions=lambda: self.permit,
            on_progress=self.progress.append,
            on_loss=self.gaps.extend,
        )
        self.tasks.append(asyncio.create_task(publisher.run()))
        return publisher

    @property
    def state(self) -> str:
        return self.progress[-1].state if self.progress else ""

    def archived(self) -> dict[ChunkId, bytes]:
        return {chunk_id: self.archive.get(chunk_id) for chunk_id in self.archive.iterate()}

    async def emptied(self) -> None:
        await until(
            lambda: self.spool.usage().chunks == 0 and self.state == "idle" and self.progress[-1].in_flight == 0
        )


@pytest.fixture
async def scene(tmp_path: Path, port: int) -> AsyncIterator[Scene]:
    made = Scene(tmp_path, port)
    yield made
    for task in made.tasks:
        task.cancel()
    for result in await asyncio.gather(*made.tasks, return_exceptions=True):
        assert isinstance(result, asyncio.CancelledError | None), result
    made.spool.close()


async def test_chunks_reach_the_archive_byte_for_byte_and_free_the_spool(scene: Scene) -> None:
    for number in range(40):
        scene.put(number * 300, value=number * 6)
    await scene.collect()
    publisher = scene.publish()
    await scene.emptied()
    assert scene.archived() == scene.chunks
    assert publisher.totals.archived_chunks == publisher.totals.sent_chunks == 40
    assert scene.gaps == []


async def test_over_nats_which_speaks_3_1_1_only(tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    with nats(tmp_path / "nats") as port:
        scene = Scene(tmp_path, port, protocol=Protocol.AUTO)
        for number in range(30):
            scene.put(number * 1000, value=number * 8)
        try:
            await scene.collect()
            assert any(event.text == "MQTT 3.1.1" for event in scene.events)
            scene.publish()
            await scene.emptied()
            assert scene.archived() == scene.chunks
            assert scene.gaps == []
        finally:
            for task in scene.tasks:
                task.cancel()
            await asyncio.gather(*scene.tasks, return_exceptions=True)
            scene.spool.close()


async def test_a_collector_ends_when_it_is_told_to_in_the_moment_in_which_its_connection_ends(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broker and collector are told to end at once, as by a shutdown of the machine."""
    may_end = asyncio.Event()

    async def end_both(self: Connection) -> AsyncIterator[Message]:
        await may_end.wait()
        scene.tasks[0].cancel()
        raise Unavailable("the connection to the broker ended")
        yield

    monkeypatch.setattr(Connection, "messages", end_both)
    await scene.collect()
    may_end.set()
    await asyncio.wait(scene.tasks, timeout=5)
    assert scene.tasks[0].cancelled()


async def test_chunks_that_are_put_while_it_runs_are_sent_at_once(scene: Scene) -> None:
    await scene.collect()
    scene.publish()
    await until(lambda: scene.state == "idle")
    scene.put()
    await scene.emptied()
    assert scene.archived() == scene.chunks


async def test_every_byte_was_reserved_and_is_settled(scene: Scene) -> None:
    assert isinstance(scene.ledger, MemoryLedger)
    for _ in range(20):
        scene.put(20_000)
    scene.put(20_000, value=0)
    await scene.collect()
    async with Proxy(scene.port) as proxy:
        publisher = scene.publish(proxy.port)
        await scene.emptied()
        await until(lambda: not scene.ledger.open and publisher.totals.wire_bytes > 0)  # type: ignore[union-attr]
        assert scene.ledger.overdrawn == 0
        assert scene.ledger.spent == publisher.totals.wire_bytes > proxy.carried > 21 * 20_000
        assert scene.ledger.kinds["events"] >= 20 * 20_000
        assert scene.ledger.kinds["screens"] >= 20_000


async def test_without_a_network_nothing_is_tried_and_waking_it_starts(scene: Scene) -> None:
    scene.permit = Permit(Link.OFFLINE)
    scene.put()
    await scene.collect()
    publisher = scene.publish()
    await asyncio.sleep(0.4)
    assert scene.state == "offline"
    assert isinstance(scene.ledger, MemoryLedger)
    assert scene.ledger.spent == 0
    scene.permit = Permit(Link.METERED)
    publisher.wake()
    await scene.emptied()


async def test_a_permission_that_ends_cuts_what_is_being_sent(scene: Scene) -> None:
    scene.put(3_000_000)
    await scene.collect()
    async with Proxy(scene.port) as proxy:
        proxy.rate_bytes_s = 1_000_000
        publisher = scene.publish(proxy.port)
        await until(lambda: proxy.carried > 100_000)
        scene.permit = Permit(Link.OFFLINE)
        publisher.wake()
        await until(lambda: scene.state == "offline", 5)
        assert proxy.carried < 1_500_000
        proxy.rate_bytes_s = None
        scene.permit = Permit(Link.UNMETERED)
        publisher.wake()
        await scene.emptied()
    assert scene.archived() == scene.chunks


async def test_only_what_is_worth_enough_is_sent(scene: Scene) -> None:
    events, screens = scene.put(value=200), scene.put(value=0)
    scene.permit = Permit(Link.METERED, min_value=1)
    await scene.collect()
    publisher = scene.publish()
    await until(lambda: scene.spool.usage().chunks == 1 and scene.state == "idle")
    assert list(scene.archive.iterate()) == [events]
    scene.permit = Permit(Link.UNMETERED)
    publisher.wake()
    await scene.emptied()
    assert screens in scene.archived()


async def test_a_held_back_chunk_waits_for_its_moment_and_can_be_forgotten(scene: Scene) -> None:
    soon = time.time_ns() + 700_000_000
    kept, erased = scene.put(ready_wall_ns=soon), scene.put(ready_wall_ns=soon)
    await scene.collect()
    scene.publish()
    await until(lambda: scene.state == "held")
    scene.spool.forget([erased])
    assert time.time_ns() < soon
    assert list(scene.archive.iterate()) == []
    await scene.emptied()
    assert time.time_ns() >= soon
    assert list(scene.archive.iterate()) == [kept]


async def test_the_budget_is_never_exceeded_and_the_rest_waits(scene: Scene, tmp_path: Path) -> None:
    limit = 300_000
    clock = {"wall_ns": time.time_ns(), "mono_ns": time.monotonic_ns()}
    scene.ledger = Ledger(RealFiles(), tmp_path / "ledger", Limits(day_bytes=limit), **clock)
    for _ in range(30):
        scene.put(20_000)
    await scene.collect()
    async with Proxy(scene.port) as proxy:
        publisher = scene.publish(proxy.port)
        await until(lambda: scene.state == "over budget")
        assert scene.progress[-1].retry_wall_ns > time.time_ns()
        assert any("day" in reason for reason in scene.progress[-1].reasons)
        assert proxy.carried < publisher.totals.wire_bytes <= limit
        usage = scene.ledger.usage(**clock)
        assert usage.day_used == publisher.totals.wire_bytes
        assert usage.reserved == 0
        assert len(list(scene.archive.iterate())) >= 8  # and it is used, not just kept
        assert scene.spool.usage().chunks >= 15


async def test_a_connection_that_costs_more_than_reserved_is_cut(scene: Scene) -> None:
    """The link loses nothing here, so the ledger lies: it grants the first lease and no extension."""
    scene.put(3_000_000)
    await scene.collect()
    async with Proxy(scene.port) as proxy:
        proxy.rate_bytes_s = 2_000_000
        publisher = scene.publish(proxy.port)
        await until(lambda: scene.state == "sending" and proxy.carried > 100_000)
        ledger = scene.ledger
        assert isinstance(ledger, MemoryLedger)
        ledger.limit_bytes = 0
        publisher._parts.totals.loss_ratio = 0.0
        account = next(
            frame.f_locals["self"]._account
            for task in asyncio.all_tasks()
            if task.get_name() == "watch the count"
            for frame in task.get_stack()
        )
        account.meter.settled -= 2_900_000  # as if the path had retransmitted so much
        carried = proxy.carried
        await until(lambda: scene.state in ("over budget", "backing off"))
        assert proxy.carried - carried < 600_000
        assert scene.spool.usage().chunks == 1


async def test_waiting_for_a_broker_that_has_everything_needs_no_look_at_the_count(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put(20_000)
    await scene.collect()
    async with Proxy(scene.port) as proxy:
        scene.publish(proxy.port)
        await scene.emptied()
        looks = 0
        observe = Meter.observe

        def look(meter: Meter, used_bytes: int, exposure_bytes: int | None = None) -> None:
            nonlocal looks
            looks += 1
            observe(meter, used_bytes, exposure_bytes)

        monkeypatch.setattr(Meter, "observe", look)
        proxy.passing = False  # TCP goes on acknowledging; the broker hears and says nothing
        scene.put(20_000)
        await until(lambda: scene.progress[-1].in_flight == 1)
        await asyncio.sleep(0.2)
        before = looks
        await asyncio.sleep(1.0)
        assert looks - before <= 2, f"{looks - before} looks at a count that cannot rise"
        proxy.cut()
        proxy.passing = True
        await scene.emptied()


async def test_without_a_collector_little_is_spent(scene: Scene) -> None:
    for _ in range(10):
        scene.put(50_000)
    publisher = scene.publish()
    await until(lambda: scene.state == "backing off")
    assert "no collector listens at the broker" in scene.progress[-1].reasons
    assert publisher.totals.sent_chunks <= 10
    assert publisher.totals.wire_bytes < 600_000
    await scene.collect()
    await scene.emptied()
    assert scene.archived() == scene.chunks


async def test_a_silent_collector_is_asked_ever_more_rarely_and_sent_nothing(scene: Scene) -> None:
    """On MQTT 3.1.1 the broker does not say that nobody listens."""
    scene.protocol = Protocol.V311
    scene.settings = replace(scene.settings, broker=replace(scene.settings.broker, protocol=Protocol.V311))
    scene.put()
    publisher = scene.publish()
    await asyncio.sleep(3.0)
    assert 2 <= publisher._parts.doubts.unanswered <= 4
    assert publisher.totals.sent_chunks == 0
    await scene.collect()
    await scene.emptied()
    assert publisher.totals.sent_chunks == 1


async def test_idle_means_no_connection_and_no_wakeups(scene: Scene) -> None:
    scene.put()
    collector = await scene.collect()
    async with Proxy(scene.port) as proxy:
        scene.publish(proxy.port)
        await scene.emptied()
        await until(lambda: not proxy._writers)
        scene.tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await scene.tasks[0]
        assert collector.counters["archived"] == 1
        loop = asyncio.get_running_loop()
        woken = 0
        original = loop._run_once  # type: ignore[attr-defined]

        def counting() -> None:
            nonlocal woken
            woken += 1
            original()

        loop._run_once = counting  # type: ignore[attr-defined]
        await asyncio.sleep(3)
        loop._run_once = original  # type: ignore[attr-defined]
        assert woken <= 3


@pytest.mark.parametrize("forged", ["digest", "epoch", "device", "garbage", "nack"])
async def test_a_forged_answer_frees_nothing(scene: Scene, forged: str) -> None:
    scene.put()
    (chunk_id,), (chunk,) = scene.chunks.keys(), scene.chunks.values()
    good = digest_of(chunk)
    payload = {
        "digest": pack_answer(Answer(chunk_id.epoch, ((0, b"another!"),))),
        "epoch": pack_answer(Answer(chunk_id.epoch ^ 1, ((0, good),))),
        "device": pack_answer(Answer(chunk_id.epoch, ((0, good),))),
        "garbage": b"\xff" * 100,
        "nack": pack_answer(Answer(0, (), (Nack(b"another!", NackCode.ERASED),))),
    }[forged]
    topic = ack_topic("dev-2" if forged == "device" else DEVICE)
    async with Dialer(Broker("127.0.0.1", scene.port, "forger")).connect() as forger:
        await forger.subscribe(up_topic(DEVICE), qos=1)
        scene.publish()
        await until(lambda: forger.waiting() > 0)
        await forger.publish(topic, payload)
        await asyncio.sleep(0.2)
        assert scene.spool.read(chunk_id) == chunk
        await forger.publish(ack_topic(DEVICE), pack_answer(Answer(chunk_id.epoch, ((0, good),))))
        await until(lambda: scene.spool.usage().chunks == 0)


async def test_a_device_that_knows_the_collectors_key_believes_nobody_else(scene: Scene) -> None:
    """The forger knows everything but the key: what the broker's owner could do."""
    key = DeviceSigningKey.generate()
    scene.settings = replace(scene.settings, answer_keys=(key.public,))
    chunk_id = scene.put()
    digest = digest_of(scene.chunks[chunk_id])
    async with Dialer(Broker("127.0.0.1", scene.port, "broker-owner")).connect() as forger:
        await forger.subscribe(up_topic(DEVICE), qos=1)
        publisher = scene.publish()
        await until(lambda: forger.waiting() > 0)
        acked = pack_answer(Answer(chunk_id.epoch, ((chunk_id.seq, digest),)))
        refused = pack_answer(Answer(0, (), (Nack(digest, NackCode.MALFORMED),)))
        own = DeviceSigningKey.generate()
        forged = [acked, refused, sign_answer(acked, DEVICE, own), sign_answer(acked, "dev-2", key)]
        for payload in forged:
            await forger.publish(ack_topic(DEVICE), payload)
        await until(lambda: publisher.totals.forged_answers == len(forged))
        assert scene.spool.read(chunk_id) == scene.chunks[chunk_id]
    assert scene.gaps == []
    collector = await scene.collect()
    collector.settings = replace(collector.settings, answer_key=key)
    await scene.emptied()
    assert scene.archived() == scene.chunks


async def test_an_answer_to_an_earlier_run_is_understood(scene: Scene) -> None:
    """The chunk was sent before a restart: the session does not know it, the spool does."""
    chunk_id = scene.put()
    other, third = scene.put(50), scene.put(60)
    async with Dialer(Broker("127.0.0.1", scene.port, "forger")).connect() as collector:
        await collector.subscribe(up_topic(DEVICE), qos=1)
        scene.permit = Permit(Link.UNMETERED)
        scene.settings = replace(scene.settings, session=SessionLimits(window=1, answer_min_s=5))
        scene.publish()
        await until(lambda: collector.waiting() > 0)
        forged = Answer(third.epoch, ((third.seq, b"another!"),))
        await collector.publish(ack_topic(DEVICE), pack_answer(forged))
        answer = Answer(chunk_id.epoch, ((other.seq, digest_of(scene.chunks[other])),))
        await collector.publish(ack_topic(DEVICE), pack_answer(answer))
        await until(lambda: scene.spool.usage().chunks == 2)
        assert scene.spool.read(other) is None
        assert scene.spool.read(chunk_id) is not None
        assert scene.spool.read(third) is not None


async def test_other_credentials_are_used_from_the_next_connection_on_and_an_open_one_is_not_cut(scene: Scene) -> None:
    scene.settings = replace(scene.settings, linger_s=1.0)
    await scene.collect()
    publisher = scene.publish()
    scene.put(1000)
    await scene.emptied()
    log = scene.folder / "mosquitto.log"
    publisher.use(replace(publisher.settings.broker, client_id="dev-1-new"), ())
    scene.put(1000)
    await scene.emptied()
    assert "dev-1-new" not in log.read_text()
    await until(lambda: "Client dev-1 disconnected" in log.read_text() or "Client dev-1 closed" in log.read_text())
    scene.put(1000)
    await scene.emptied()
    assert log.read_text().count(" as dev-1 ") == 1
    assert " as dev-1-new " in log.read_text()


async def test_a_back_off_ends_with_other_credentials(scene: Scene) -> None:
    """What was refused with the old ones may be let in with the new ones at once."""
    scene.settings = replace(scene.settings, reconnect_base_s=1e9, reconnect_cap_s=1e9)
    await scene.collect()
    publisher = scene.publish(port=9)
    scene.put(1000)
    await until(lambda: scene.state == "backing off")
    publisher.use(replace(publisher.settings.broker, port=scene.port), ())
    await scene.emptied()
    assert len(scene.archived()) == 1


async def test_an_attempt_during_which_the_credentials_change_is_charged_and_followed_by_the_next(scene: Scene) -> None:
    scene.settings = replace(scene.settings, linger_s=60.0, reconnect_base_s=1e9, reconnect_cap_s=1e9)
    await scene.collect()
    asked, over = asyncio.Event(), asyncio.Event()

    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(dawdle, "127.0.0.1", 0)
    publisher = scene.publish(port=server.sockets[0].getsockname()[1])
    scene.put(1000)
    await asyncio.wait_for(asked.wait(), 20)
    publisher.use(replace(publisher.settings.broker, port=scene.port), ())
    over.set()
    await scene.emptied()
    server.close()
    assert isinstance(scene.ledger, MemoryLedger)
    assert scene.ledger.spent > 0  # the second connection is open still


@pytest.mark.parametrize("code", [NackCode.TOO_LARGE, NackCode.BAD_SIGNATURE, NackCode.ERASED, NackCode.MALFORMED])
async def test_a_refused_chunk_is_given_up_with_its_reason(scene: Scene, code: NackCode) -> None:
    bad, good = scene.put(111), scene.put(222)
    await scene.collect(check=lambda device, chunk: code if chunk == scene.chunks[bad] else None)
    scene.publish()
    await scene.emptied()
    await until(lambda: bool(scene.gaps))  # told after the spool has been emptied
    assert [(gap.chunk_id, gap.reason) for gap in scene.gaps] == [
        (bad, f"refused: {code.name.lower().replace('_', ' ')}")
    ]
    assert list(scene.archive.iterate()) == [good]
    kept = list((scene.folder / "archive" / ".quarantine").iterdir())
    assert len(kept) == (0 if code is NackCode.ERASED else 1)


@pytest.mark.parametrize("code", [NackCode.UNKNOWN_KEY, NackCode.REVOKED])
async def test_a_device_that_is_not_known_keeps_everything_and_one_chunk_asks_for_all(
    scene: Scene, code: NackCode
) -> None:
    for _ in range(20):
        scene.put(500)
    known = False
    collector = await scene.collect(check=lambda device, chunk: None if known else code)
    collector.intake.unknown_s = 1
    publisher = scene.publish()
    await until(lambda: bool(scene.progress) and scene.progress[-1].in_flight == 0 and bool(scene.progress[-1].reasons))
    assert "the archive" in scene.progress[-1].reasons[0]
    at_first = publisher.totals.sent_chunks
    assert at_first <= SessionLimits().window
    await until(lambda: publisher.totals.sent_chunks >= at_first + 2)
    assert collector.counters["refused"] >= at_first + 1  # the second was sent when the first was answered
    assert scene.gaps == []
    assert scene.spool.usage().chunks == 20
    assert list((scene.folder / "archive" / ".quarantine").iterdir()) == []
    known = True
    await scene.emptied()
    assert scene.archived() == scene.chunks
    assert scene.gaps == []


async def test_a_payload_over_which_the_check_stumbles_ends_nothing(scene: Scene) -> None:
    """Poison: whatever it raises, the collector goes on, and the chunk is asked for again later."""
    bad, good = scene.put(111), scene.put(222)
    stumbles = True

    def check(device: str, chunk: bytes) -> NackCode | None:
        if stumbles and chunk == scene.chunks[bad]:
            raise RecursionError("a defect of ours")
        return None

    collector = await scene.collect(check=check)
    collector.intake.later_s = 1
    scene.publish()
    await until(lambda: good in scene.archived() and collector.counters.get("stumbled", 0) >= 1)
    assert "RecursionError" in next(event.text for event in scene.events if event.kind == "failed")
    stumbles = False
    await scene.emptied()
    assert scene.archived() == scene.chunks
    assert scene.gaps == []


async def test_payloads_of_other_kinds_go_to_their_handler_in_order_and_are_answered(scene: Scene) -> None:
    """What a handler does comes after the chunks before it and before those after it."""
    seen: list[tuple[str, bytes, int]] = []

    def handler(device: str, payload: bytes) -> Reply:
        seen.append((device, payload, len(list(scene.archive.iterate()))))
        if payload.endswith(b"no"):
            return Reply("refused", "not yours", NackCode.BAD_SIGNATURE)
        if payload.endswith(b"bug"):
            raise KeyError("bug")
        if payload.endswith(b"bad"):
            raise Corrupt("no such thing")
        return Reply("ordered", "done")

    collector = await scene.collect(handlers={b"TEST": handler})
    async with Dialer(Broker("127.0.0.1", scene.port, "device")).connect() as device:
        await device.subscribe(ack_topic(DEVICE), qos=0)
        first, second = (tiny_chunk(ChunkId(DEVICE, 1, number), b"x") for number in (1, 2))
        payloads = [first, b"TEST yes", second, b"TEST no", b"TEST bug", b"TEST bad", b"NONE of these"]
        for payload in payloads:
            await device.publish(up_topic(DEVICE), payload)
        answers: list[Answer] = []
        async for message in device.messages():
            answers.append(parse_answer(message.payload))
            if sum(len(answer.acks) + len(answer.nacks) + len(answer.done) for answer in answers) == len(payloads):
                break
    assert seen[0] == (DEVICE, b"TEST yes", 1)
    assert seen[1] == (DEVICE, b"TEST no", 2)
    assert [digest for answer in answers for digest in answer.done] == [digest_of(b"TEST yes")]
    codes = {nack.digest: nack.code for answer in answers for nack in answer.nacks}
    assert codes == {
        digest_of(b"TEST no"): NackCode.BAD_SIGNATURE,
        digest_of(b"TEST bug"): NackCode.LATER,
        digest_of(b"TEST bad"): NackCode.MALFORMED,
        digest_of(b"NONE of these"): NackCode.MALFORMED,
    }
    assert collector.counters["ordered"] == collector.counters["stumbled"] == 1


async def test_an_archive_that_cannot_take_it_is_tried_again_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put()
    put = scene.archive.put
    failing = True

    def sometimes(chunks: list[tuple[ChunkId, bytes]]) -> list[object]:
        if failing:
            raise StorageFailed("no space", "/archive", disk_full=True)
        return put(chunks)  # type: ignore[return-value]

    monkeypatch.setattr(scene.archive, "put", sometimes)
    collector = await scene.collect()
    collector.intake.later_s, collector.intake.hold_s = 1, 0.2
    scene.publish()
    await until(lambda: any(event.kind == "failed" for event in scene.events))
    assert scene.spool.usage().chunks == 1
    failing = False
    await scene.emptied()
    assert scene.archived() == scene.chunks
    assert scene.gaps == []


async def test_a_chunk_that_rots_in_the_spool_is_a_loss_and_the_rest_goes_on(scene: Scene) -> None:
    rotten, sound = scene.put(5000), scene.put(100)
    (segment,) = (scene.folder / "spool").glob("*.seg")
    with segment.open("r+b") as file:
        file.seek(4096 + 96 + 2500)
        file.write(b"rot")
    await scene.collect()
    scene.publish()
    await scene.emptied()
    await until(lambda: bool(scene.gaps))
    assert [(gap.chunk_id, gap.reason) for gap in scene.gaps] == [(rotten, "damaged")]
    assert list(scene.archive.iterate()) == [sound]


async def test_hostile_messages_are_refused_quarantined_and_change_nothing(scene: Scene) -> None:
    collector = await scene.collect()
    foreign = tiny_chunk(ChunkId("dev-2", 1, 1), b"x")
    good = tiny_chunk(ChunkId(DEVICE, 1, 1), b"good")
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    async with Dialer(Broker("127.0.0.1", scene.port, "attacker")).connect() as attacker:
        await attacker.subscribe(ack_topic(DEVICE), qos=0)
        for payload in (b"", b"x", bytes(100_000), foreign, flipped, good[:30]):
            await attacker.publish(up_topic(DEVICE), payload)
        await attacker.publish("modicum/v1/UPPER/up", good)
        await attacker.publish(up_topic(DEVICE), bytes(8 * 1024 * 1024 + 1))
        await attacker.publish(up_topic(DEVICE), good, qos=0)
        await until(lambda: collector.counters.get("archived", 0) == 1)
        await until(lambda: collector.counters.get("refused", 0) == 8)
        await attacker.publish(up_topic(DEVICE), tiny_chunk(ChunkId(DEVICE, 1, 1), b"other"))
        await until(lambda: collector.counters.get("refused", 0) == 9)
        await attacker.publish(up_topic(DEVICE), good)
        await until(lambda: collector.counters.get("duplicate", 0) == 1)
    assert scene.archived() == {ChunkId(DEVICE, 1, 1): good}
    whys = {event.text for event in scene.events if event.kind == "refused"}
    assert "a chunk of dev-2 came on the topic of dev-1" in whys
    assert "the archive holds something else under this id" in whys
    assert collector.counters["quarantined"] == 9


async def test_a_flood_stays_within_the_queue(scene: Scene) -> None:
    """The archive is slow: the collector stops reading, and memory does not follow the flood."""
    put = scene.archive.put
    most = 0

    def slow(chunks: list[tuple[ChunkId, bytes]]) -> list[object]:
        nonlocal most
        most = max(most, sum(len(data) for _, data in chunks))
        time.sleep(0.05)
        return put(chunks)  # type: ignore[return-value]

    scene.archive.put = slow  # type: ignore[method-assign, assignment]
    collector = await scene.collect()
    async with Dialer(Broker("127.0.0.1", scene.port, "flood")).connect() as flood:
        for number in range(150):
            chunk = tiny_chunk(ChunkId(DEVICE, 7, number), bytes(200_000))
            await flood.publish(up_topic(DEVICE), chunk, qos=number % 2)
        sent = {event.chunk_id for event in scene.events}
        assert len(sent) < 160
        await until(lambda: collector.counters.get("archived", 0) >= 75, 30)
    assert most <= (16 << 20) + 400_000


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(180)
async def test_through_partitions_cuts_and_slow_links_everything_arrives_once(scene: Scene, seed: int) -> None:
    rng = random.Random(seed)
    broker = replace(scene.settings.broker, answer_timeout_s=0.8, min_rate_bytes_s=200_000)
    scene.settings = replace(scene.settings, broker=broker)
    await scene.collect()
    async with Proxy(scene.port) as proxy:
        publisher = scene.publish(proxy.port)
        for _ in range(25):
            for _ in range(rng.randint(0, 8)):
                scene.put(rng.choice([200, 2_000, 30_000]), value=rng.choice([0, 100, 200]))
            trouble = rng.choice(["none", "none", "partition", "cut", "slow"])
            if trouble == "partition":
                proxy.passing = False
            elif trouble == "cut":
                proxy.cut()
            proxy.rate_bytes_s = 300_000 if trouble == "slow" else None
            await asyncio.sleep(rng.uniform(0.05, 0.6))
            proxy.passing = True
            if trouble == "partition":
                proxy.cut()  # what vanished in between would leave the stream with a hole
        proxy.rate_bytes_s = None
        await until(lambda: scene.spool.usage().chunks == 0, 90)
    assert scene.archived() == scene.chunks
    assert scene.gaps == []
    ledger = scene.ledger
    assert isinstance(ledger, MemoryLedger)
    await until(lambda: not ledger.open)
    assert ledger.overdrawn == 0
    assert proxy.carried < ledger.spent == publisher.totals.wire_bytes
