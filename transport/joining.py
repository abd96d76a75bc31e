"""Shell: a device asks over the broker to be let in, or for its renewal, and looks whether the answer is the fleet's.

The broker is not trusted for this: it may be reached without knowing its certificate (`Tls.anyone`), since question and answer
are signed by those whom they concern, and hold no secret. Whoever sits between can only prevent the enrolment.

A person who runs a command pays no attention to 8 kB; what a device asks by itself is inside the budget (`ask_within`): reserved
before, settled by the kernel's count after, and cut when it would cost more than the budget has.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from transport import wire
from transport.account import EVENTS_VALUE, Account
from transport.authority import BadCertificate, belongs, fingerprint, requested_key, verifies
from transport.enrolment import (
    MAX_MESSAGE_BYTES,
    PIN_BYTES,
    BadEnrolment,
    Reply,
    name_of,
    parse_request,
    split_reply,
    topic_of,
)
from transport.errors import TransportError, Unavailable
from transport.limits import Link
from transport.mqtt import NO_SUBSCRIBER, Connection, Dialer
from transport.tariff import Tariff
from transport.wire import Path

if TYPE_CHECKING:
    from transport.account import Disk, Ledger
    from transport.endpoint import Broker

WAIT_S = 60.0
AGAIN_S = 10.0
"""The question is asked again after so long without an answer; it is the same one, and gets the same answer."""

ANSWER_BYTES = 4_096
"""What an answer is reckoned with: two certificates and the largest archive key are 3 kB. A longer one is reserved for as it comes."""

PACKET_BYTES = MAX_MESSAGE_BYTES + 1_024
"""No larger packet is taken."""

ANSWER_S = 30.0
"""A device that asks by itself waits so long, and asks once: a renewal that was granted is not granted again."""

WATCH_STEP_S = 0.1
"""Meanwhile the wire's count is looked at this often."""


async def ask(broker: Broker, request: bytes, *, wait_s: float = WAIT_S) -> bytes:
    """Send a request; return the answer, unchecked.

    Args:
        broker: where; its client id is replaced by the request's name. request: packed. wait_s: for how long.

    Raises:
        Unavailable: nobody answers. Refused: the broker will not have us.
    """
    try:
        async with asyncio.timeout(wait_s), Dialer(replace(broker, client_id=name_of(request))).connect() as connection:
            return await _answer(broker, connection, request, again_s=AGAIN_S)
    except TimeoutError:
        raise _silent(broker) from None


async def ask_within(
    broker: Broker,
    request: bytes,
    ledger: Ledger,
    *,
    link: Callable[[], Link],
    disk: Disk,
    clock_ns: Callable[[], int],
    reserved: Callable[[], None],
    wait_s: float = ANSWER_S,
) -> tuple[bytes, int]:
    """Send a request, once, inside the budget.

    Args:
        broker, request: see `ask`. ledger: the budget. disk: runs the ledger's work.
        link: returns what it goes over; OFFLINE, also meanwhile: nothing may be sent.
        clock_ns: the clock that the ledger was opened with. wait_s: for how long.
        reserved: called when the budget has granted it, and nothing was sent yet; what it raises ends it.

    Returns:
        The answer, unchecked, and what it cost, bytes on the wire.

    Raises:
        QuotaExceeded: the budget does not admit it; nothing was sent. Unavailable, Refused: see `ask`.
    """
    broker = replace(
        broker, client_id=name_of(request), max_packet_bytes=PACKET_BYTES, queue_bytes=PACKET_BYTES, receive_maximum=1
    )
    account, dialer = Account(ledger, disk, clock_ns), Dialer(broker)
    tariff = Tariff(len(topic_of(request, "ask")), Path(tls=broker.tls is not None, ipv6=True), True, 0.0)
    bound = broker.connect_bound + tariff.chunk(len(request)) + wire.sent_bound(ANSWER_BYTES, tariff.path)
    await account.reserve(bound, link=link(), value=EVENTS_VALUE)
    connection: Connection | None = None
    try:
        reserved()
        async with asyncio.timeout(wait_s), dialer.connect() as connection:
            watching = asyncio.create_task(_watch(account, connection, tariff, link), name="watch the count")
            try:
                answer = await _answer(broker, connection, request, again_s=None)
            finally:
                watching.cancel()
                await asyncio.wait({watching})
    except TimeoutError:
        raise _silent(broker) from None
    finally:
        await account.close(connection, dialer.failed_bytes)
    return answer, account.meter.used


async def _answer(broker: Broker, connection: Connection, request: bytes, *, again_s: float | None) -> bytes:
    """Return the answer, waiting for ever. again_s: ask again after so long; None: never."""
    await connection.subscribe(topic_of(request, "told"), qos=1)
    while True:
        messages = connection.messages()
        if await connection.publish(topic_of(request, "ask"), request) == NO_SUBSCRIBER:
            raise _silent(broker)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(again_s):
                async for message in messages:
                    if message.topic == topic_of(request, "told"):
                        return message.payload


async def _watch(account: Account, connection: Connection, tariff: Tariff, link: Callable[[], Link]) -> None:
    """Keep what is reserved ahead of the wire's count, and hand over what it covers; cut the connection when that, or sending at
    all, is not possible any more."""
    connection.hold()
    while (info := connection.tcp_info()) is not None:
        if link() is Link.OFFLINE:
            connection.abort("nothing may be sent any more")
            return
        account.meter.observe(connection.wire_bytes() or 0, tariff.exposure(info))
        if account.meter.free < 0:
            try:
                await account.extend(link=link(), value=EVENTS_VALUE)
            except TransportError:  # the budget admits no more, or its disk takes nothing
                connection.abort("the reserved bytes are used up")
                return
        connection.hand_over(tariff.affordable(account.meter.free))
        await asyncio.sleep(WATCH_STEP_S)


def _silent(broker: Broker) -> Unavailable:
    return Unavailable(
        f"nobody answers enrolments at {broker.host}:{broker.port}: this device or its token may be unknown there, or "
        "`modicum enrolment` does not run"
    )


def check_reply(request: bytes, answer: bytes, *, pin: bytes = b"", authority: bytes = b"") -> Reply:
    """Return an answer once it is sure that it is the fleet's, and to this very request.

    Args:
        request: packed. answer: as it came.
        pin: how the authority's certificate's SHA-256 begins (16 bytes or more). authority: or the certificate itself, PEM.

    Raises:
        BadEnrolment: it is damaged, forged, to another request, a refusal, or its certificate is not this device's.
    """
    reply, signed, signature = split_reply(answer)
    try:
        known = fingerprint(reply.authority)
        pin = fingerprint(authority) if authority else pin
        if len(pin) < PIN_BYTES or known[: len(pin)] != pin or not verifies(reply.authority, signature, signed):
            raise BadEnrolment("the answer is not signed by the fleet's authority: somebody else has answered")
    except BadCertificate as error:
        raise BadEnrolment(f"the answer cannot be checked: {error}") from error
    if reply.asked != hashlib.sha256(request).digest():
        raise BadEnrolment("the answer is to another request: ask anew")
    if reply.refusal:
        raise BadEnrolment(f"not enrolled: {reply.refusal}")
    asked = parse_request(request).request
    try:
        sound = not reply.certificate or belongs(reply.certificate, asked.device, requested_key(asked.csr))
    except BadCertificate as error:
        raise BadEnrolment(f"the answer's certificate cannot be read: {error}") from error
    if not sound:
        raise BadEnrolment("the answer's certificate is for another device or key: tell whoever runs the archive")
    return reply
