"""Shell: one MQTT connection that tells the truth, over transport/mqtt_client.py, which says what it is not told by itself.

* `publish` returns the broker's reason code, raises `Refused` when it is a refusal, and raises `Unavailable` at once when
  the connection dies. (MQTT 3.1.1 has no reason codes: there a denial looks like success, which is one more reason why
  only the collector's own answer frees the spool.)
* A connection is used once. Nothing is sent but what the caller asked for, and pings.
* Messages wait in a bounded queue; when it is full, the socket is not read, so that TCP slows the sender down. Nothing is
  dropped, and a message of QoS 1 is acknowledged by `acknowledge`, not before.
* Idle means asleep: the next wake is the next keepalive.
* The broker's Receive Maximum and Maximum Packet Size are kept to; a larger incoming packet than ours ends the connection.
* `wire` counts bytes by the kernel's TCP_INFO, also after the close; `abort` closes by RST, which drops the send buffer.
* After `hold`, the kernel is handed only what `hand_over` admits: what is not covered by a lease cannot leave the machine.

MQTT 5 is tried first and 3.1.1 when the broker does not speak it. TLS is 1.3 and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from transport import sockets, wire
from transport.endpoint import Broker, Message, Protocol, Tls
from transport.errors import Refused, TooLarge, Unavailable
from transport.mqtt_client import FAILURE, Client, reason_name

__all__ = ["NO_SUBSCRIBER", "Broker", "Connection", "Dialer", "Message", "Protocol", "Tls"]

NO_SUBSCRIBER = 0x10
"""PUBACK's reason "No matching subscribers" (MQTT 5.0 §3.4.2.1): nobody will get this message."""

UNSUPPORTED_VERSION = {0x84, 1}
"""CONNACK's codes for it in MQTT 5 and 3.1.1."""

CLOSE_WAIT_S = 3.0


class Connection:
    """A connection that was made by `Dialer.connect`."""

    def __init__(self, client: Client, broker: Broker, spent_bytes: int) -> None:
        self._client = client
        self._spent_bytes = spent_bytes  # by attempts before this one
        self._broker = broker
        self._slots = asyncio.Semaphore(max(1, min(broker.in_flight, client.server_receive_maximum)))
        self.mqtt5 = client.mqtt5
        self.path = wire.Path(tls=broker.tls is not None, ipv6=client.ipv6)

    @property
    def alive(self) -> bool:
        """Tell whether it still stands, as far as one knows."""
        return not self._client.gone.done()

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, timeout_s: float | None = None) -> int:
        """Publish, and wait for the broker's acknowledgement (QoS 1).

        Args:
            timeout_s: by default as the payload's size and the broker's settings say.

        Returns:
            the reason code: 0, or NO_SUBSCRIBER.

        Raises:
            Refused: the broker said no. Unavailable: no answer. TooLarge: over the broker's Maximum Packet Size.
        """
        size = wire.publish_bytes(len(topic.encode()), len(payload), mqtt5=self.mqtt5)
        if size > self._client.server_max_packet_bytes:
            raise TooLarge("a message to the broker", actual=size, limit=self._client.server_max_packet_bytes)
        if timeout_s is None:
            timeout_s = self._broker.answer_timeout_s + size / self._broker.min_rate_bytes_s
        try:
            async with self._slots if qos else contextlib.nullcontext(), asyncio.timeout(timeout_s):
                return await self._publish(topic, payload, qos)
        except TimeoutError:
            raise Unavailable(f"the broker did not acknowledge {size:,} bytes within {timeout_s:.0f} s") from None

    async def _publish(self, topic: str, payload: bytes, qos: int) -> int:
        if not self.alive:
            raise Unavailable(f"the connection to the broker ended: {self._client.gone.result()}")
        mid = self._client.send(topic, payload, qos)
        if qos == 0:
            return 0
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._client.pending[mid] = waiting
        if self._client.gone.done():  # while paho wrote: nobody would end the waiting
            self._client.lose(self._client.gone.result())
        try:
            code = await waiting
        finally:
            self._client.pending.pop(mid, None)
        if code >= FAILURE:
            name = reason_name(code)
            raise Refused(f"the broker refused a message to {topic}: {name}", reason_code=code, reason=name)
        return code

    async def subscribe(self, topic_filter: str, *, qos: int) -> None:
        """Subscribe. That a broker grants it does not prove that it will deliver: some grant all and filter later.

        Raises:
            Refused: the broker said no. Unavailable: no answer.
        """
        for code in await self._client.ask_for(topic_filter, qos):
            if code >= FAILURE:
                name = reason_name(code)
                raise Refused(f"the broker refused to deliver {topic_filter}: {name}", reason_code=code, reason=name)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield incoming messages until the connection ends.

        Raises:
            Unavailable: it ended.
        """
        while True:
            message = self._client.take()
            if message is not None:
                yield message
            elif not self.alive:
                raise Unavailable(f"the connection to the broker ended: {self._client.gone.result()}")
            else:
                await self._client.arrived.wait()

    def waiting(self) -> int:
        """Return how many incoming messages are in memory."""
        return len(self._client.incoming)

    def acknowledge(self, message: Message) -> None:
        """Tell the broker that a message (of a connection with manual acknowledgement) is safe. No-op when it is gone."""
        if self.alive and message.qos:
            self._client.paho.ack(message.mid, message.qos)

    def wire_bytes(self) -> int | None:
        """Return what this connection cost on the wire so far, or None where the system does not count it."""
        info = self._client.tcp_info()
        return None if info is None else self._spent_bytes + wire.wire_bytes(info, self.path)

    def tcp_info(self) -> wire.TcpInfo | None:
        """Return the kernel's counters."""
        return self._client.tcp_info()

    @property
    def held(self) -> bool:
        """Tell whether something waits to be handed to the kernel that `hand_over` has not admitted."""
        return self._client.held

    def hold(self) -> None:
        """Hand the kernel only what `hand_over` admits from now on; what it holds when the process dies is dropped."""
        self._client.hold()

    def hand_over(self, size_bytes: int) -> None:
        """Admit so many bytes more than the kernel has been handed so far."""
        self._client.hand_over(size_bytes)

    def at_rest(self, published: int) -> bool:
        """Tell whether nothing more goes out by itself: all was sent, TCP has it acknowledged, only the broker's answers lack.

        Args:
            published: how many `publish` calls of QoS 1 wait; one that has not begun to write yet does not count as sent.
        """
        info = self._client.tcp_info()
        begun = len(self._client.pending) >= published
        return begun and info is not None and info.at_rest and not self._client.paho.want_write()

    def abort(self, reason: str) -> None:
        """Close by RST: what the kernel has not sent yet is dropped. Everything that waits fails with `reason`."""
        self._client.abort(reason)

    async def close(self) -> None:
        """Say goodbye to the broker and close."""
        self._client.tcp_info()
        try:
            if self.alive:
                self._client.say_goodbye()
                async with asyncio.timeout(CLOSE_WAIT_S):
                    await asyncio.shield(self._client.gone)
        except TimeoutError:
            self._client.abort("the broker does not take our goodbye")
        finally:
            self._client.abort("closed")
            self._client.quiet()


