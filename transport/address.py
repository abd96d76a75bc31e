"""Pure: a broker's address as people write it, and what it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from transport.endpoint import Broker, Tls
from transport.errors import TransportError

if TYPE_CHECKING:
    from pathlib import Path

PORTS = {"mqtt": 1883, "mqtts": 8883}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def parse_address(url: str) -> tuple[str, int, str | None, bool]:
    """Read a broker's address: "mqtts://[user@]host[:port]", or "mqtt://127.0.0.1[:port]" on this machine.

    Returns:
        Host, port, user and whether it is encrypted.

    Raises:
        TransportError: it is no such address, holds a password, or would send in clear over a network.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or parts.scheme not in PORTS or parts.path.strip("/"):
        raise TransportError(f"{url!r} is no broker's address: write mqtts://host:8883, or mqtt://127.0.0.1:1883")
    if parts.password:
        raise TransportError(
            "everybody sees a password in an address: put it into a file, and name it by --password-file"
        )
    if parts.scheme == "mqtt" and host not in LOOPBACK:
        raise TransportError(f"{url!r} could be read on the way: use mqtts:// (mqtt:// is for this machine alone)")
    return host, port or PORTS[parts.scheme], parts.username, parts.scheme == "mqtts"


def broker_of(
    url: str, client_id: str, password: str | None, ca: Path | None, cert: Path | None, key: Path | None
) -> Broker:
    """Return where to connect. url: see parse_address. ca, cert, key: PEM files, for mqtts://.

    Raises:
        TransportError: as parse_address; or a certificate without its key.
    """
    host, port, user, encrypted = parse_address(url)
    if (cert is None) != (key is None):
        raise TransportError("--cert and --key belong together: give both or neither")
    tls = Tls(ca_file=ca, certificate_file=cert, key_file=key) if encrypted else None
    return Broker(host, port, client_id=client_id, username=user, password=password, tls=tls)
