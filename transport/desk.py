"""Shell: the enrolment desk: takes requests from the broker, has the registrar decide, publishes the answers.

It needs the fleet's authority and may write the registry, so it is a process of its own: collectors need neither. One is
enough; while none runs, devices wait, and nothing else does. Memory is bounded by the connection's queue; what comes faster
than the registrar's rate is dropped and counted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transport.enrolment import ASK_FILTER, ENROL_TOPIC, name_of, topic_of
from transport.errors import TransportError, Unavailable
from transport.mqtt import Dialer
from transport.session import backoff_s

if TYPE_CHECKING:
    from transport.endpoint import Broker, Message
    from transport.mqtt import Connection
    from transport.registrar import Decided, Registrar

RECONNECT_BASE_S = 0.5
RECONNECT_CAP_S = 30.0


@dataclass(frozen=True, slots=True)
class DeskEvent:
    """Something to show. kind: of Decided, "connected", "disconnected", "failed". text: in words. device: whose."""

    kind: str
    text: str = ""
    device: str = ""


class Desk:
    """See the module. `run` works until it is cancelled."""

    def __init__(
        self,
        broker: Broker,
        registrar: Registrar,
        on_event: Callable[[DeskEvent], None],
        *,
        rng: random.Random | None = None,
    ) -> None:
        """Prepare. broker: where. registrar: who decides. on_event: told what happens. rng: draws the back-off."""
        self.counters: dict[str, int] = {}
        self._dialer = Dialer(broker)
        self._registrar = registrar
        self._on_event = on_event
        self._rng = rng or random.SystemRandom()

    async def run(self) -> None:
        """Answer until cancelled, connecting again whenever the connection ends.

        Raises:
            Refused: the broker will not have us; the configuration has to be mended.
        """
        attempt = 0
        with ThreadPoolExecutor(1, thread_name_prefix="registrar") as executor:
            while True:
                try:
                    async with self._dialer.connect(manual_ack=True) as connection:
                        await connection.subscribe(ASK_FILTER, qos=1)
                        self._tell(DeskEvent("connected"))
                        attempt = 0
                        async for message in connection.messages():
                            await self._serve(connection, message, executor)
                except Unavailable as error:
                    self._tell(DeskEvent("disconnected", str(error)))
                attempt += 1
                await asyncio.sleep(backoff_s(attempt, base_s=RECONNECT_BASE_S, cap_s=RECONNECT_CAP_S, rng=self._rng))

    async def _serve(self, connection: Connection, message: Message, executor: ThreadPoolExecutor) -> None:
        named = ENROL_TOPIC.fullmatch(message.topic)
        if named is None or named[1] != name_of(message.payload):
            self._tell(DeskEvent("dropped", "a request on a topic that is not its own"))
            connection.acknowledge(message)
            return
        loop = asyncio.get_running_loop()
        try:
            decided: Decided = await loop.run_in_executor(executor, self._registrar.answer, message.payload)
        except (TransportError, OSError) as error:  # the registry's disk: the device asks again
            self._tell(DeskEvent("failed", str(error)))
            connection.acknowledge(message)
            return
        self._tell(DeskEvent(decided.kind, decided.text, decided.device))
        if decided.reply:
            await connection.publish(topic_of(message.payload, "told"), decided.reply)
        connection.acknowledge(message)

    def _tell(self, event: DeskEvent) -> None:
        self.counters[event.kind] = self.counters.get(event.kind, 0) + 1
        self._on_event(event)
