"""Shell: what the service manager is told: ready, reloading, stopping, a line of status, and that the loop still turns.

The protocol is sd_notify(3): one datagram of NAME=value lines to the socket in NOTIFY_SOCKET. Without one, nothing is done.
The watchdog is petted from the event loop, so that a loop that hangs is found out; half as often as is asked for, which at
the unit's three minutes is one wake-up in ninety seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping

US_PER_S = 1_000_000


class Notifier:
    """Talks to the service manager.

    Args:
        address: NOTIFY_SOCKET's value; "" = there is none.
        watchdog_s: it wants to hear from us within so many seconds; None: it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Notifier:
        """Read the service manager's wishes from the environment (sd_notify(3), sd_watchdog_enabled(3))."""
        watchdog_s = None
        if environment.get("WATCHDOG_USEC", "").isdigit() and environment.get("WATCHDOG_PID") in (
            None,
            str(os.getpid()),
        ):
            watchdog_s = int(environment["WATCHDOG_USEC"]) / US_PER_S
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_s)

    def ready(self, status: str) -> None:
        """Say that it works, and begin to pet the watchdog. To be called in the event loop."""
        self._tell(f"READY=1\nSTATUS={_line(status)}")
        if self._timer is None and self._watchdog_s:
            self._pet()

    def reloading(self) -> None:
        """Say that another configuration is being applied; `ready` ends it."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=applying the configuration")

    def status(self, text: str) -> None:
        """Say in a line what is done now."""
        self._tell(f"STATUS={_line(text)}")

    def stopping(self) -> None:
        """Say that it ends, of its own accord."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell("STOPPING=1")

    def _pet(self) -> None:
        assert self._watchdog_s is not None  # noqa: S101 - `ready` has looked
        self._tell("WATCHDOG=1")
        self._timer = asyncio.get_running_loop().call_later(self._watchdog_s / 2, self._pet)

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        # A manager that does not listen is no reason to end.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.connect(self._address)
            to.sendall(text.encode())


def _line(text: str) -> str:
    return " ".join(text.split())