class Dialer:
    """Makes connections to one broker, remembering what it learned about it (its MQTT version, the TLS session).

    Attributes:
        broker: which. failed_bytes: on the wire, by the attempts of the last `connect` that did not become a connection.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.failed_bytes = 0
        self._tls = sockets.tls_context(broker.tls) if broker.tls is not None else None
        self._v5 = broker.protocol is not Protocol.V311

    @contextlib.asynccontextmanager
    async def connect(self, *, manual_ack: bool = False) -> AsyncIterator[Connection]:
        """Connect for the length of an `async with` block.

        Args:
            manual_ack: incoming QoS 1 messages are acknowledged by `Connection.acknowledge` only.

        Raises:
            Unavailable: it cannot be reached. Refused: it will not have us.
        """
        connection = await self._connect(manual_ack)
        try:
            yield connection
        finally:
            await connection.close()

    async def _connect(self, manual_ack: bool) -> Connection:
        self.failed_bytes = 0
        try:
            return await self._attempt(self._v5, manual_ack)
        except (Refused, Unavailable) as error:
            if not self._v5 or self.broker.protocol is not Protocol.AUTO or not _may_be_the_version(error):
                raise
        connection = await self._attempt(False, manual_ack)
        self._v5 = False
        return connection

    async def _attempt(self, v5: bool, manual_ack: bool) -> Connection:
        client = Client(self.broker, mqtt5=v5, tls=self._tls, manual=manual_ack)
        try:
            await client.open()
        except BaseException:
            self.failed_bytes += client.cost_of_failure()
            raise
        return Connection(client, self.broker, self.failed_bytes)


def _may_be_the_version(error: Refused | Unavailable) -> bool:
    """Tell whether a failed MQTT 5 connection may be for its version: brokers say so, or just close."""
    if isinstance(error, Refused):
        return error.reason_code in UNSUPPORTED_VERSION
    return "before CONNACK" in str(error)
