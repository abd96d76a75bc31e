"""A device asks for its renewal over a real broker, inside the budget; and believes only a certificate that is its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import pytest

from codec.seal import ArchivePrivateKey, DeviceSigningKey
from tests.transport.kit import MemoryLedger, mosquitto, until
from tests.transport.test_enrolment import AUTHORITY, CSR
from transport.account import Account
from transport.authority import Purpose, new_key, requested_key
from transport.desk import Desk
from transport.endpoint import Broker
from transport.enrolment import (
    ASK_FILTER,
    OF_AUTHORITY,
    BadEnrolment,
    Reply,
    Request,
    join_reply,
    name_of,
    pack_reply,
    pack_request,
    parse_request,
    topic_of,
)
from transport.errors import QuotaExceeded, Unavailable
from transport.fs import RealFiles
from transport.joining import PACKET_BYTES, _watch, ask_within, check_reply
from transport.limits import Link
from transport.mqtt import Dialer
from transport.registrar import Offer, Registrar
from transport.registry import Registry
from transport.tariff import Tariff
from transport.wire import Path, TcpInfo

pytestmark = pytest.mark.broker

T = TypeVar("T")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with mosquitto(tmp_path_factory.mktemp("mosquitto")) as port:
        yield port


async def disk(work: Callable[[], T], /) -> T:
    return work()


class Scene:
    """A device that is enrolled, its budget, and what it asks."""

    def __init__(self, folder: pathlib.Path, port: int) -> None:
        self.broker = Broker("127.0.0.1", port, "")
        self.ledger = MemoryLedger()
        self.link = Link.METERED
        self.begun = 0
        self.signer = DeviceSigningKey.generate()
        registry = Registry(RealFiles(), folder / "devices")
        self.registrar = Registrar(RealFiles(), registry, AUTHORITY, Offer("localhost", 8883, True))
        by_hand = Request("dev-1", self.signer.public, 5, bytes(16))
        self.registrar.accept(pack_request(by_hand, self.signer, None), ArchivePrivateKey.generate().public)

    def request(self) -> bytes:
        asked = Request("dev-1", self.signer.public, int(time.time()), os.urandom(16), CSR, self.signer.key_id)
        return pack_request(asked, self.signer, self.signer)

    async def ask(self, request: bytes, *, wait_s: float = 20.0) -> tuple[bytes, int]:
        def begun() -> None:
            assert self.ledger.open, "nothing is reserved"
            self.begun += 1

        return await ask_within(
            self.broker, request, self.ledger, link=lambda: self.link, disk=disk, clock_ns=time.monotonic_ns, reserved=begun,
            wait_s=wait_s,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def desk(self) -> AsyncIterator[Desk]:
        events: list[str] = []
        desk = Desk(replace(self.broker, client_id="desk"), self.registrar, lambda event: events.append(event.kind))
        task = asyncio.create_task(desk.run())
        await until(lambda: "connected" in events)
        try:
            yield desk
        finally:
            task.cancel()
            await asyncio.wait({task})

    @contextlib.asynccontextmanager
    async def stranger(self, payloads: Callable[[bytes], list[bytes]]) -> AsyncIterator[None]:
        """Answer requests as somebody else would. payloads: what is said to one, one after another."""
        async with Dialer(replace(self.broker, client_id="stranger")).connect() as connection:
            await connection.subscribe(ASK_FILTER, qos=1)

            async def answer() -> None:
                async for message in connection.messages():
                    for payload in payloads(message.payload):
                        await connection.publish(topic_of(message.payload, "told"), payload)

            task = asyncio.create_task(answer())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait({task})


@pytest.fixture
def scene(tmp_path: pathlib.Path, port: int) -> Scene:
    return Scene(tmp_path, port)


async def test_a_renewal_is_reserved_before_and_settled_by_the_kernels_count_after(scene: Scene) -> None:
    request = scene.request()
    async with scene.desk():
        answer, wire_bytes = await scene.ask(request)
    reply = check_reply(request, answer, authority=AUTHORITY.certificate)
    assert reply.certificate
    assert scene.begun == 1
    assert scene.ledger.open == {}
    assert scene.ledger.overdrawn == 0
    assert scene.ledger.spent == wire_bytes
    assert len(request) + len(answer) < wire_bytes < len(request) + len(answer) + 3_000
    assert set(scene.ledger.kinds.values()) == {0}  # it is neither events nor screenshots


async def test_what_the_budget_does_not_admit_is_not_begun(scene: Scene) -> None:
    scene.ledger.limit_bytes = 10_000
    async with scene.desk() as desk:
        with pytest.raises(QuotaExceeded) as caught:
            await scene.ask(scene.request())
        assert caught.value.retry_wall_ns > time.time_ns()
        assert (scene.begun, scene.ledger.spent, scene.ledger.open) == (0, 0, {})
        assert desk.counters == {"connected": 1}


async def test_what_is_raised_before_it_leaves_costs_nothing(scene: Scene) -> None:
    def full() -> None:
        raise OSError("the disk is full")

    async with scene.desk() as desk:
        with pytest.raises(OSError, match="full"):
            await ask_within(
                scene.broker, scene.request(), scene.ledger, link=lambda: Link.METERED, disk=disk, clock_ns=time.monotonic_ns,
                reserved=full,
            )  # fmt: skip
        assert (scene.ledger.spent, scene.ledger.open) == (0, {})
        assert desk.counters == {"connected": 1}


async def test_where_nobody_answers_it_is_said_and_what_it_cost_is_charged(scene: Scene) -> None:
    with pytest.raises(Unavailable, match="nobody answers enrolments"):
        await scene.ask(scene.request())
    assert 0 < scene.ledger.spent < 5_000
    spent = scene.ledger.spent
    async with scene.stranger(lambda request: []):  # hears it, and says nothing
        with pytest.raises(Unavailable, match="nobody answers enrolments"):
            await scene.ask(scene.request(), wait_s=1.0)
    assert scene.ledger.spent > spent
    scene.broker = replace(scene.broker, port=9)
    with pytest.raises(Unavailable):
        await scene.ask(scene.request())
    assert (scene.ledger.open, scene.ledger.overdrawn) == ({}, 0)


async def test_when_nothing_may_be_sent_any_more_it_is_cut(scene: Scene) -> None:
    def forbid(request: bytes) -> list[bytes]:
        scene.link = Link.OFFLINE
        return []

    async with scene.stranger(forbid):
        with pytest.raises(Unavailable, match="nothing may be sent any more"):
            await scene.ask(scene.request())


async def test_it_is_asked_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal that was granted is refused when it is asked for again, as a replay."""
    monkeypatch.setattr("transport.joining.AGAIN_S", 0.05)
    heard: list[bytes] = []

    def hear(request: bytes) -> list[bytes]:
        heard.append(request)
        return []

    async with scene.stranger(hear):
        with pytest.raises(Unavailable):
            await scene.ask(scene.request(), wait_s=1.0)
    assert len(heard) == 1


