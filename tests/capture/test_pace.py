"""The pace: a budget lasts to its end, is spent early rather than lost, and leaves enough for clicks."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.conditions import ALL_LINKS, Purse, Span
from capture.habits import NS_PER_HOUR, Habits
from capture.ladder import Upload
from capture.pace import WIRE_RATIO, Pace, haste, pace

NOW = 1_768_212_000_000_000_000  # a Monday, 10:00 UTC
DAY = 24 * NS_PER_HOUR
SEND = {"unmetered": Upload.ALL, "metered": Upload.EVENTS, "roaming": Upload.NOTHING}
MB = 10**6


def ask(left: float, days: float = 20, span: Span = Span.MONTH, now_ns: int = NOW, **said: object) -> Pace:
    purses = {ALL_LINKS: (Purse(span, round(left), 3000 * MB, now_ns + round(days * DAY)),)}
    given = {
        "backlog_bytes": 0,
        "habits": Habits("UTC"),
        "link_shares": {"unmetered": 1.0},
        "send": SEND,
        "floor_bytes_h": 25_000.0,
    } | said
    return pace(now_ns, purses, **given)  # type: ignore[arg-type]


def test_without_a_budget_nothing_limits() -> None:
    made = pace(NOW, {}, backlog_bytes=0, habits=Habits("UTC"), link_shares={}, send=SEND, floor_bytes_h=1)
    assert made.frame_bytes_h == inf
    assert made.purse is None
    assert not made.frames_can_leave


def test_whoever_follows_the_pace_ends_with_nothing_left_and_was_never_without() -> None:
    habits = Habits("UTC")
    left, rates = 600.0 * MB, []
    for hour in range(30 * 24):
        now_ns = NOW + hour * NS_PER_HOUR
        share = habits.share[int(habits.local_hours(now_ns)) % 168]
        made = ask(left, 30 - hour / 24, now_ns=now_ns)
        rates.append(made.frame_bytes_h)
        left -= made.frame_bytes_h * share
    assert 0 <= left < 0.03 * 600 * MB
    assert all(rate > 0 for rate in rates)
    middle = rates[len(rates) // 2]
    assert rates[0] > 1.5 * middle > 0, "early rather than late"


def test_half_the_time_leaves_less_than_a_third() -> None:
    left, steps = 1.0, 1000
    for step in range(steps // 2):
        share = 1 - step / steps
        left -= left / (share * steps) * haste(share)
    assert left == pytest.approx(0.275, abs=0.01)


@settings(deadline=None)
@given(st.floats(0, 3000), st.floats(0.05, 31), st.floats(0, 500))
def test_the_pace_never_falls_with_more_budget_nor_rises_with_more_backlog(
    left: float, days: float, more: float
) -> None:
    base = ask(left * MB, days)
    assert ask((left + more) * MB, days).frame_bytes_h >= base.frame_bytes_h
    assert ask(left * MB, days, backlog_bytes=round(more * MB)).frame_bytes_h <= base.frame_bytes_h


def test_what_waits_is_as_good_as_spent() -> None:
    waits = ask(500 * MB, backlog_bytes=100 * MB)
    spent = ask((500 - 100 * WIRE_RATIO) * MB)
    assert waits.frame_bytes_h == pytest.approx(spent.frame_bytes_h)


def test_screens_leave_a_reserve_for_clicks() -> None:
    reserve_h = 25_000 * 14 * 20  # bytes: 14 h a day for 20 days
    assert ask(reserve_h * 0.9).frame_bytes_h < 0 < ask(reserve_h * 0.9).event_bytes_h
    assert ask(reserve_h * 1.1).frame_bytes_h > 0


def test_the_scarcer_purse_decides() -> None:
    day, month = (
        Purse(Span.DAY, 5 * MB, 50 * MB, NOW + DAY // 2),
        Purse(Span.MONTH, 900 * MB, 1000 * MB, NOW + 20 * DAY),
    )
    made = pace(
        NOW,
        {ALL_LINKS: (month, day)},
        backlog_bytes=0,
        habits=Habits("UTC"),
        link_shares={"unmetered": 1.0},
        send=SEND,
        floor_bytes_h=25_000.0,
    )
    assert made.purse == day


def test_a_rate_ceiling_is_a_pace_too() -> None:
    assert ask(3000 * MB, daily_bytes=10.0 * MB).frame_bytes_h == pytest.approx(10 * MB / Habits("UTC").hours_a_day())


def test_a_link_that_is_hardly_seen_is_not_counted_on() -> None:
    assert ask(900 * MB, link_shares={"unmetered": 0.01, "metered": 1.0}).frames_can_leave is False
    assert ask(900 * MB, link_shares={"unmetered": 0.05, "metered": 1.0}).frames_can_leave is True


def test_events_follow_the_limits_of_the_links_that_carry_them() -> None:
    month = NOW + 20 * DAY
    metered = {"metered": (Purse(Span.MONTH, 10 * MB, 10 * MB, month),)}
    common = {"habits": Habits("UTC"), "send": SEND, "floor_bytes_h": 25_000.0}
    alone = pace(NOW, metered, backlog_bytes=900 * MB, link_shares={"metered": 1.0}, **common)  # type: ignore[arg-type]
    assert 0 < alone.event_bytes_h < 1 * MB, "and screens that never leave take nothing of it"
    assert not alone.frames_can_leave
    both = pace(NOW, metered, backlog_bytes=0, link_shares={"metered": 1.0, "unmetered": 1.0}, **common)  # type: ignore[arg-type]
    assert both.event_bytes_h == both.frame_bytes_h == inf
