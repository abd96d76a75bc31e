"""Shell: one MQTT connection that tells the truth. The only module that imports aiomqtt (formerly asyncio-mqtt) and paho.

aiomqtt 2.x and paho, as they are, report a publish that the broker denied as done, let a publish hang for ten seconds after
the connection died, send again by themselves what an earlier connection had queued, acknowledge incoming messages before
anybody stored them, drop them when a queue is full, and wake up every second. Here:

* `publish` returns the broker's reason code, raises `Refused` when it is a refusal, and raises `Unavailable` at once when
  the connection dies. (MQTT 3.1.1 has no reason codes: there a denial looks like success, which is one more reason why
  only the collector's own answer frees the spool.)
* A connection is used once. Nothing is sent but what the caller asked for, and pings.
* Messages wait in a bounded queue; when it is full, the socket is not read, so that TCP slows the sender down. Nothing is
  dropped, and a message of QoS 1 is acknowledged by `acknowledge`, not before.
* Idle means asleep: the next wake is the next keepalive.
* The broker's Receive Maximum and Maximum Packet Size are kept to; a larger incoming packet than ours ends the connection.
* `wire` counts bytes by the kernel's TCP_INFO, also after the close; `abort` closes by RST, which drops the send buffer.

MQTT 5 is tried first and 3.1.1 when the broker does not speak it. TLS is 1.3 and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from transport import wire
from transport.endpoint import Broker, Message, Protocol, Tls
from transport.errors import Refused, TooLarge, Unavailable

__all__ = ["NO_SUBSCRIBER", "Broker", "Connection", "Dialer", "Message", "Protocol", "Tls"]

NO_SUBSCRIBER = 0x10
"""PUBACK's reason "No matching subscribers" (MQTT 5.0 §3.4.2.1): nobody will get this message."""

FAILURE = 0x80
UNSUPPORTED_VERSION = {0x84, 1}
"""CONNACK's codes for it in MQTT 5 and 3.1.1."""

SEND_BUFFER_BYTES = 64 * 1024
"""SO_SNDBUF: what has left us and not the machine is what an abort can still take back."""

RECEIVE_BYTES = 64 * 1024
"""Received at a time: Python takes the memory for what is asked for, not for what comes."""

CLOSE_WAIT_S = 3.0

_QUIET = logging.getLogger("transport.mqtt.paho")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
_QUIET.setLevel(logging.CRITICAL)  # what goes wrong is raised here, and logged by whoever catches it


