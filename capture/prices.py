"""Pure: what each rung costs: bytes on the wire and CPU seconds per hour of activity, learned as it is paid.

A price is a prior times what was learned: a factor common to all rungs (this person's screen changes twice as much) and
one of each rung's own. So a rung that was never tried is priced from its neighbours. The priors are measured ones
(benches/, office work at 1080p), rounded up.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Any, NamedTuple

from capture.ladder import FIRST_WITH_FRAMES, Effort, Rung

EVENT_BYTES_H = {
    Rung.NOTHING: 0.0,
    Rung.CLICKS: 25_000.0,
    Rung.PATH: 60_000.0,
    Rung.EVENTS: 200_000.0,
}
"""Bytes an hour, of the rung and (the last) of all above it, wire overhead included."""

FRAME_BYTES_H = {
    Rung.EVERY_10MIN: 300_000.0,
    Rung.EVERY_2MIN: 1_100_000.0,
    Rung.FOCUS: 2_000_000.0,
    Rung.EVERY_30S: 3_500_000.0,
    Rung.EVERY_10S: 6_500_000.0,
    Rung.EVERY_5S: 10_000_000.0,
    Rung.EVERY_2S: 16_000_000.0,
}
"""Of the quick encoder."""
SMALL_RATIO = 0.6
"""Bytes of the thorough encoder over those of the quick one."""

EVENT_CPU_S_H = 18.0
FRAME_CPU_S_H = {
    Rung.EVERY_10MIN: 1.0,
    Rung.EVERY_2MIN: 4.0,
    Rung.FOCUS: 8.0,
    Rung.EVERY_30S: 14.0,
    Rung.EVERY_10S: 35.0,
    Rung.EVERY_5S: 60.0,
    Rung.EVERY_2S: 120.0,
}
SMALL_CPU_RATIO = 6.0

COMMON_HOURS = 3.0
OWN_HOURS = 12.0
"""Hours of activity after which the common, and a rung's own, factor has taken in 63 % of a change."""
MAX_LOG = log(50.0)
"""No factor goes further from the prior than this: a broken counter must not price everything away for ever."""
MIN_OBSERVED_H = 1 / 120
"""Shorter observations are gathered until they make half a minute."""
STILL_H = 1 / 4
"""So long without a frame means that the screen stands still, and not that the frames are still being encoded."""


class Price(NamedTuple):
    """What an hour of activity costs: bytes of events, of frames and of both, and CPU seconds."""

    event_bytes: float
    frame_bytes: float
    size_bytes: float
    cpu_s: float


class Learned:
    """A factor on priors. State: the common logarithm and each key's own (and their exponentials)."""

    __slots__ = ("_common_factor", "_own_factors", "common", "own")

    def __init__(self) -> None:
        self.common = 0.0
        self.own: dict[str, float] = {}
        self._common_factor = 1.0
        self._own_factors: dict[str, float] = {}

    def factor(self, key: str) -> float:
        """Return what the prior of `key` is to be multiplied by."""
        return self._common_factor * self._own_factors.get(key, 1.0)

    def learn(self, key: str, ratio: float, hours: float) -> None:
        """Take in that `key` cost `ratio` times its prior for so many hours of activity."""
        seen = min(MAX_LOG, max(-MAX_LOG, log(max(ratio, 1e-9))))
        own = self.own.get(key, 0.0)
        error = seen - self.common - own
        self.common += error * (1 - exp(-hours / COMMON_HOURS)) * 0.8
        self.own[key] = own + error * (1 - exp(-hours / OWN_HOURS)) * 0.2
        self._common_factor = exp(self.common)
        self._own_factors[key] = exp(self.own[key])

    def to_state(self) -> list[Any]:
        """Return it as plain values."""
        return [self.common, self.own]

    def load(self, state: Any) -> None:
        """Take over what `to_state` returned."""
        common, own = state
        self.common = float(common)
        self.own = {str(key): float(value) for key, value in own.items()}
        self._common_factor = exp(self.common)
        self._own_factors = {key: exp(value) for key, value in self.own.items()}


class Prices:
    """The prices of all rungs.

    State: three learned factors (event bytes, frame bytes, CPU), and what was paid and not yet learned from, by
    rung and effort.
    """

    def __init__(self, learned: Mapping[str, Any] | None = None) -> None:
        """Begin with what was learned before (`to_state`), or with the priors."""
        self.events, self.frames, self.cpu = Learned(), Learned(), Learned()
        self._open: dict[tuple[Rung, Effort], list[float]] = {}
        if learned:
            for name in ("events", "frames", "cpu"):
                getattr(self, name).load(learned[name])

    def to_state(self) -> dict[str, Any]:
        """Return what was learned, as plain values."""
        return {name: getattr(self, name).to_state() for name in ("events", "frames", "cpu")}

    def of(self, rung: Rung, effort: Effort) -> Price:
        """Return what an hour of activity costs on a rung."""
        event_bytes, frame_bytes, cpu_s, event_key, key = PRIORS[effort][rung]
        event_bytes *= self.events.factor(event_key)
        frame_bytes *= self.frames.factor(key)
        return Price(event_bytes, frame_bytes, event_bytes + frame_bytes, cpu_s * self.cpu.factor(key))

    def paid(
        self, rung: Rung, effort: Effort, *, active_s: float, event_bytes: float, frame_bytes: float, cpu_s: float
    ) -> None:
        """Learn from what was recorded on a rung.

        Args:
            rung, effort: of the plan under which it was recorded.
            active_s: seconds of activity. event_bytes, frame_bytes: on the wire. cpu_s: of all own processes.
        """
        gathered = self._open.setdefault((rung, effort), [0.0, 0.0, 0.0, 0.0])
        for index, value in enumerate((active_s / 3600, event_bytes, frame_bytes, cpu_s)):
            gathered[index] += value
        hours = gathered[0]
        if hours < MIN_OBSERVED_H or (rung >= FIRST_WITH_FRAMES and not gathered[2] and hours < STILL_H):
            return
        del self._open[rung, effort]
        prior_events, prior_frames, prior_cpu_s, event_key, key = PRIORS[effort][rung]
        if prior_events:
            self.events.learn(event_key, gathered[1] / hours / prior_events, hours)
        if prior_frames:
            self.frames.learn(key, gathered[2] / hours / prior_frames, hours)
        if prior_cpu_s and gathered[3]:
            self.cpu.learn(key, gathered[3] / hours / prior_cpu_s, hours)


def _prior(rung: Rung, effort: Effort) -> tuple[float, float, float, str, str]:
    """Return the priors of a rung (bytes of events, of frames, CPU seconds) and the keys of its learned factors."""
    small = effort is Effort.SMALL
    frame_bytes = FRAME_BYTES_H.get(rung, 0.0) * (SMALL_RATIO if small else 1.0)
    cpu_s = 0.0 if rung is Rung.NOTHING else EVENT_CPU_S_H
    if rung >= FIRST_WITH_FRAMES:
        cpu_s += FRAME_CPU_S_H[rung] * (SMALL_CPU_RATIO if small else 1.0)
    events = min(rung, Rung.EVENTS)
    return EVENT_BYTES_H[events], frame_bytes, cpu_s, events.name, f"{rung.name}/{effort.name}"


PRIORS = tuple(tuple(_prior(rung, effort) for rung in Rung) for effort in Effort)
"""By effort, then by rung."""
