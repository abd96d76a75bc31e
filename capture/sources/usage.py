"""Source: what this process takes of the machine, and how busy and hot the machine is. Sampled only when asked.

Guarantees: no clock of its own. Does not guarantee to count other processes for us: the X server's work is not in it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

WINDOW_NS = 5_000_000_000
"""The CPU share is of at least the last five seconds: over less, one encoded frame looks like a busy process."""

HOT_MARGIN_C = 10.0
"""So close below a sensor's own "high" mark the machine is hot: fans run, clocks will be lowered."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was found.

    Attributes:
        cpu_ratio: CPU time of this process, all threads, by wall time (1.0 = one core) over the last window.
        rss_bytes: memory in use. load_ratio: runnable tasks (average of a minute) by cores; None = not told.
        hot: a temperature is near its mark; None = no sensor tells.
        wakeups_s: how often a thread of this process was woken a second over the last window (it had gone to sleep of
            its own accord before); None = not told.
    """

    cpu_ratio: float = 0.0
    rss_bytes: int = 0
    load_ratio: float | None = None
    hot: bool | None = None
    wakeups_s: float | None = None


class UsageSource:
    """Samples when asked. State: the start of the window, the last sample."""

    def __init__(self) -> None:
        self._since_ns, self._since_cpu_ns = time.monotonic_ns(), time.process_time_ns()
        self._since_switches = _switches()
        self._last: Usage | None = None

    def current(self) -> Usage:
        """Return the usage; the same as before when the last window is not over."""
        now_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
        passed_ns = now_ns - self._since_ns
        if self._last is None or passed_ns >= WINDOW_NS:
            ratio, wakeups_s, switches = 0.0, None, _switches()
            if passed_ns >= WINDOW_NS:
                ratio = (cpu_ns - self._since_cpu_ns) / passed_ns
                if switches is not None and self._since_switches is not None:
                    wakeups_s = (switches - self._since_switches) / (passed_ns / 1e9)
                self._since_ns, self._since_cpu_ns, self._since_switches = now_ns, cpu_ns, switches
            self._last = Usage(ratio, _rss_bytes(), _load_ratio(), _is_hot(), wakeups_s)
        return self._last


def told_by() -> dict[str, str]:
    """Return by what the machine's load and heat and our wake-ups are told, "" for what nobody tells."""
    return {
        "load": "the system's load average" if _load_ratio() is not None else "",
        "heat": "temperature sensors" if _is_hot() is not None else "",
        "wake-ups": "getrusage" if _switches() is not None else "",
    }


def _switches() -> int | None:
    """Return the voluntary context switches of all threads so far (getrusage(2): ru_nvcsw)."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def _rss_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def _load_ratio() -> float | None:
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):  # Windows
        return None


def _is_hot() -> bool | None:
    import psutil

    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError):  # Windows, macOS
        return None
    marks = [(one.current, one.high) for group in sensors.values() for one in group if one.high]
    if not marks:
        return None
    return any(current >= high - HOT_MARGIN_C for current, high in marks)
