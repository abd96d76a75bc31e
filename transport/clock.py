"""Shell: the machine's clocks, as the budget wants them: never set, through suspend, and who vouches for the wall.

On Linux everything is there. Elsewhere the monotonic clock may stand still in suspend, and nobody vouches for the wall
clock: then the budget's steady clock falls behind by the time asleep, which costs budget and never gives any.
"""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transport.limits import boot_name

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LOCALTIME = Path("/etc/localtime")
TIME_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronised; setting the clock by hand leads to it."""
TIMEX_BYTES = 512
"""More than `struct timex` has on any architecture (208 on x86-64)."""


def steady_ns() -> int:
    """Return a clock that is never set and, where there is one, goes on through suspend (CLOCK_BOOTTIME)."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boottime is None else time.clock_gettime_ns(boottime)


def boot() -> bytes:
    """Return the 8 bytes that name this boot; where the system doesn't name it, every process counts as one."""
    try:
        return boot_name(BOOT_ID.read_text(encoding="ascii").strip())
    except OSError:
        return boot_name(f"{time.time_ns()}")


class SyncedClock:
    """Asks the kernel whether the wall clock is synchronised (NTP)."""

    def __init__(self) -> None:
        """Find adjtimex(2); without it the answer is always no."""
        self._adjtimex: Callable[[Any], Any] | None = None
        with contextlib.suppress(OSError, AttributeError, TypeError):
            self._adjtimex = ctypes.CDLL(None).adjtimex

    def __call__(self) -> bool:
        """Return whether the system vouches for its wall clock now."""
        if self._adjtimex is None:
            return False
        state = int(self._adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))  # modes = 0: only reads
        return 0 <= state < TIME_ERROR


def local_zone(localtime: Path = LOCALTIME) -> str:
    """Return the IANA name of this machine's time zone; "UTC" when the system does not tell.

    Args:
        localtime: a link into the zoneinfo database.
    """
    try:
        target = str(localtime.resolve(strict=True))
    except OSError:
        return "UTC"
    _, found, name = target.partition("zoneinfo/")
    return name.removeprefix("posix/").removeprefix("right/") if found else "UTC"