async def test_no_answer_is_taken_that_is_larger_than_any(scene: Scene) -> None:
    async with scene.stranger(lambda request: [bytes(100 * PACKET_BYTES)]):
        with pytest.raises(Unavailable):
            await scene.ask(scene.request(), wait_s=1.0)
    assert scene.ledger.spent < PACKET_BYTES
    assert scene.ledger.open == {}


class Wire:
    """A connection whose count goes up at each look, by what others send."""

    def __init__(self, step_bytes: int) -> None:
        self.step_bytes, self.received, self.ended = step_bytes, 0, ""
        self.held, self.handed = False, 0

    def tcp_info(self) -> TcpInfo | None:
        if self.ended:
            return None
        self.received += self.step_bytes
        return TcpInfo(500, self.received, 0, 0, 5, 5)

    def wire_bytes(self) -> int:
        return self.received

    def hold(self) -> None:
        self.held = True

    def hand_over(self, size_bytes: int) -> None:
        self.handed = max(self.handed, size_bytes)

    def abort(self, reason: str) -> None:
        self.ended = reason


@pytest.mark.parametrize("limit_bytes", [40_000, 200_000])
async def test_more_is_reserved_as_it_comes_and_the_connection_is_cut_before_the_budget_is_exceeded(
    limit_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.joining.WATCH_STEP_S", 0.0)
    ledger, wire = MemoryLedger(limit_bytes), Wire(1_000)
    account = Account(ledger, disk, time.monotonic_ns)
    await account.reserve(10_000, link=Link.METERED, value=200)
    tariff = Tariff(40, Path(ipv6=True), True, 0.0)
    await asyncio.wait_for(_watch(account, wire, tariff, lambda: Link.METERED), 10)  # type: ignore[arg-type]
    assert "used up" in wire.ended
    assert wire.held
    assert wire.handed < limit_bytes
    assert limit_bytes - 10_000 < wire.received <= limit_bytes
    await account.close(wire, 0)  # type: ignore[arg-type]
    assert (ledger.spent, ledger.overdrawn) == (wire.received, 0)


def answered(request: bytes, certificate: bytes) -> bytes:
    """Return an answer that the authority signed, with a certificate that is not what was asked for."""
    body = pack_reply(Reply(parse_request(request).digest, authority=AUTHORITY.certificate, certificate=certificate))
    return join_reply(body, AUTHORITY.sign(OF_AUTHORITY + body))


def test_only_a_certificate_in_our_name_and_for_our_key_is_taken(scene: Scene) -> None:
    now_s, request = int(time.time()), scene.request()
    own = AUTHORITY.issue("dev-1", requested_key(CSR), Purpose.CLIENT, now_s).pem
    assert check_reply(request, answered(request, own), authority=AUTHORITY.certificate).certificate == own
    others = (
        AUTHORITY.issue("dev-2", requested_key(CSR), Purpose.CLIENT, now_s).pem,
        AUTHORITY.issue("dev-1", new_key()[1], Purpose.CLIENT, now_s).pem,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        own[:200],
    )
    for certificate in others:
        with pytest.raises(BadEnrolment, match="certificate"):
            check_reply(request, answered(request, certificate), authority=AUTHORITY.certificate)


def test_the_name_under_which_it_is_asked_tells_nothing_of_the_device(scene: Scene) -> None:
    assert name_of(scene.request()) != name_of(scene.request())