class _Client(aiomqtt.Client):
    """aiomqtt's client with the callbacks replaced that lose what paho tells them."""

    def __init__(
        self, broker: Broker, version: aiomqtt.ProtocolVersion, tls: ssl.SSLContext | None, manual: bool
    ) -> None:
        properties = None
        if version is aiomqtt.ProtocolVersion.V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0
            properties.ReceiveMaximum = broker.receive_maximum
            properties.MaximumPacketSize = broker.max_packet_bytes
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=broker.client_id,
            protocol=version,
            clean_session=True if version is aiomqtt.ProtocolVersion.V311 else None,
            clean_start=True if version is aiomqtt.ProtocolVersion.V5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            keepalive=broker.keepalive_s,
            timeout=broker.connect_timeout_s,
            properties=properties,
            tls_context=tls,
            logger=_QUIET,
        )
        self.broker = broker
        self.mqtt5 = version is aiomqtt.ProtocolVersion.V5
        self.paho = self._client
        self.paho.connect_timeout = broker.connect_timeout_s
        self.paho.manual_ack_set(manual)
        self.paho.max_inflight_messages_set(0xFFFF)  # our own semaphore limits them
        self.connect_error: OSError | None = None
        self._receive = self.paho._sock_recv
        self.paho._sock_recv = self._receive_some  # type: ignore[method-assign]
        self.trouble = ""
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self.pending: dict[int, asyncio.Future[int]] = {}
        self.incoming: deque[Message] = deque()
        self.incoming_bytes = 0
        self.arrived = asyncio.Event()
        self.server_receive_maximum = 0xFFFF
        self.server_max_packet_bytes = 0xFFFFFFF
        self.last_info: wire.TcpInfo | None = None
        self.ipv6 = False
        self._socket: socket.socket | None = None
        self._paused = False

    # paho's callbacks; all run in the event loop, but for _on_socket_open

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: ReasonCode, properties: Properties | None = None
    ) -> None:
        if properties is not None:
            self.server_receive_maximum = getattr(properties, "ReceiveMaximum", self.server_receive_maximum)
            self.server_max_packet_bytes = getattr(properties, "MaximumPacketSize", self.server_max_packet_bytes)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: ReasonCode, properties: Properties | None = None
    ) -> None:
        reason = self.trouble or str(reason_code)
        if not self._connected.done():  # aiomqtt would wait for a CONNACK that cannot come any more
            self._connected.set_exception(aiomqtt.MqttError(f"closed before CONNACK: {reason}"))
        else:
            super()._on_disconnect(client, userdata, flags, reason_code, properties)
        self.lose(reason)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        waiting = self.pending.pop(mid, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(reason_code.value if isinstance(reason_code, ReasonCode) else int(reason_code))

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # the broker should not have let it through; nobody's topic, so it is refused
        self.incoming.append(Message(topic, bytes(message.payload), message.qos, message.mid))
        self.incoming_bytes += len(message.payload)
        self.arrived.set()

    def _client_connect(self) -> None:
        """Connect, in a thread; keep the error, of which aiomqtt keeps the text only."""
        try:
            super()._client_connect()
        except OSError as error:
            self.connect_error = error
            raise

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        def start() -> None:
            self._socket = sock
            if self.gone.done():  # nobody waits for this connection any more
                self.abort(self.gone.result())
                return
            self.ipv6 = sock.family == socket.AF_INET6
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sock.fileno() >= 0:
                self._loop.add_reader(sock.fileno(), self._read)
                self._misc_task = self._loop.create_task(self._misc_loop(), name="mqtt-keepalive")

        self._loop.call_soon_threadsafe(start)  # paho connects in a thread

    def _on_socket_close(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self.last_info = read_tcp_info(sock) or self.last_info
        context = self.paho._ssl_context
        if isinstance(context, _ResumingContext):
            context.last_session = sock.session or context.last_session
        self._socket = None
        super()._on_socket_close(client, userdata, sock)

    async def _misc_loop(self) -> None:
        """Send pings, and notice missing answers, waking only when one is due."""
        while self._client.loop_misc() == paho.MQTT_ERR_SUCCESS:
            quiet_since = min(self._client._last_msg_out, self._client._last_bytes_received)
            due = quiet_since + self._client.keepalive if self._client.keepalive else quiet_since + 3600
            await asyncio.sleep(max(due - time.monotonic(), 0.5) + 0.05)

    def _receive_some(self, bufsize: int) -> bytes:
        """Receive for paho, which asks for the rest of a packet: it would take any size, and swallow the reason of an end."""
        if bufsize > self.broker.max_packet_bytes:
            self.trouble = f"a packet of {bufsize:,} bytes arrived, over the limit of {self.broker.max_packet_bytes:,}"
            raise ConnectionAbortedError(self.trouble)
        try:
            return self._receive(min(bufsize, RECEIVE_BYTES))
        except BlockingIOError:
            raise
        except OSError as error:
            self.trouble = str(error)
            raise

    def _read(self) -> None:
        try:
            while True:
                self._client.loop_read()
                if (
                    self.incoming_bytes > self.broker.queue_bytes
                    or len(self.incoming) > 4 * self.broker.receive_maximum
                ):
                    self._pause()
                    return
                pending = getattr(self._client._sock, "pending", None)
                if pending is None or pending() == 0:
                    return
        except Exception as error:  # whatever paho stumbles over, the connection is not to be trusted any more
            self.abort(f"{type(error).__name__}: {error}")

    def _pause(self) -> None:
        if self._socket is not None and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._socket.fileno())

    def take(self) -> Message | None:
        """Return the next incoming message, and read on where reading had paused."""
        if not self.incoming:
            self.arrived.clear()
            return None
        message = self.incoming.popleft()
        self.incoming_bytes -= len(message.payload)
        if self._paused and self._socket is not None and self.incoming_bytes * 2 < self.broker.queue_bytes:
            self._paused = False
            self._loop.add_reader(self._socket.fileno(), self._read)
            self._loop.call_soon(self._read)  # TLS may hold bytes that no select reports
        return message

    def lose(self, reason: str) -> None:
        """End everything that waits for this connection."""
        if not self.gone.done():
            self.gone.set_result(reason)
        for waiting in self.pending.values():
            if not waiting.done():
                waiting.set_exception(Unavailable(f"the connection to the broker ended: {reason}"))
                waiting.exception()  # who waits sees it; nobody waiting is no fault
        self.pending.clear()
        self.arrived.set()

    def abort(self, reason: str) -> None:
        """Close at once by RST: what is still in the send buffer is never sent."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(Exception):
            self._client._sock_close()
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        self.lose(reason)

    def cost_of_failure(self) -> int:
        """Return what an attempt cost that did not become a connection, not below the truth."""
        info = self.tcp_info()
        if info is not None:
            return wire.wire_bytes(info, wire.Path(ipv6=True))
        error = self.connect_error
        nothing_came_about = isinstance(error, ConnectionRefusedError | socket.gaierror) or (
            isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
        )
        if nothing_came_about or (error is not None and self.broker.tls is None):
            return wire.FAILED_CONNECT_BYTES
        return self.broker.connect_bound  # it ended somewhere in TLS's handshake, where paho shows no socket

    def tcp_info(self) -> wire.TcpInfo | None:
        """Return the socket's counters; the last ones known when it is closed."""
        if self._socket is not None:
            self.last_info = read_tcp_info(self._socket) or self.last_info
        return self.last_info


class Connection:
    """A connection that was made by `Dialer.connect`."""

    def __init__(self, client: _Client, broker: Broker, spent_bytes: int) -> None:
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
        info = self._client.paho.publish(topic, payload, qos)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise Unavailable(f"the connection does not take a message: {paho.error_string(info.rc)}")
        if qos == 0:
            return 0
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._client.pending[info.mid] = waiting
        if self._client.gone.done():  # while paho wrote: nobody would end the waiting
            self._client.lose(self._client.gone.result())
        try:
            code = await waiting
        finally:
            self._client.pending.pop(info.mid, None)
        if code >= FAILURE:
            name = _reason_name(code)
            raise Refused(f"the broker refused a message to {topic}: {name}", reason_code=code, reason=name)
        return code

    async def subscribe(self, topic_filter: str, *, qos: int) -> None:
        """Subscribe. That a broker grants it does not prove that it will deliver: some grant all and filter later.

        Raises:
            Refused: the broker said no. Unavailable: no answer.
        """
        try:
            granted = await self._client.subscribe(topic_filter, qos=qos)
        except aiomqtt.MqttError as error:
            raise Unavailable(f"the broker did not answer a subscription: {error}") from error
        for code in granted:
            number = code.value if isinstance(code, ReasonCode) else int(code)
            if number >= FAILURE:
                name = _reason_name(number)
                raise Refused(f"the broker refused to deliver {topic_filter}: {name}", reason_code=number, reason=name)

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
                self._client.paho.disconnect()
                async with asyncio.timeout(CLOSE_WAIT_S):
                    await asyncio.shield(self._client.gone)
        except TimeoutError:
            self._client.abort("the broker does not take our goodbye")
        finally:
            self._client.abort("closed")
            if self._client._disconnected.done() and not self._client._disconnected.cancelled():
                self._client._disconnected.exception()


class Dialer:
    """Makes connections to one broker, remembering what it learned about it (its MQTT version, the TLS session).

    Attributes:
        broker: which. failed_bytes: on the wire, by the attempts of the last `connect` that did not become a connection.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.failed_bytes = 0
        self._tls = _tls_context(broker.tls) if broker.tls is not None else None
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
        version = aiomqtt.ProtocolVersion.V5 if v5 else aiomqtt.ProtocolVersion.V311
        client = _Client(self.broker, version, self._tls, manual_ack)
        try:
            await client.__aenter__()
        except BaseException as error:
            client.abort("not connected")
            self.failed_bytes += client.cost_of_failure()
            told = self._explain(error)
            if told is None:
                raise
            raise told from error
        return Connection(client, self.broker, self.failed_bytes)

    def _explain(self, error: BaseException) -> Refused | Unavailable | None:
        """Return what a failed attempt means, with what to do about it; None: it is not about the broker."""
        where = f"{self.broker.host}:{self.broker.port}"
        if isinstance(error, aiomqtt.MqttCodeError):
            code = error.rc.value if isinstance(error.rc, ReasonCode) else int(error.rc or 0)
            what = f"the broker at {where} refuses us: {error.rc}. Look at user, password and certificate"
            return Refused(what, reason_code=code, reason=str(error.rc))
        if not isinstance(error, aiomqtt.MqttError | OSError | ValueError):
            return None
        if "[SSL" in str(error):  # the alert of a broker that wants another certificate comes after the handshake
            return Refused(
                f"the broker at {where} and we do not trust each other ({error}): look at the authority's file, our "
                "certificate and its key, and the host's name"
            )
        return Unavailable(
            f"no MQTT broker answers at {where} ({error}): start it, or look at address and network",
            host=self.broker.host,
            port=self.broker.port,
        )


class _ResumingContext(ssl.SSLContext):
    """TLS that goes on with the last connection's session, which saves half of the handshake's bytes; paho cannot."""

    last_session: ssl.SSLSession | None = None

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        named.setdefault("session", self.last_session)
        return super().wrap_socket(*arguments, **named)


def read_tcp_info(sock: socket.socket) -> wire.TcpInfo | None:
    """Return a socket's counters, or None where the system has none (not Linux) or it is closed."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    try:
        return wire.parse_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, wire.TCP_INFO_BYTES))
    except OSError:
        return None


def _tls_context(tls: Tls) -> ssl.SSLContext:
    context = _ResumingContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if tls.anyone:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif tls.ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(tls.ca_file)
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context


def _may_be_the_version(error: Refused | Unavailable) -> bool:
    """Tell whether a failed MQTT 5 connection may be for its version: brokers say so, or just close."""
    if isinstance(error, Refused):
        return error.reason_code in UNSUPPORTED_VERSION
    return "before CONNACK" in str(error)


def _reason_name(code: int) -> str:
    try:
        return str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    except (KeyError, AssertionError, ValueError):
        return f"reason code {code:#04x}"
