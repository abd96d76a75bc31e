"""Pure: binds the source clock, which stands while the machine is suspended, to the wall clock, which does not.

A chunk's time is counted back from when it is closed, so that a clock that was put right meanwhile counts as it is right.
Guarantees: a suspend between the two, of which nobody told in time, does not move what was recorded before it.
"""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks at one moment.

    Attributes:
        wall_ns: since 1970. source_ms: the source's, as in every event. slept_ns: suspended since the boot, in all.
    """

    wall_ns: int
    source_ms: int
    slept_ns: int


class Anchor:
    """The moment at which something was opened, until it is closed. State: what the machine had slept until then."""

    def __init__(self) -> None:
        self._slept_ns: int | None = None

    def opened(self, slept_ns: int) -> None:
        """It is open now; said again, nothing changes."""
        if self._slept_ns is None:
            self._slept_ns = slept_ns

    def closed(self, now: Clocks) -> int:
        """Close it; return the wall clock (ns) at the source clock's zero, by which its times are bound."""
        opened_ns, self._slept_ns = self._slept_ns, None
        slept_ns = 0 if opened_ns is None else max(0, now.slept_ns - opened_ns)
        return now.wall_ns - now.source_ms * NS_PER_MS - slept_ns
