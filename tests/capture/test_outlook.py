"""What the governor tells people of its pace and of its energy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capture.conditions import ALL_LINKS
from capture.governor import Conditions, Governor, Purse, Settings, Span

HOUR = 3600 * 10**9
MONDAY = int(datetime(2026, 1, 12, tzinfo=UTC).timestamp()) * 10**9


def test_an_even_pace_goes_by_the_hours_of_activity_and_not_by_the_clock() -> None:
    governor = Governor(Settings())
    noon = MONDAY + 13 * HOUR
    shown = governor.outlook(noon, day=(MONDAY, MONDAY + 24 * HOUR))
    # Of someone unknown: half of each hour from 8 to 18 is expected to be active, a twentieth of the others.
    assert shown["day_even_ratio"] == pytest.approx((8 * 0.05 + 5 * 0.5) / (14 * 0.05 + 10 * 0.5))
    assert shown["bytes_h"] is None, "it has decided nothing yet"


def test_the_pace_that_decided_is_shown() -> None:
    governor = Governor(Settings())
    purse = Purse(Span.MONTH, 100_000_000, 300_000_000, MONDAY + 10 * 24 * HOUR)
    governor.decide(0, Conditions(wall_ns=MONDAY, link="unmetered", purses={ALL_LINKS: (purse,)}))
    shown = governor.outlook(MONDAY)
    assert shown["bytes_h"] == pytest.approx(100e6 / (shown["hours"] or 0), rel=0.8)
    governor.decide(0, Conditions(wall_ns=MONDAY, link="unmetered"))
    assert governor.outlook(MONDAY)["bytes_h"] is None, "without a budget there is no pace"


def test_the_energy_shown_is_what_the_plan_goes_by() -> None:
    governor = Governor(Settings(cpu_mains=0.08, cpu_battery=0.02))
    mains = Conditions(wall_ns=MONDAY, on_battery=False, own_cpu_ratio=0.5, wakeups_s=3.0)
    governor.decide(10**9, mains)
    governor.decide(301 * 10**9, mains)
    shown = governor.energy(mains)
    assert shown["cpu_ratio"] == pytest.approx(0.5 * 0.63, rel=0.01)
    assert (shown["cpu_share"], shown["wakeups_s"], shown["wakeups_limit"]) == (0.08, 3.0, 12.0)
    saving = Conditions(wall_ns=MONDAY, on_battery=True, power_saver=True)
    assert governor.energy(saving)["cpu_share"] == 0.01
