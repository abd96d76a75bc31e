"""Shell: what a TCP socket tells and takes: the kernel's counters, an end without a goodbye, a short queue, TLS that goes on.

Guarantees, where the system has the options (Linux; elsewhere they do nothing): after `drop_at_close`, a socket that is closed,
also by the death of its process, sends an RST and nothing of what it still held.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import Any

from transport import wire
from transport.endpoint import Tls
from transport.tariff import MOST_IN_FLIGHT_BYTES

SEND_BUFFER_BYTES = MOST_IN_FLIGHT_BYTES
"""SO_SNDBUF: what has left us and not the machine."""

UNSENT_BYTES = 16 * 1024
"""TCP_NOTSENT_LOWAT: what the kernel takes ahead of what the path takes. It has to be covered by leases, and is lost to the
budget when the process dies; more would not make TCP faster."""


def read_tcp_info(sock: socket.socket) -> wire.TcpInfo | None:
    """Return a socket's counters, or None where the system has none (not Linux) or it is closed."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    try:
        return wire.parse_tcp_info(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, wire.TCP_INFO_BYTES))
    except OSError:
        return None


def prepare(sock: socket.socket) -> None:
    """Bound what the kernel takes at once, and let nothing wait for more."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def keep_little_unsent(sock: socket.socket) -> None:
    """Let the kernel take only a little more than the path takes."""
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def drop_at_close(sock: socket.socket, drop: bool) -> None:
    """Say whether closing sends an RST and drops what is not sent, or (the usual) sends all and says goodbye."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(drop), 0))


class ResumingContext(ssl.SSLContext):
    """TLS that goes on with the last connection's session, which saves half of the handshake's bytes; paho cannot."""

    last_session: ssl.SSLSession | None = None

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        named.setdefault("session", self.last_session)
        return super().wrap_socket(*arguments, **named)

    def remember(self, sock: ssl.SSLSocket) -> None:
        """Keep a connection's session for the next one."""
        self.last_session = sock.session or self.last_session


def tls_context(tls: Tls) -> ResumingContext:
    """Return how to speak TLS 1.3, and nothing below it, with a broker whose certificate and name are verified, but for `anyone`.

    Raises:
        OSError, ssl.SSLError: a file cannot be read, or is not what it should be.
    """
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
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
