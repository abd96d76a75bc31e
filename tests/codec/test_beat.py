"""The beat: it finds the grid that times keep, and follows it as it drifts."""

from __future__ import annotations

import numpy as np
import pytest

from codec.beat import PERIODS_US, choose_period, follow


def grid(period_ms: float, count: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(int(period_ms * 1000))
    ticks = np.cumsum(rng.choice([1, 1, 1, 1, 2, 7], count))
    return np.floor(12.3 + ticks * period_ms).astype(np.int64)


@pytest.mark.parametrize("number", [0, 1, 3, 5, 6])
def test_the_period_is_found(number: int) -> None:
    found = choose_period(grid(PERIODS_US[number] / 1000))
    ratio = PERIODS_US[number] / PERIODS_US[found]
    assert abs(ratio - round(ratio)) < 0.01  # itself, or a whole part of it


@pytest.mark.parametrize("drift", [1.0, 1.001, 0.999])
def test_the_next_tick_is_told(drift: float) -> None:
    t_ms = grid(PERIODS_US[0] / 1000 * drift)
    ahead, off = follow(0, t_ms)
    steps = np.diff(t_ms)
    near = steps < 20
    assert (np.abs(ahead[1:][near] - steps[near])[200:] <= 1).mean() > 0.95
    assert (np.abs(off[200:]) <= 1).mean() > 0.9


def test_any_times_are_followed() -> None:
    wild = np.array([0, 1 << 40, -(1 << 40), 5, 5, 4, 1 << 39], np.int64)
    ahead, off = follow(7, wild)
    assert len(ahead) == len(off) == len(wild)
