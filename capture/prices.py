"""Pure: what each rung costs: bytes on the wire and CPU seconds per hour of activity, learned as it is paid.

A price is a prior times what was learned: a factor common to all rungs (this person's screen changes twice as much) and
one of each rung's own. So a rung that was never tried is priced from its neighbours. The priors are measured ones
(benches/, office work at 1080p), rounded up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
MIN_RATIO = 0.05
"""A screen that stood still cheapens screenshots by no more than this at a time."""
MIN_OBSERVED_H = 1 / 120
"""What is paid for less than half a minute of activity is put to the next."""
STILL_H = 4.0
"""So long without a frame means that the screen stands still, and not that they are still being encoded."""


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

    def learn(self, ratio: float, shares: Mapping[str, float], hours: float) -> None:
        """Take in that so many hours of activity cost `ratio` times what was expected.

        Args:
            shares: of what was expected, by key; they add up to 1.
        """
        # Linear, not logarithmic: it is the mean that has to be paid, and costs scatter upwards.
        error = min(1 / MIN_RATIO, max(MIN_RATIO, ratio)) - 1
        common, own = 0.8 * (1 - exp(-hours / COMMON_HOURS)), 0.2 * (1 - exp(-hours / OWN_HOURS))
        error = min(error, log(1 + error) / (common + own)) if error > 0 else error  # and not beyond what was seen
        self.common = min(MAX_LOG, max(-MAX_LOG, self.common + error * common))
        self._common_factor = exp(self.common)
        for key, share in shares.items():
            self.own[key] = min(MAX_LOG, max(-MAX_LOG, self.own.get(key, 0.0) + error * own * share))
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


class Account:
    """What was bought and not paid yet, of one good. State: hours of activity by key with their prior, and what came in."""

    __slots__ = ("hours", "learned", "paid")

    def __init__(self) -> None:
        self.learned = Learned()
        self.hours: dict[str, list[float]] = {}  # key: prior an hour, hours
        self.paid = 0.0

    def buy(self, key: str, prior: float, hours: float) -> None:
        """Note that something was recorded at a price for a time."""
        if prior:
            self.hours.setdefault(key, [prior, 0.0])[1] += hours

    def pay(self, amount: float, *, least_hours: float) -> None:
        """Note what it cost, and learn once it was for `least_hours`."""
        self.paid += amount
        hours = 0.0
        for _, bought in self.hours.values():
            hours += bought
        if hours < least_hours:
            return
        if len(self.hours) == 1:
            ((key, (prior, bought)),) = self.hours.items()
            expected_amount = prior * bought * self.learned.factor(key)
            self.learned.learn(self.paid / expected_amount, {key: 1.0}, hours)
        else:
            expected = {key: prior * bought * self.learned.factor(key) for key, (prior, bought) in self.hours.items()}
            total = sum(expected.values())
            self.learned.learn(self.paid / total, {key: part / total for key, part in expected.items()}, hours)
        self.hours.clear()
        self.paid = 0.0


class Prices:
    """The prices of all rungs. State: an account each of event bytes, frame bytes and CPU seconds."""

    def __init__(self, learned: Mapping[str, Any] | None = None) -> None:
        """Begin with what was learned before (`to_state`), or with the priors."""
        self.events, self.frames, self.cpu = Account(), Account(), Account()
        if learned:
            for name in ("events", "frames", "cpu"):
                getattr(self, name).learned.load(learned[name])

    def to_state(self) -> dict[str, Any]:
        """Return what was learned, as plain values."""
        return {name: getattr(self, name).learned.to_state() for name in ("events", "frames", "cpu")}

    def of(self, rung: Rung, effort: Effort) -> Price:
        """Return what an hour of activity costs on a rung."""
        event_bytes, frame_bytes, cpu_s, event_key, key = PRIORS[effort][rung]
        event_bytes *= self.events.learned.factor(event_key)
        frame_bytes *= self.frames.learned.factor(key)
        return Price(event_bytes, frame_bytes, event_bytes + frame_bytes, cpu_s * self.cpu.learned.factor(key))

    def costs(self, effort: Effort) -> Callable[[int], tuple[float, float]]:
        """Return what tells, of a rung, what `of` tells: bytes of everything, and CPU seconds."""
        priors = PRIORS[effort]
        events, frames, cpu = self.events.learned, self.frames.learned, self.cpu.learned

        def cost(rung: int) -> tuple[float, float]:
            event_bytes, frame_bytes, cpu_s, event_key, key = priors[rung]
            size_bytes = event_bytes * events.factor(event_key) + frame_bytes * frames.factor(key)
            return size_bytes, cpu_s * cpu.factor(key)

        return cost

    def bought(self, rung: Rung, effort: Effort, active_s: float) -> None:
        """Note that so many seconds of activity were recorded on a rung."""
        event_bytes, frame_bytes, cpu_s, event_key, key = PRIORS[effort][rung]
        hours = active_s / 3600
        self.events.buy(event_key, event_bytes, hours)
        self.frames.buy(key, frame_bytes, hours)
        self.cpu.buy(key, cpu_s, hours)

    def paid(self, *, event_bytes: float = 0.0, frame_bytes: float = 0.0, cpu_s: float = 0.0) -> None:
        """Learn from what the chunks cost that were made since the last call of their kind.

        Args:
            event_bytes, frame_bytes: on the wire. cpu_s: of all own processes.
        """
        if event_bytes:
            self.events.pay(event_bytes, least_hours=MIN_OBSERVED_H)
        self.frames.pay(frame_bytes, least_hours=MIN_OBSERVED_H if frame_bytes else STILL_H)
        if cpu_s:
            self.cpu.pay(cpu_s, least_hours=MIN_OBSERVED_H)


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
