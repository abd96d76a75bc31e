"""Pure: the beat that a source's events keep: display frames, a mouse's polling, a system's timer.

Browsers report motion once a frame, mice once a poll, so that times lie near a grid whose period is known roughly (60
Hz, 125 Hz, 15.6 ms) and drifts. A `Beat` follows the grid as a phase-locked loop, in integers, from past times only;
what it says of the next tick is a context of method B, not a prediction that could be wrong at a cost.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PERIODS_US = (16667, 15600, 13333, 10000, 8333, 8000, 6944, 6061, 4167, 4000)
"""What an encoder chooses from, by number: 60 Hz, Windows' timer, 75, 100, 120, 125, 144, 165, 240 and 250 Hz."""

UNIT = 4096
"""Fractions of a millisecond."""
NEAR = 3 * UNIT
"""A time within 3 ms of a tick corrects the beat."""
PHASE_GAIN = 10
PERIOD_GAIN = 512


class Beat:
    """Follows one grid.

    State: tick (the grid's tick nearest to the last time, in 1/UNIT ms) and period (likewise).
    """

    __slots__ = ("period", "tick")

    def __init__(self, number: int, t_ms: int) -> None:
        self.period = PERIODS_US[number] * UNIT // 1000
        self.tick = t_ms * UNIT + UNIT // 2

    def ahead_ms(self, t_ms: int) -> int:
        """Return how far the next tick is from the last time, which was `t_ms`, in whole milliseconds."""
        return (self.tick + self.period) // UNIT - t_ms

    def hear(self, t_ms: int) -> int:
        """Move on to a time and return how far it is from its tick, in whole milliseconds."""
        distance = t_ms * UNIT + UNIT // 2 - self.tick
        beats = (distance + self.period // 2) // self.period
        self.tick += beats * self.period
        off_ms = t_ms - self.tick // UNIT
        error = t_ms * UNIT + UNIT // 2 - self.tick
        if -NEAR < error < NEAR:
            self.tick += error // PHASE_GAIN
            if 0 < beats < 8:
                self.period = min(max(self.period + error // PERIOD_GAIN, UNIT // 2), 32 * UNIT)
        return off_ms


def follow(number: int, t_ms: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Run a beat over times.

    Returns:
        For each time but the first: what `ahead_ms` said before it, and what `hear` said of it; for the first, zeros.
    """
    times: list[int] = t_ms.tolist()
    beat = Beat(number, times[0])
    ahead, off = [0], [0]
    last = times[0]
    for t in times[1:]:
        ahead.append(beat.ahead_ms(last))
        off.append(beat.hear(t))
        last = t
    return np.array(ahead, np.int64), np.array(off, np.int64)


def choose_period(t_ms: npt.NDArray[np.int64]) -> int:
    """Return the number of the period that times keep best over short stretches; 0 where they are too few to tell."""
    stretch = 32
    count = len(t_ms) // stretch * stretch
    if not count:
        return 0
    turns = (t_ms[:count] - t_ms[0]).astype(np.float64)[:, None] * (1000 / np.array(PERIODS_US))
    kept = np.abs(np.exp(2j * np.pi * turns).reshape(-1, stretch, len(PERIODS_US)).mean(1)).mean(0)
    return int(np.argmax(kept))
