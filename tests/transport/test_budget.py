"""The budget never gives more than its limits, whatever the clocks, links and settlements do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transport.budget import Budget
from transport.budget_state import from_state, to_state
from transport.limits import Allowance, Lease, Limits, Link, Moment, Refusal, Sendable, show_bytes
from transport.periods import NS_PER_S, Calendar

HOUR = 3600 * NS_PER_S
DAY = 24 * HOUR
START = int(datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp()) * NS_PER_S
BOOT = b"boot-one"
ALL = dict.fromkeys((Link.UNMETERED, Link.METERED, Link.ROAMING), Sendable.ALL)


def at(hours: float = 0, *, step_h: float = 0, boot: bytes = BOOT, synced: bool = False) -> Moment:
    """A moment `hours` after START by true time, with a wall clock that is `step_h` wrong."""
    return Moment(START + round((hours + step_h) * HOUR), round(hours * HOUR), boot, synced)


def budget(**limits: Any) -> Budget:
    made = Budget(Limits(sendable=ALL, **limits))
    made.observe(at())
    return made


def ask(state: Budget, size: int, link: Link = Link.UNMETERED, moment: Moment | None = None) -> Lease | Refusal:
    if moment is not None:
        state.observe(moment)
    refusal = state.refusal(size, link)
    return state.take(size, link) if refusal is None else refusal


def test_a_limit_is_reached_and_not_passed() -> None:
    state = budget(day_bytes=100)
    assert isinstance(ask(state, 60), Lease)
    refusal = ask(state, 41)
    assert isinstance(refusal, Refusal)
    assert refusal.left_bytes == 40
    assert refusal.retry_wall_ns == START + 12 * HOUR
    assert refusal.reasons == ("today, the budget of 100 B has 40 B left, 41 B are needed",)
    assert isinstance(ask(state, 40), Lease)


def test_what_a_lease_did_not_use_is_free_again() -> None:
    state = budget(day_bytes=100, month_bytes=150)
    lease = ask(state, 100)
    assert isinstance(lease, Lease)
    state.settle(lease.id, 30, 20, 5)
    state.settle(lease.id, 0)
    usage = state.usage()
    assert (usage.day_used, usage.month_used, usage.reserved) == (30, 30, 0)
    assert dict(usage.by_kind) == {"events": 20, "screens": 5, "other": 5}


def test_a_new_day_and_a_new_period_begin_at_local_midnight() -> None:
    state = budget(day_bytes=100, month_bytes=150, time_zone="Asia/Tokyo", billing_day=12)  # START is 21:00 there
    assert isinstance(ask(state, 100), Lease)
    assert isinstance(ask(state, 1, moment=at(2.9)), Refusal)
    assert isinstance(ask(state, 50, moment=at(3)), Refusal), "the first lease lives on through midnight"
    state.settle(1, 100)
    state.observe(at(27))
    assert isinstance(ask(state, 50, moment=at(27)), Lease), "the billing period began anew on the 12th"


def test_a_lease_that_lives_through_midnight_counts_in_both_days() -> None:
    state = budget(day_bytes=100)
    lease = ask(state, 80)
    assert isinstance(lease, Lease)
    assert isinstance(ask(state, 30, moment=at(12.1)), Refusal)
    state.settle(lease.id, 40)
    assert state.usage().day_used == 40
    state.observe(at(11.9))
    assert state.usage().day_used == 40


def test_a_clock_set_forward_gives_nothing() -> None:
    state = budget(day_bytes=100, month_bytes=150)
    assert isinstance(ask(state, 100), Lease)
    for hours, step_h in ((0.1, 24), (0.2, 24 * 40), (0.3, 24 * 4000), (0.4, 11.999)):
        state.observe(at(hours, step_h=step_h))
        assert isinstance(ask(state, 1), Refusal), f"clock {step_h} h ahead"


def test_a_clock_set_forward_and_back_neither_doubles_nor_locks() -> None:
    state = budget(day_bytes=100)
    spent = ask(state, 100)
    assert isinstance(spent, Lease)
    state.settle(spent.id, 100)
    state.observe(at(1, step_h=24 * 365 * 10))
    assert isinstance(ask(state, 1), Refusal)
    assert any("ahead of" in note for note in state.usage().notes)
    state.observe(at(2))
    assert isinstance(ask(state, 1), Refusal)
    assert isinstance(ask(state, 100, moment=at(12)), Lease), "the next true day has its budget"


def test_a_clock_set_back_finds_the_day_as_it_was_left() -> None:
    state = budget(day_bytes=100)
    lease = ask(state, 100)
    assert isinstance(lease, Lease)
    state.settle(lease.id, 100)
    assert isinstance(ask(state, 100, moment=at(13)), Lease)
    state.observe(at(14, step_h=-24))
    assert isinstance(ask(state, 1), Refusal)
    state.observe(at(14, step_h=-24 * 9))
    assert isinstance(ask(state, 1), Refusal), "the steady clock's day is spent"
    assert isinstance(ask(state, 1, moment=at(36, step_h=-24 * 9)), Refusal), "the first lease of that day is still out"


def test_a_clock_that_was_wrong_from_the_start_and_is_set_right_keeps_the_true_day() -> None:
    state = Budget(Limits(day_bytes=100, sendable=ALL))
    state.observe(at(step_h=-8))  # the steady clock stays 8 h behind
    assert isinstance(ask(state, 100, moment=at(19)), Lease), "7:00 of the true day"
    state.settle(1, 100)
    assert isinstance(ask(state, 1, moment=at(21)), Refusal), "the steady clock's day has ended, the true one has not"
    assert isinstance(ask(state, 100, moment=at(36.1)), Lease)


def test_a_clock_that_the_system_vouches_for_is_believed() -> None:
    state = Budget(Limits(day_bytes=100, sendable=ALL))
    assert isinstance(ask(state, 100, moment=at(synced=True)), Lease)
    state.settle(1, 100)
    assert isinstance(ask(state, 1, moment=at(0.1, step_h=24)), Refusal)
    assert isinstance(ask(state, 1, moment=at(0.2, step_h=24, synced=True)), Lease)


def test_two_monotonic_clocks_in_turn_do_not_make_time() -> None:
    state = budget(day_bytes=100)
    assert isinstance(ask(state, 100), Lease)
    for minute in range(60):
        for asleep_h in (0, 5):
            now = at(minute / 60)
            state.observe(replace(now, mono_ns=now.mono_ns + asleep_h * HOUR))
    assert state.steady.day == state.wall.day
    assert state.clock.ns - START < 7 * HOUR


def test_where_the_system_usually_vouches_a_reboot_waits_for_it() -> None:
    state = Budget(Limits(day_bytes=100, sendable=ALL))
    state.observe(at(synced=True))
    lease = ask(state, 100)
    assert isinstance(lease, Lease)
    state.settle(lease.id, 100)
    # The machine was off for an hour, and wakes with a clock that is a day ahead.
    assert isinstance(ask(state, 1, moment=at(1, step_h=24, boot=b"boot-two")), Refusal)
    assert isinstance(ask(state, 1, moment=at(1.1, boot=b"boot-two", synced=True)), Refusal)
    # It was off over night; until the time server answers nothing is sent, then the new day's budget is there.
    assert isinstance(ask(state, 1, moment=at(20, boot=b"boot-tri")), Refusal)
    assert isinstance(ask(state, 100, moment=at(20.01, boot=b"boot-tri", synced=True)), Lease)


def test_a_system_that_no_longer_vouches_is_not_waited_for_for_ever() -> None:
    state = Budget(Limits(day_bytes=100, sendable=ALL))
    state.observe(at(synced=True))
    refused = 0
    for day in range(1, 60):  # 8 h of each day it runs
        for hours in (0, 8):
            moment = at(24 * day + hours)
            state.observe(replace(moment, mono_ns=hours * HOUR, boot=bytes([day] * 8)))
        lease = ask(state, 100)
        if isinstance(lease, Lease):
            state.settle(lease.id, 100)
        else:
            refused = day
    assert 14 < refused < 45


def test_what_was_sent_by_a_wrong_clock_is_counted_in_its_true_day_once_that_is_known() -> None:
    state = Budget(Limits(day_bytes=100, month_bytes=1000, sendable=ALL))
    lease = ask(state, 90, moment=at(step_h=24))  # new on a machine whose clock is a day ahead
    assert isinstance(lease, Lease)
    state.settle(lease.id, 90)
    state.observe(at(1, synced=True))
    assert state.usage().day_used == 90
    assert isinstance(ask(state, 11), Refusal)
    assert isinstance(ask(state, 100, moment=at(48, synced=True)), Lease)


def test_after_a_reboot_the_usual_confirmation_of_the_clock_is_awaited_for_a_day_of_running() -> None:
    state = Budget(Limits(day_bytes=100, sendable=ALL))
    state.observe(at(synced=True))
    refusal = ask(state, 1, moment=replace(at(20, boot=b"boot-two"), mono_ns=0))
    assert isinstance(refusal, Refusal)
    assert "no time server has confirmed" in refusal.reasons[0]
    assert isinstance(ask(state, 1, moment=replace(at(43, boot=b"boot-two"), mono_ns=23 * HOUR)), Refusal)
    assert isinstance(ask(state, 1, moment=replace(at(45, boot=b"boot-two"), mono_ns=25 * HOUR)), Lease)


def test_time_passes_over_a_reboot_by_the_wall_clock_if_it_goes_forward() -> None:
    state = budget(day_bytes=100)
    assert isinstance(ask(state, 100), Lease)
    state.settle(1, 100)
    state.observe(Moment(START - 30 * DAY, 0, b"boot-two"))
    assert isinstance(ask(state, 1), Refusal), "a clock that forgot the time"
    state.observe(Moment(START + 13 * HOUR, 0, b"boot-tri"))
    assert isinstance(ask(state, 1), Lease)


def test_classes_of_links_have_limits_of_their_own() -> None:
    state = budget(day_bytes=100, links={Link.METERED: Allowance(day_bytes=10)})
    assert isinstance(ask(state, 11, Link.METERED), Refusal)
    assert isinstance(ask(state, 6, Link.UNKNOWN), Lease)
    refusal = ask(state, 5, Link.METERED)
    assert isinstance(refusal, Refusal)
    assert "the budget for metered links" in refusal.reasons[0]
    assert isinstance(ask(state, 90, Link.UNMETERED), Lease)
    assert isinstance(ask(state, 5, Link.UNMETERED), Refusal)


def test_what_may_go_over_a_link_is_asked_first() -> None:
    state = Budget(Limits())
    state.observe(at())
    assert state.refusal(1, Link.UNMETERED) is None
    assert state.refusal(1, Link.METERED, events_only=True) is None
    for link, events_only, words in (
        (Link.METERED, False, "only events"),
        (Link.UNKNOWN, False, "treated as metered"),
        (Link.ROAMING, True, "nothing may go"),
        (Link.OFFLINE, True, "no network"),
    ):
        refusal = state.refusal(1, link, events_only=events_only)
        assert refusal is not None
        assert words in refusal.reasons[0]


def test_upload_windows_say_when_to_come_back() -> None:
    state = budget(windows=((22 * 60, 6 * 60),))
    refusal = ask(state, 1)
    assert isinstance(refusal, Refusal)
    assert refusal.retry_wall_ns == START + 10 * HOUR
    assert isinstance(ask(state, 1, moment=at(10)), Lease)


def test_the_rate_is_held_and_restarts_make_no_bursts() -> None:
    state = budget(rate_bytes_s=100)
    refusal = ask(state, 200)
    assert isinstance(refusal, Refusal)
    assert refusal.retry_wall_ns - START == pytest.approx(2 * NS_PER_S, abs=2)
    sent, seconds = 0, 0.0
    while seconds < 600:
        seconds += 0.5
        if isinstance(ask(state, 777, moment=at(seconds / 3600)), Lease):
            sent += 777
    assert 0.97 * 100 * 600 <= sent <= 100 * 600 + 777


def test_a_lease_larger_than_the_bucket_goes_and_leaves_a_debt() -> None:
    state = budget(rate_bytes_s=100)
    ask(state, 1)
    assert isinstance(ask(state, 5000, moment=at(11 / 3600)), Lease)
    assert isinstance(ask(state, 1, moment=at(40 / 3600)), Refusal)
    assert isinstance(ask(state, 1, moment=at(55 / 3600)), Lease)


def test_a_changed_billing_day_forgets_nothing() -> None:
    state = budget(month_bytes=100)
    lease = ask(state, 100)
    assert isinstance(lease, Lease)
    state.settle(lease.id, 100)
    moved = from_state(Limits(month_bytes=100, billing_day=9, sendable=ALL), to_state(state))
    assert isinstance(ask(moved, 1, moment=at(1)), Refusal)
    assert isinstance(ask(moved, 1, moment=at(24 * 20)), Refusal), "until the 9th of the next month"
    assert isinstance(ask(moved, 1, moment=at(24 * 30)), Lease)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Tokyo"])
def test_a_changed_time_zone_takes_today_with_it(zone: str) -> None:
    state = budget(day_bytes=100)
    lease = ask(state, 100)
    assert isinstance(lease, Lease)
    state.settle(lease.id, 100)
    moved = from_state(Limits(day_bytes=100, time_zone=zone, sendable=ALL), to_state(state))
    assert isinstance(ask(moved, 1, moment=at(0.01)), Refusal)


def test_a_lock_ends_with_the_period_and_not_with_a_jump() -> None:
    state = budget(month_bytes=100)
    state.lock_period("damaged")
    refusal = ask(state, 1)
    assert isinstance(refusal, Refusal)
    assert refusal.reasons == ("damaged",)
    assert refusal.left_bytes == 0
    assert refusal.retry_wall_ns == int(datetime(2026, 2, 1, tzinfo=UTC).timestamp()) * NS_PER_S
    assert isinstance(ask(state, 1, moment=at(1, step_h=24 * 30)), Refusal)
    assert isinstance(ask(state, 1, moment=at(24 * 22)), Lease)


def test_a_lock_set_by_a_wrong_clock_moves_to_the_true_period() -> None:
    state = Budget(Limits(month_bytes=100, sendable=ALL))
    state.observe(Moment(5 * DAY, 0, BOOT))
    state.lock_period("damaged")
    assert isinstance(ask(state, 1, moment=at(0, synced=True)), Refusal)
    assert isinstance(ask(state, 1, moment=at(24 * 22, synced=True)), Lease)


def test_the_forecast_follows_the_weeks_habits() -> None:
    state = budget(month_bytes=10**9)
    begin = datetime(2026, 1, 10, 12, tzinfo=UTC)
    for day in range(1, 50):
        when = begin + timedelta(days=day)
        if when.weekday() < 5:
            lease = ask(state, 1000, moment=at(24 * day))
            assert isinstance(lease, Lease)
            state.settle(lease.id, 1000)
        else:
            state.observe(at(24 * day))
    # 28 February 2026 is a Saturday; from 10 January to it February has 20 working days.
    assert state.usage().forecast_month == pytest.approx(20_000, rel=0.02)


def test_state_survives_as_plain_values() -> None:
    state = budget(day_bytes=1000, month_bytes=5000, links={Link.METERED: Allowance(50, 60)})
    for hours, link in enumerate((Link.UNMETERED, Link.METERED, Link.METERED, Link.ROAMING)):
        lease = ask(state, 20, link, at(9 * hours))
        assert isinstance(lease, Lease)
        if hours % 2:
            state.settle(lease.id, 10, 5, 5)
    again = from_state(state.limits, to_state(state))
    again.observe(at(27))
    assert again.usage() == state.usage()
    assert to_state(again) == to_state(state)


def test_bytes_are_shown_as_people_write_them() -> None:
    assert [show_bytes(n) for n in (0, 999, 1000, 38_200_000, 1.5e9)] == ["0 B", "999 B", "1 KB", "38.2 MB", "1.5 GB"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["take", "settle", "forget", "reboot", "wait"]),
        st.integers(1, 60),
        st.floats(0, 30),
        st.sampled_from([0.0, 0.0, 0.0, 1.0, -1.0, 24.0, -24.0, 800.0, -800.0, 90_000.0]),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo"]), st.integers(1, 31), st.booleans())
def test_no_true_day_or_period_gets_more_than_its_limit(
    steps: list[tuple[str, int, float, float, bool]], zone: str, billing_day: int, vouched: bool
) -> None:
    """The clock is right at the start, and then set about while the machine runs (a reboot keeps what it shows).

    Where the system vouches for its clock when it is right, it may also be wrong from a boot on, until it is set right.
    """
    limits = Limits(day_bytes=100, month_bytes=250, time_zone=zone, billing_day=billing_day, sendable=ALL)
    state = Budget(limits)
    calendar = Calendar(zone, billing_day)
    true_h, step_h, boots, mono_base = 0.0, 0.0, 0, 0.0
    by_day: dict[int, int] = {}

    def moment() -> Moment:
        shown = at(true_h, step_h=step_h, boot=bytes([boots] * 8), synced=vouched and step_h == 0)
        return replace(shown, mono_ns=round((true_h - mono_base) * HOUR))

    state.observe(moment())
    outstanding: list[Lease] = []
    for what, size, hours, jump_h, whole in steps:
        true_h += hours
        if vouched:
            state.observe(moment())
            step_h = jump_h if not step_h else 0.0 if whole else step_h
        elif what != "reboot":
            step_h += jump_h
        if what == "reboot" and vouched:
            boots, mono_base = boots + 1, true_h
        state.observe(moment())
        if what == "take" and state.refusal(size, Link.UNMETERED) is None:
            outstanding.append(state.take(size, Link.UNMETERED))
        elif what == "settle" and outstanding:
            lease = outstanding.pop(0)
            used = lease.reserved_bytes if whole else lease.reserved_bytes // 2
            true_day = calendar.day_of(START + round(true_h * HOUR))  # sent as late as can be
            by_day[true_day] = by_day.get(true_day, 0) + used
            state.settle(lease.id, used)
        elif what in {"forget", "reboot"}:
            if what == "reboot":
                boots, mono_base = boots + 1, true_h
                state = from_state(limits, to_state(state))
                state.observe(moment())
            for lease in outstanding:
                true_day = calendar.day_of(START + round(true_h * HOUR))
                by_day[true_day] = by_day.get(true_day, 0) + lease.reserved_bytes
            state.write_off()
            outstanding.clear()
        by_month: dict[int, int] = {}
        for day, used in by_day.items():
            by_month[calendar.billing_period(day)[0]] = by_month.get(calendar.billing_period(day)[0], 0) + used
        assert max(by_day.values(), default=0) <= 100
        assert max(by_month.values(), default=0) <= 250
