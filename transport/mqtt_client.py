"""Shell: paho's MQTT client with the callbacks replaced that lose what it knows. The only module that imports aiomqtt and paho.

aiomqtt (formerly asyncio-mqtt) 2.x and paho, as they are, report a publish that the broker denied as done, let a publish hang for
ten seconds after the connection died, acknowledge incoming messages before anybody stored them, drop them when a queue is full,
hand the kernel all that it takes, and wake up every second. What is made of it is in transport/mqtt.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import time
from collections import deque
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from transport import sockets, wire
from transport.endpoint import Broker, Message
from transport.errors import Refused, Unavailable

FAILURE = 0x80
"""Reason codes from here on are refusals."""

RECEIVE_BYTES = 64 * 1024
"""Received at a time: Python takes the memory for what is asked for, not for what comes."""

FREE_BYTES = 64
"""Packets of this size go without being handed over by name: pings and acknowledgements, which the meter's margin covers."""

_QUIET = logging.getLogger("transport.mqtt.paho")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
_QUIET.setLevel(logging.CRITICAL)  # what goes wrong is raised here, and logged by whoever catches it


class Client(aiomqtt.Client):
    """One connection, used once. Everything runs in the event loop, but for what says otherwise."""

    def __init__(self, broker: Broker, *, mqtt5: bool, tls: ssl.SSLContext | None, manual: bool) -> None:
        version = aiomqtt.ProtocolVersion.V5 if mqtt5 else aiomqtt.ProtocolVersion.V311
        properties = None
        if mqtt5:
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
            clean_session=None if mqtt5 else True,
            clean_start=True if mqtt5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            keepalive=broker.keepalive_s,
            timeout=broker.connect_timeout_s,
            properties=properties,
            tls_context=tls,
            logger=_QUIET,
        )
        self.broker = broker
        self.mqtt5 = mqtt5
        self.paho = self._client
        self.paho.connect_timeout = broker.connect_timeout_s
        self.paho.manual_ack_set(manual)
        self.paho.max_inflight_messages_set(0xFFFF)  # our own semaphore limits them
        self.connect_error: OSError | None = None
        self._receive = self.paho._sock_recv
        self.paho._sock_recv = self._receive_some  # type: ignore[method-assign]
        self._send = self.paho._sock_send
        self.paho._sock_send = self._send_some  # type: ignore[assignment, method-assign]
        self.handed_bytes = 0
        self.hand_limit: int | None = None
        self.held = False
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
            sockets.prepare(sock)
            if sock.fileno() >= 0:
                self._loop.add_reader(sock.fileno(), self._read)
                self._misc_task = self._loop.create_task(self._misc_loop(), name="mqtt-keepalive")

        self._loop.call_soon_threadsafe(start)  # paho connects in a thread

    def _on_socket_close(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self.last_info = sockets.read_tcp_info(sock) or self.last_info
        context = self.paho._ssl_context
        if isinstance(context, sockets.ResumingContext):
            context.remember(sock)
        self._socket = None
        super()._on_socket_close(client, userdata, sock)

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._write_on)  # paho connects in a thread

    def _write_on(self) -> None:
        if self._socket is not None and not self.held and self.paho.want_write():
            self._loop.add_writer(self._socket.fileno(), self._write)

    def _write(self) -> None:
        try:
            self.paho.loop_write()
        except Exception as error:  # as for reading
            self.abort(f"{type(error).__name__}: {error}")

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

    def _send_some(self, data: bytes | bytearray | memoryview) -> int:
        """Send for paho, which would hand the kernel all that it takes: no more than what is covered."""
        if self.hand_limit is not None:
            room = self.hand_limit - self.handed_bytes
            if room <= 0 and len(data) > FREE_BYTES:
                self.held = True
                if self._socket is not None:
                    self._loop.remove_writer(self._socket.fileno())
                raise BlockingIOError
            data = data[
                : max(room, FREE_BYTES)
            ]  # TLS wants what it could not send again, and not less: a limit only rises
        sent = self._send(data)  # type: ignore[arg-type]  # a socket takes a view as well
        self.handed_bytes += sent
        return sent

    def hold(self) -> None:
        """Hand nothing more to the kernel than `hand_over` admits, and let a sudden end drop what it still holds."""
        if self.hand_limit is None:
            self.hand_limit = self.handed_bytes
        if self._socket is not None:
            sockets.keep_little_unsent(self._socket)
            sockets.drop_at_close(self._socket, True)

    def hand_over(self, size_bytes: int) -> None:
        """Admit so many bytes more than what has been handed over."""
        if self.hand_limit is not None:
            self.hand_limit = max(self.hand_limit, self.handed_bytes + size_bytes)
            if self.held and self.hand_limit > self.handed_bytes:
                self.held = False
                self._write_on()

    def say_goodbye(self) -> None:
        """Tell the broker that we leave, where nothing is held back that would have to go before."""
        if self.held:
            self.abort("what was held back is not sent")
            return
        if self._socket is not None:
            sockets.drop_at_close(self._socket, False)
        self.paho.disconnect()

    def send(self, topic: str, payload: bytes, qos: int) -> int:
        """Give paho a message; return its number.

        Raises:
            Unavailable: it does not take it.
        """
        info = self.paho.publish(topic, payload, qos)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise Unavailable(f"the connection does not take a message: {paho.error_string(info.rc)}")
        queued = self.paho._out_packet[-1]
        queued["packet"] = memoryview(queued["packet"])  # type: ignore[typeddict-item]  # paho copies the rest at each step
        return int(info.mid)

    async def ask_for(self, topic_filter: str, qos: int) -> list[int]:
        """Subscribe; return the broker's reason codes.

        Raises:
            Unavailable: no answer.
        """
        try:
            granted = await self.subscribe(topic_filter, qos=qos)
        except aiomqtt.MqttError as error:
            raise Unavailable(f"the broker did not answer a subscription: {error}") from error
        return [code.value if isinstance(code, ReasonCode) else int(code) for code in granted]

    async def open(self) -> None:
        """Connect.

        Raises:
            Unavailable: it cannot be reached. Refused: it will not have us.
        """
        try:
            await self.__aenter__()
        except BaseException as error:
            self.abort("not connected")
            told = self._explain(error)
            if told is None:
                raise
            raise told from error

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

    def quiet(self) -> None:
        """Take notice of how it ended, so that asyncio does not complain that nobody did."""
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()

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
            sockets.drop_at_close(self._socket, True)
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
            self.last_info = sockets.read_tcp_info(self._socket) or self.last_info
        return self.last_info


def reason_name(code: int) -> str:
    """Return a reason code in words."""
    try:
        return str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    except (KeyError, AssertionError, ValueError):
        return f"reason code {code:#04x}"
