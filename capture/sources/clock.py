"""Source: the machine's clocks: which boot this is, the clock that nobody sets, whether the wall clock is vouched for."""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LOCALTIME = Path("/etc/localtime")
TIMEX_BYTES = 208
"""sizeof(struct timex) on 64-bit Linux (linux/timex.h)."""

TIMEX_STATUS_OFFSET = 40
"""offsetof(struct timex, status): modes (4) + padding (4) + offset, freq, maxerror, esterror (8 each)."""

STA_UNSYNC = 0x0040
"""linux/timex.h: the clock is not synchronised."""


def boot_ns() -> int:
    """Return nanoseconds since the boot, suspend included; where the platform has no such clock, the monotonic one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return time.monotonic_ns()


def slept_ns() -> int:
    """Return how long the machine was suspended since its boot, some microseconds either way: what the monotonic clock misses."""
    return boot_ns() - time.monotonic_ns()


def boot_id() -> str:
    """Return what names this boot; "" where the platform does not tell (then every start counts as the same boot)."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def is_synced() -> bool:
    """Tell whether the kernel says that a time server disciplines the wall clock; False where it cannot be told."""
    try:
        libc = ctypes.CDLL(None)
        state = ctypes.create_string_buffer(TIMEX_BYTES)  # modes = 0: only read
        if libc.adjtimex(state) < 0:
            return False
    except (OSError, AttributeError):
        return False
    (status,) = struct.unpack_from("i", state.raw, TIMEX_STATUS_OFFSET)
    return not status & STA_UNSYNC


def local_time_zone(environment: Mapping[str, str]) -> str:
    """Return the IANA name of this machine's time zone; "UTC" when it has none that can be told.

    Args:
        environment: TZ there goes first, as for every program.
    """
    named = environment.get("TZ", "").removeprefix(":")
    if not named:
        try:
            named = str(LOCALTIME.resolve(strict=True)).partition("/zoneinfo/")[2]
        except OSError:
            named = ""
    try:
        ZoneInfo(named)
    except (KeyError, ValueError, OSError):
        return "UTC"
    return named or "UTC"
