"""Pure: what a message costs on the wire: exact sizes, upper bounds, and what the kernel counted.

All figures are bytes of IP packets, both directions together: that is what an internet contract counts. Sources: RFC 9293
and RFC 7323 (a TCP segment with timestamps carries 52 bytes of headers over IPv4, 72 over IPv6), RFC 8446 (a TLS 1.3 record
of at most 16384 bytes adds 22), OASIS MQTT 5.0 §2-3, Linux `struct tcp_info` (include/uapi/linux/tcp.h). The formulas were
compared with interface counters over a link with loss: without loss they are exact; with 5 % loss `sent_bound` keeps 1-2 %
of slack, so that a bound alone does not suffice there, and the publisher watches TCP_INFO while it sends.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MSS_BYTES = 1448
"""TCP payload of a full segment at an MTU of 1500, with timestamps, over IPv4. Smaller ones: see `Path`."""

TLS_RECORD_BYTES = 16384
TLS_RECORD_OVERHEAD = 22
SEGMENT_BOUND_BYTES = 80
"""Headers of one segment at most: IPv4 20, TCP 20, timestamps 12, three SACK blocks 28. IPv6 has 20 more."""

ACK_PACKET_BYTES = 26
"""What PUBACK takes with its TLS record."""

PING_BYTES = 204
"""A keepalive with TLS: PINGREQ, its TCP acknowledgement and PINGRESP."""

PLAIN_PING_BYTES = 160

CONNECT_BYTES = {"plain": 1_400, "tls": 9_000, "mtls": 13_000}
"""Upper bounds for connecting, subscribing and closing. Measured: 0.8, 3.2 and 4.7 KB; the rest is for longer certificate
chains, a lost handshake packet and what TCP_INFO does not count (SYN options, FIN, DNS)."""

UNCOUNTED_BYTES = 400
"""Per connection, what no counter of the socket shows: SYN options, FIN or RST after the close, a DNS query and its answer."""

FAILED_CONNECT_BYTES = 600
"""A connection attempt into a void: SYN repeated for 30 s (measured 540)."""

ANSWER_BOUND_BYTES = 420
"""One end-to-end acknowledgement that carries one chunk: message, TLS record, headers of it and of its TCP acknowledgement."""

TCP_INFO_BYTES = 248
"""How much of `struct tcp_info` to ask the kernel for."""


@dataclass(frozen=True, slots=True)
class Path:
    """How bytes travel. tls: inside TLS 1.3. ipv6: over IPv6. mss_bytes: TCP payload of a full segment."""

    tls: bool = False
    ipv6: bool = False
    mss_bytes: int = MSS_BYTES


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """The counters of a socket. All in bytes, but segs_out, segs_in and unacked, which count segments.

    Attributes:
        sent, received: TCP payload; `sent` includes what was sent again. retransmitted: of `sent`.
        unsent: in the send buffer. segs_out, segs_in: with and without payload. unacked: segments that were sent and not
        acknowledged yet. acked: of `sent`, by the other side.
    """

    sent: int
    received: int
    retransmitted: int
    unsent: int
    segs_out: int
    segs_in: int
    unacked: int = 0
    acked: int = 0

    @property
    def at_rest(self) -> bool:
        """Whether the kernel has nothing more to send, nor to send again, of its own accord."""
        return not self.unsent and not self.unacked

    @property
    def in_flight(self) -> int:
        """Return the bytes that were sent and are not acknowledged."""
        return max(0, self.sent - self.retransmitted - self.acked) if self.unacked else 0


def varint_bytes(length: int) -> int:
    """Return the size of an MQTT remaining length (MQTT 5.0 §1.5.5)."""
    return 1 + (length >= 1 << 7) + (length >= 1 << 14) + (length >= 1 << 21)


def publish_bytes(topic_bytes: int, payload_bytes: int, *, mqtt5: bool, properties_bytes: int = 0) -> int:
    """Return the size of a PUBLISH of QoS 1 (MQTT 5.0 §3.3).

    Args:
        topic_bytes: of the topic in UTF-8. payload_bytes: of the payload. mqtt5: else 3.1.1, without properties.
        properties_bytes: of the properties, without their length.
    """
    properties = varint_bytes(properties_bytes) + properties_bytes if mqtt5 else 0
    length = 2 + topic_bytes + 2 + properties + payload_bytes
    return 1 + varint_bytes(length) + length


def stream_bytes(message_bytes: int, path: Path) -> int:
    """Return what a message of this size puts into the TCP stream; equals the kernel's count of bytes sent."""
    if not path.tls:
        return message_bytes
    return message_bytes + TLS_RECORD_OVERHEAD * -(-message_bytes // TLS_RECORD_BYTES)


def expected_bytes(message_bytes: int, path: Path) -> int:
    """Return what sending a message will probably cost, its acknowledgement included."""
    stream = stream_bytes(message_bytes, path)
    segments = -(-stream // path.mss_bytes)
    header = 72 if path.ipv6 else 52
    return stream + header * (segments + -(-segments // 2) + 2) + ACK_PACKET_BYTES


def sent_bound(message_bytes: int, path: Path) -> int:
    """Return what sending a message costs at most, its PUBACK included, on a path that loses nothing."""
    stream = stream_bytes(message_bytes, path)
    segments = stream // path.mss_bytes + -(-message_bytes // TLS_RECORD_BYTES) + 1
    header = SEGMENT_BOUND_BYTES + (20 if path.ipv6 else 0)
    return stream + 2 * header * (segments + 1) + ACK_PACKET_BYTES


def chunk_bound(topic_bytes: int, payload_bytes: int, path: Path, *, mqtt5: bool, loss_ratio: float = 0.0) -> int:
    """Return what to reserve for a chunk: the message, its PUBACK, its end-to-end acknowledgement, expected loss.

    Args:
        loss_ratio: share of retransmitted bytes seen on this link so far, 0..1.
    """
    message = publish_bytes(topic_bytes, payload_bytes, mqtt5=mqtt5)
    return int(sent_bound(message, path) * (1 + 1.5 * loss_ratio)) + ANSWER_BOUND_BYTES


def connect_bound(*, tls: bool, client_certificate: bool) -> int:
    """Return what to reserve for connecting, subscribing and closing."""
    return CONNECT_BYTES["mtls" if client_certificate else "tls" if tls else "plain"]


def parse_tcp_info(data: bytes) -> TcpInfo | None:
    """Return the counters in a `struct tcp_info`, or None where the kernel (before 4.19) does not give them."""
    if len(data) < 216:
        return None
    acked, received, segs_out, segs_in, unsent = struct.unpack_from("=QQIII", data, 120)
    sent, retransmitted = struct.unpack_from("=QQ", data, 200)
    (unacked,) = struct.unpack_from("=I", data, 24)
    return TcpInfo(sent, received, retransmitted, unsent, segs_out, segs_in, unacked, acked)


def wire_bytes(info: TcpInfo, path: Path) -> int:
    """Return what a connection cost so far by the kernel's counters, not below the truth.

    Inbound segments are charged 24 bytes more than their plain headers: on a lossy path they carry SACK blocks, and
    duplicates are not in `received`.
    """
    header = 72 if path.ipv6 else 52
    return info.sent + header * info.segs_out + info.received + (header + 24) * info.segs_in + UNCOUNTED_BYTES


def worth_keeping(next_send_s: float, keepalive_s: float, *, tls: bool, connect_bytes: int) -> bool:
    """Tell whether staying connected until the next sending costs clearly fewer bytes than connecting anew.

    Args:
        next_send_s: seconds until then. keepalive_s: between pings. connect_bytes: `connect_bound`, thrice the usual.
    """
    pings = next_send_s // keepalive_s * (PING_BYTES if tls else PLAIN_PING_BYTES)
    return pings < connect_bytes / 6
