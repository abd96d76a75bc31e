"""Source: whose process is at the other end of a connection over the loopback, as Linux tells in /proc/net/tcp.

Cookies know no ports: what one server on this machine set, another one can be sent. So that another user's process gains
nothing by that, the review page's server asks the kernel who is connected. Where no kernel tells (other systems), the
cookie, the Host and the Origin must do.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

TABLE = Path("/proc/net/tcp")


def is_own(peer: tuple[str, int]) -> bool:
    """Tell whether a peer's (IPv4 address, port) socket belongs to this user or to root.

    Sockets that are gone belong to nobody.
    """
    if not sys.platform.startswith("linux"):
        return True
    try:
        table = TABLE.read_text(encoding="ascii")
    except OSError:
        return True
    uid = uid_of(table, peer)
    return uid in {os.getuid(), 0} if uid is not None else False


def uid_of(table: str, peer: tuple[str, int]) -> int | None:
    """Return the user of the socket with a local address, by the text of /proc/net/tcp; None: there is none."""
    address, port = peer
    try:
        (number,) = struct.unpack(
            "=I", socket.inet_aton(address)
        )  # the kernel prints the address as the machine keeps it
    except OSError:
        return None
    wanted = f"{number:08X}:{port:04X}"
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == wanted and fields[7].isdecimal():
            return int(fields[7])
    return None
