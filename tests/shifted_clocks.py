"""Runs `modicum` on clocks that a test moves: `python -m tests.shifted_clocks FILE COMMAND…`.

What the kernel alone can do, and for the whole machine only: the wall clock jumps, the machine was suspended. FILE holds two
numbers (int64, ns): how far the wall clock is off, and how long the machine has slept besides. As no time server disciplines
such a clock, the process is told so, whatever this machine's own state is.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

SHIFTS = struct.Struct("<qq")


class Clocks:
    """The test's side. wall_ns, slept_ns: what the process sees beside the machine's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(SHIFTS.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SHIFTS.size)

    def now_ns(self) -> int:
        """Return the wall clock of the process, ns."""
        return time.time_ns() + int(SHIFTS.unpack(self._map[:])[0])

    def move(self, *, wall_s: float = 0, slept_s: float = 0) -> None:
        """Let the wall clock jump and the machine have slept, in one step."""
        wall_ns, slept_ns = SHIFTS.unpack(self._map[:])
        self._map[:] = SHIFTS.pack(wall_ns + int(wall_s * 1e9), slept_ns + int(slept_s * 1e9))


def _shift(path: Path) -> None:
    with path.open("rb") as file:
        shifts = mmap.mmap(file.fileno(), SHIFTS.size, access=mmap.ACCESS_READ)
    wall_ns, clock_ns = time.time_ns, time.clock_gettime_ns

    def time_ns() -> int:
        return wall_ns() + int(SHIFTS.unpack(shifts[:])[0])

    def clock_gettime_ns(which: int) -> int:
        return clock_ns(which) + (int(SHIFTS.unpack(shifts[:])[1]) if which == time.CLOCK_BOOTTIME else 0)

    time.time_ns, time.time = time_ns, lambda: time_ns() / 1e9
    time.clock_gettime_ns = clock_gettime_ns
    from capture.sources import clock

    clock.is_synced = lambda: False


if __name__ == "__main__":
    _shift(Path(sys.argv[1]))
    sys.argv = ["modicum", *sys.argv[2:]]
    from capture.cli import main

    main()
