"""Shell: a device asks to be let in over the broker, and takes the answer.

The broker is not trusted for this: it may be reached without knowing its certificate (`Tls.anyone`), since question and answer
are signed by those whom they concern, and hold no secret. Whoever sits between can only prevent the enrolment.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from transport.authority import BadCertificate, fingerprint, verifies
from transport.enrolment import PIN_BYTES, BadEnrolment, Reply, name_of, split_reply, topic_of
from transport.errors import Unavailable
from transport.mqtt import NO_SUBSCRIBER, Dialer

if TYPE_CHECKING:
    from transport.endpoint import Broker

WAIT_S = 60.0
AGAIN_S = 10.0
"""The question is asked again after so long without an answer; it is the same one, and gets the same answer."""


async def ask(broker: Broker, request: bytes, *, wait_s: float = WAIT_S) -> bytes:
    """Send a request; return the answer, unchecked.

    Args:
        broker: where; its client id is replaced by the request's name. request: packed. wait_s: for how long.

    Raises:
        Unavailable: nobody answers. Refused: the broker will not have us.
    """
    silent = Unavailable(
        f"nobody answers enrolments at {broker.host}:{broker.port}: the token may be unknown there, or `modicum enrolment` "
        "does not run"
    )
    try:
        async with asyncio.timeout(wait_s), Dialer(replace(broker, client_id=name_of(request))).connect() as connection:
            await connection.subscribe(topic_of(request, "told"), qos=1)
            messages = connection.messages()
            while True:
                if await connection.publish(topic_of(request, "ask"), request) == NO_SUBSCRIBER:
                    raise silent
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S):
                        async for message in messages:
                            if message.topic == topic_of(request, "told"):
                                return message.payload
                messages = connection.messages()
    except TimeoutError:
        raise silent from None


def check_reply(request: bytes, answer: bytes, *, pin: bytes = b"", authority: bytes = b"") -> Reply:
    """Return an answer once it is sure that it is the fleet's, and to this very request.

    Args:
        request: packed. answer: as it came.
        pin: how the authority's certificate's SHA-256 begins (16 bytes or more). authority: or the certificate itself, PEM.

    Raises:
        BadEnrolment: it is damaged, forged, to another request, or a refusal.
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
    return reply
