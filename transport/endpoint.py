"""Pure: where a broker is and how it is spoken to, as values; what they mean to the wire is in transport/mqtt.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from transport import wire

if TYPE_CHECKING:
    from pathlib import Path


class Protocol(StrEnum):
    """Which MQTT to speak."""

    AUTO = "auto"  # 5, else 3.1.1
    V5 = "5"
    V311 = "3.1.1"


@dataclass(frozen=True, slots=True)
class Tls:
    """How the broker proves who it is, and we. ca_file: PEM of who signs brokers (None: the system's authorities).

    certificate_file, key_file: PEM of our own certificate, for brokers that ask for one. anyone: take any broker's certificate;
    only for what is signed and holds no secret (transport/joining.py).
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    anyone: bool = False


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to connect and how.

    Attributes:
        host, port: of the broker. client_id: ours. username, password: where it asks for them (never shown by repr).
        tls: None = plain TCP, for loopback. protocol: which MQTT.
        keepalive_s: longest silence. connect_timeout_s: for TCP, TLS and CONNACK each.
        min_rate_bytes_s: a publish may take its size at this rate, and `answer_timeout_s` more, before it counts as lost.
        in_flight: publishes of QoS 1 at once, at most. receive_maximum: unacknowledged incoming ones, at most.
        max_packet_bytes: largest incoming packet. queue_bytes: incoming messages in memory.
    """

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    protocol: Protocol = Protocol.AUTO
    keepalive_s: int = 300
    connect_timeout_s: float = 15.0
    answer_timeout_s: float = 30.0
    min_rate_bytes_s: int = 8_000
    in_flight: int = 8
    receive_maximum: int = 32
    max_packet_bytes: int = (8 << 20) + 1024
    queue_bytes: int = 16 << 20

    @property
    def connect_bound(self) -> int:
        """Return the bytes on the wire that connecting, subscribing and closing take at most."""
        return wire.connect_bound(
            tls=self.tls is not None, client_certificate=bool(self.tls and self.tls.certificate_file)
        )


@dataclass(frozen=True, slots=True)
class Message:
    """An incoming message. mid, qos: for `acknowledge`."""

    topic: str
    payload: bytes
    qos: int
    mid: int
