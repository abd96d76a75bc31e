"""Shell: how long input takes from the device to an application, while something records or nothing does.

A window of our own in a corner receives motion that is injected by XTEST one step at a time; the time is from the injection to
the event's arrival at the window's connection. What a recorder adds (an extra copy in the server, a slower turn of its loop)
shows as the difference from the same with no recorder.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import xcffib.xproto as xp

from benches.display import MOTION, Display

SIDE_PX = 40
PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds from injection to arrival: the median and the 99th percentile of `count`."""

    median_us: float
    p99_us: float
    count: int


def measure(name: str, authority: Path, *, count: int = 400, seed: int = 1) -> Latency:
    """Measure on a display; the pointer is left in the top left corner.

    Args:
        name: ":70". authority: its cookie's file. count: how many motions. seed: of the waits between them.
    """
    display = Display(name, authority)
    connection: Any = display._connection
    core, xtest, root = display._x, display._xtest, display._root
    window = connection.generate_id()
    core.CreateWindow(
        xp.WindowClass.CopyFromParent,
        window,
        root,
        0,
        0,
        SIDE_PX,
        SIDE_PX,
        0,
        xp.WindowClass.InputOutput,
        0,
        xp.CW.OverrideRedirect | xp.CW.EventMask,
        [1, xp.EventMask.PointerMotion],
    )
    core.MapWindow(window)
    display.pointer()  # a round trip: it is mapped
    rng, taken = Random(seed), []
    try:
        for turn in range(count + 10):
            time.sleep(rng.uniform(0.004, 0.012))
            began_ns = time.perf_counter_ns()
            xtest.FakeInput(MOTION, 0, 0, root, 5 + turn % 2 * 10, 5 + turn % 3 * 5, 0)
            connection.flush()
            if _arrived(connection):
                taken.append((time.perf_counter_ns() - began_ns) / 1000)
    finally:
        core.DestroyWindow(window)
        connection.flush()
        display.close()
    taken = sorted(taken[10:])  # the first ones warm the caches
    if not taken:
        return Latency(float("nan"), float("nan"), 0)
    return Latency(taken[len(taken) // 2], taken[min(len(taken) - 1, int(len(taken) * 0.99))], len(taken))


def _arrived(connection: Any) -> bool:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        event = connection.poll_for_event()
        while event is not None:
            if isinstance(event, xp.MotionNotifyEvent):
                return True
            event = connection.poll_for_event()
        select.select([connection.get_file_descriptor()], [], [], 0.05)
    return False
