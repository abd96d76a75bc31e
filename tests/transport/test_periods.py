"""Days and billing periods follow each other without gap or overlap, wherever and whenever."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.periods import LAST_WALL_NS, NS_PER_S, Calendar

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/Sao_Paulo",  # once changed its clocks at midnight
    "Asia/Beirut",  # still does
    "Pacific/Apia",  # left out a whole day in 2011
    "Australia/Lord_Howe",  # half an hour of summer time
    "Asia/Kathmandu",
]


def ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * NS_PER_S  # type: ignore[misc, arg-type]


@settings(deadline=None)
@given(st.sampled_from(ZONES), st.integers(0, LAST_WALL_NS))
def test_an_instant_lies_in_its_day(zone: str, wall_ns: int) -> None:
    calendar = Calendar(zone)
    day = calendar.day_of(wall_ns)
    assert calendar.start_ns(day) <= wall_ns < calendar.end_ns(day)
    assert calendar.end_ns(day) == calendar.start_ns(day + 1)


@settings(deadline=None)
@given(st.sampled_from(ZONES), st.integers(date(1990, 1, 1).toordinal(), date(2060, 1, 1).toordinal()))
def test_days_follow_each_other(zone: str, day: int) -> None:
    calendar = Calendar(zone)
    hours = (calendar.end_ns(day) - calendar.start_ns(day)) / NS_PER_S / 3600
    assert 0 <= hours <= 25
    if hours:
        assert calendar.day_of(calendar.start_ns(day)) == day
        assert calendar.day_of(calendar.end_ns(day) - 1) == day


def test_the_days_of_summer_time_have_23_and_25_hours() -> None:
    calendar = Calendar("Europe/Berlin")
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 10, 26), 24)):
        length = calendar.end_ns(day.toordinal()) - calendar.start_ns(day.toordinal())
        assert length == hours * 3600 * NS_PER_S


@settings(deadline=None)
@given(st.integers(1, 31), st.integers(date(2000, 1, 1).toordinal(), date(2090, 1, 1).toordinal()))
def test_billing_periods_follow_each_other(billing_day: int, day: int) -> None:
    calendar = Calendar("UTC", billing_day)
    first, after = calendar.billing_period(day)
    assert first <= day < after
    assert 28 <= after - first <= 31
    assert calendar.billing_period(after)[0] == after
    assert calendar.billing_period(first) == (first, after)


def test_a_billing_day_that_a_month_lacks_is_its_last() -> None:
    calendar = Calendar("UTC", 31)
    starts = [date.fromordinal(calendar.billing_period(date(2026, month, 15).toordinal())[1]) for month in (1, 2, 3, 4)]
    assert starts == [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)]


def test_windows_open_by_the_local_clock_and_over_midnight() -> None:
    calendar = Calendar("Europe/Berlin")
    noon = ns(2026, 1, 10, 12, 0)  # 13:00 in Berlin
    assert calendar.wait_for_window_ns(noon, ()) == 0
    assert calendar.wait_for_window_ns(noon, ((12 * 60, 14 * 60),)) == 0
    assert calendar.wait_for_window_ns(noon, ((22 * 60, 6 * 60),)) == 9 * 3600 * NS_PER_S
    assert calendar.wait_for_window_ns(ns(2026, 1, 10, 22, 30), ((22 * 60, 6 * 60),)) == 0
    assert calendar.wait_for_window_ns(noon, ((22 * 60, 6 * 60), (13 * 60 + 1, 14 * 60))) == 60 * NS_PER_S


@pytest.mark.parametrize("billing_day", [0, 32, -1])
def test_a_billing_day_outside_the_month_is_refused(billing_day: int) -> None:
    with pytest.raises(ValueError, match="1 to 31"):
        Calendar("UTC", billing_day)
