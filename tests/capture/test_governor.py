"""The governor: who pays with what, in which order things fall, and that nothing flaps."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.conditions import ALL_LINKS
from capture.governor import Conditions, Governor, Plan, Purse, Rung, Settings, Span, Upload
from capture.ladder import Effort

S = 1_000_000_000
MINUTE = 60 * S
HOUR = 3600 * S
DAY = 24 * HOUR
MONDAY = int(datetime(2026, 1, 12, 10, tzinfo=UTC).timestamp()) * S
GB, MB = 10**9, 10**6


def purses(left: int, limit: int = 3 * GB, days: float = 20, span: Span = Span.MONTH) -> dict[str, tuple[Purse, ...]]:
    return {ALL_LINKS: (Purse(span, left, limit, MONDAY + round(days * DAY)),)}


def conditions(**said: Any) -> Conditions:
    return Conditions(**({"wall_ns": MONDAY, "on_battery": False, "link": "unmetered"} | said))


def plan(governor: Governor | None = None, now_ns: int = 0, **said: Any) -> Plan:
    return (governor or Governor(Settings())).decide(now_ns, conditions(**said)).value


def reasons(**said: Any) -> str:
    return " | ".join(Governor(Settings()).decide(0, conditions(**said)).reasons)


def test_with_everything_to_spare_everything_is_recorded_quickly() -> None:
    made = plan()
    assert made.rung is Rung.EVERY_2S
    assert made.effort is Effort.FAST
    assert made.upload is Upload.ALL
    assert made.move_interval_ms == 0


def test_mains_with_scarce_bytes_takes_the_small_encoder_battery_with_free_bytes_the_fast_one() -> None:
    assert plan(purses=purses(400 * MB)).effort is Effort.SMALL
    assert plan(on_battery=True, battery_ratio=0.8).effort is Effort.FAST
    assert plan(on_battery=True, battery_ratio=0.8).rung > Rung.EVENTS


def test_with_both_scarce_rungs_fall() -> None:
    scarce = purses(150 * MB)
    both = plan(purses=scarce, on_battery=True, battery_ratio=0.8)
    assert both.rung < plan(purses=scarce).rung, "on mains the small encoder pays"
    assert both.rung < plan(on_battery=True, battery_ratio=0.8).rung


def test_less_budget_never_records_more_and_screens_fall_first() -> None:
    rungs = [plan(purses=purses(left)).rung for left in (3 * GB, GB, 300 * MB, 100 * MB, 30 * MB, 10 * MB, MB, 0)]
    assert all(after <= before for before, after in pairwise(rungs))
    assert rungs[0] is Rung.EVERY_2S
    assert rungs[-1] is Rung.CLICKS, "clicks are the last to go, and with no budget they wait in the spool"
    assert Rung.EVENTS in rungs or Rung.PATH in rungs


@settings(deadline=None)
@given(
    st.integers(0, 5 * GB),
    st.sampled_from([True, False, None]),
    st.one_of(st.none(), st.floats(0.15, 1)),
    st.sampled_from(["unmetered", "metered", "roaming", "unknown", "offline"]),
    st.integers(0, GB),
    st.floats(0, 1),
)
def test_clicks_are_recorded_as_long_as_anything_may_be_and_every_plan_has_reasons(
    left: int, on_battery: bool | None, charge: float | None, link: str, backlog: int, spool: float
) -> None:
    decision = Governor(Settings()).decide(
        0,
        conditions(
            purses=purses(left),
            on_battery=on_battery,
            battery_ratio=charge,
            link=link,
            backlog_bytes=backlog,
            spool_ratio=spool,
        ),
    )
    assert decision.value.rung >= Rung.CLICKS
    assert decision.reasons
    assert all(decision.reasons)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"consented": False}, "no consent"),
        ({"paused": True}, "paused"),
        ({"locked": True}, "locked"),
        ({"asleep": True}, "sleep"),
        ({"away": True}, "another session"),
        ({"on_battery": True, "battery_ratio": 0.05}, "below 10 % nothing is recorded"),
    ],
)
def test_what_stops_everything(said: dict[str, Any], words: str) -> None:
    assert not plan(**said).capture
    assert words in reasons(**said)


def test_an_order_acts_at_once_and_so_does_its_end() -> None:
    governor = Governor(Settings())
    assert plan(governor, 0).capture
    assert not plan(governor, 1 * S, paused=True).capture
    assert plan(governor, 2 * S).capture


def test_an_exemption_acts_at_once_and_so_does_its_end() -> None:
    governor = Governor(Settings())
    assert plan(governor, 0).upload is Upload.ALL
    assert plan(governor, 1 * S, exempt=True, link="offline").upload is Upload.NOTHING
    assert plan(governor, 2 * S).upload is Upload.ALL
    assert plan(governor, 3 * S, link="offline").upload is Upload.ALL, "a link may flap"


def test_while_nobody_is_at_work_screens_are_rare_and_a_return_acts_at_once() -> None:
    governor = Governor(Settings())
    assert plan(governor, 0).rung is Rung.EVERY_2S
    idle = governor.decide(90 * S, conditions(idle=True))
    assert idle.value.rung is Rung.EVERY_2MIN
    assert any("nobody is at work" in reason for reason in idle.reasons)
    assert plan(governor, 91 * S).rung is Rung.EVERY_2S
    assert plan(governor, 92 * S, idle=True).rung is Rung.EVERY_2S, "a minute after the last change at the earliest"


def test_charge_floors_stop_screens_then_everything_and_have_a_band() -> None:
    governor = Governor(Settings(screens_floor=0.4, floor=0.1))
    seen = []
    for minute, charge in enumerate((0.5, 0.39, 0.41, 0.42, 0.44, 0.09, 0.11, 0.14)):
        seen.append(plan(governor, minute * 2 * MINUTE, on_battery=True, battery_ratio=charge).rung)
    assert seen[0] > Rung.EVENTS
    assert seen[1:4] == [Rung.EVENTS] * 3
    assert seen[4] > Rung.EVENTS
    assert seen[5:7] == [Rung.NOTHING] * 2
    assert seen[7] is Rung.EVENTS
    assert plan(governor, 60 * MINUTE, on_battery=False, battery_ratio=0.05).rung is Rung.EVERY_2S


def test_below_the_floor_nothing_is_sent_either() -> None:
    assert plan(on_battery=True, battery_ratio=0.05).upload is Upload.NOTHING


def test_power_saver_heat_and_load_halve_the_share() -> None:
    normal = plan(on_battery=True, battery_ratio=0.9)
    for said in ({"power_saver": True}, {"hot": True}, {"load_ratio": 0.99}):
        assert plan(on_battery=True, battery_ratio=0.9, **said).rung < normal.rung
    assert plan(on_battery=True, battery_ratio=0.9, power_warning=True).rung is Rung.EVENTS
    assert "power saver" in reasons(power_saver=True)


def test_the_link_decides_what_is_sent_and_unknown_is_metered() -> None:
    sent = {link: plan(link=link).upload for link in ("unmetered", "metered", "unknown", "roaming", "offline")}
    assert sent == {
        "unmetered": Upload.ALL,
        "metered": Upload.EVENTS,
        "unknown": Upload.EVENTS,
        "roaming": Upload.NOTHING,
        "offline": Upload.NOTHING,
    }
    assert "treated as metered" in reasons(link="unknown")
    assert "metered (phone), screenshots wait" in reasons(link="metered", network="phone")


def test_where_no_link_ever_carries_screens_none_are_taken() -> None:
    governor = Governor(Settings())
    assert plan(governor, 0, link="metered").rung > Rung.EVENTS, "perhaps tonight, at home"
    for hour in range(200):
        governor.active(MONDAY + hour * HOUR, 1800, "metered")
    decision = governor.decide(2 * MINUTE, conditions(link="metered", wall_ns=MONDAY + 200 * HOUR))
    assert decision.value.rung is Rung.EVENTS
    assert any("no link that may carry screenshots" in reason for reason in decision.reasons)
    assert plan(governor, 4 * MINUTE, link="unmetered", wall_ns=MONDAY + 200 * HOUR).rung > Rung.EVENTS


def test_limits_of_the_links_that_carry_screens_count_together() -> None:
    settings = Settings(send={"unmetered": Upload.ALL, "metered": Upload.ALL, "roaming": Upload.NOTHING})
    month = MONDAY + 20 * DAY
    both = {
        "unmetered": (Purse(Span.MONTH, 10 * MB, GB, month),),
        "metered": (Purse(Span.MONTH, 10 * MB, GB, month),),
    }
    free = {"metered": both["metered"]}
    governor = Governor(settings)
    governor.active(MONDAY, 3600, "metered")
    scarce = governor.decide(0, conditions(purses=both)).value
    lavish = governor.decide(2 * MINUTE, conditions(purses=free)).value
    assert scarce.rung <= Rung.EVENTS
    assert lavish.rung is Rung.EVERY_2S


def test_a_backlog_and_a_full_spool_lower_the_rung() -> None:
    assert plan(purses=purses(GB), backlog_bytes=950 * MB).rung < plan(purses=purses(GB)).rung
    assert plan(spool_ratio=0.95).rung is Rung.EVENTS


def test_a_backlog_of_days_does_not_stop_recording() -> None:
    today = purses(100 * MB, 100 * MB, days=0.5, span=Span.DAY)
    assert plan(purses=today, backlog_bytes=400 * MB).rung > Rung.EVENTS


def test_the_rate_ceiling_and_the_upload_windows_count() -> None:
    slow = Governor(Settings(rate_bytes_s=1000))
    slower = Governor(Settings(rate_bytes_s=1000, window_hours=2))
    assert plan(Governor(Settings())).rung > plan(slow).rung > plan(slower).rung


def test_settings_are_obeyed() -> None:
    assert plan(Governor(Settings(screens=False))).frame_interval_ms is None
    assert plan(Governor(Settings(min_frame_interval_ms=7000))).frame_interval_ms == 7000
    assert plan(Governor(Settings(min_move_interval_ms=8))).move_interval_ms == 8
    assert plan(Governor(Settings(effort=Effort.SMALL))).effort is Effort.SMALL
    assert plan(Governor(Settings(cpu_mains=0.002))).rung < Rung.EVERY_2S
    assert plan(Governor(Settings(cpu_battery=0.3)), on_battery=True, battery_ratio=0.9).rung is Rung.EVERY_2S


def test_measured_cpu_over_the_share_takes_rungs_away_and_gives_them_back() -> None:
    governor = Governor(Settings())
    rungs = [plan(governor, minute * MINUTE, own_cpu_ratio=0.5).rung for minute in range(1, 8)]
    assert all(after <= before for before, after in pairwise(rungs))
    assert rungs[-1] < rungs[0] is Rung.EVERY_2S
    rungs = [plan(governor, minute * MINUTE, own_cpu_ratio=0.01).rung for minute in range(8, 40)]
    assert rungs[-1] is Rung.EVERY_2S


def test_a_burst_of_encoding_takes_no_rung_away() -> None:
    governor = Governor(Settings())
    rungs = {plan(governor, n * 5 * S, own_cpu_ratio=1.0 if n % 180 < 3 else 0.01).rung for n in range(1, 720)}
    assert rungs == {Rung.EVERY_2S}


def test_with_too_much_memory_the_thorough_encoder_goes_first_and_then_screenshots() -> None:
    governor = Governor(Settings(memory_bytes=400 * MB))
    scarce = purses(400 * MB)
    held = {"purses": scarce, "wakeups_s": 5.0}
    assert plan(governor, 0, rss_bytes=300 * MB, **held).effort is Effort.SMALL
    over = governor.decide(2 * MINUTE, conditions(rss_bytes=410 * MB, **held))
    assert over.value.effort is Effort.FAST
    assert "recording holds 410 MB of memory, 400 MB are allowed: only the quick encoder" in over.reasons
    far = governor.decide(4 * MINUTE, conditions(rss_bytes=510 * MB, **held))
    assert far.value.rung is Rung.EVENTS
    assert any("no screenshots" in reason for reason in far.reasons)
    assert plan(governor, 6 * MINUTE, rss_bytes=480 * MB, **held).rung is Rung.EVENTS, "a band, not a line"
    assert plan(governor, 8 * MINUTE, rss_bytes=440 * MB, **held).rung > Rung.EVENTS
    assert plan(governor, 10 * MINUTE, rss_bytes=350 * MB, **held).effort is Effort.SMALL


def test_a_closed_lid_on_battery_leaves_events_and_sends_nothing() -> None:
    closed = plan(lid_closed=True, on_battery=True, battery_ratio=0.9)
    assert closed.rung is Rung.EVENTS, "whoever works on another screen is still recorded"
    assert closed.upload is Upload.NOTHING
    assert "the lid is closed, on battery: no screenshots, and nothing is sent" in reasons(
        lid_closed=True, on_battery=True
    )
    assert plan(lid_closed=True, on_battery=False) == plan(on_battery=False), "a docked laptop"


def test_the_battery_is_described_and_a_low_one_stops_screenshots() -> None:
    said = reasons(on_battery=True, battery_ratio=0.34, discharge_w=12.53, power_saver=True)
    assert said.startswith("on battery, 34 %, giving 12.5 W, power saver")
    low = {"on_battery": True, "battery_ratio": 0.34, "power_warning": True}
    assert plan(**low).rung is Rung.EVENTS
    assert "the system calls the battery low: no screenshots" in reasons(**low)
    assert plan(power_warning=True).rung > Rung.EVENTS, "on mains it is being charged"


def test_a_network_that_wants_a_sign_in_is_said_to() -> None:
    said = reasons(link="offline", captive=True, network="Hotel")
    assert "the network (Hotel) wants somebody to sign in first: what is recorded waits" in said


def test_many_wakeups_lengthen_the_hold() -> None:
    governor = Governor(Settings(wakeups_s=5))
    holds = [plan(governor, n * MINUTE, wakeups_s=rate).hold_ms for n, rate in enumerate((1, 9, 9, 9, 3, 1, 1), 1)]
    assert holds == [100, 200, 400, 400, 400, 200, 100]


def flap(period_ns: int, *says: dict[str, Any]) -> list[int]:
    """Return the times (ns) at which the plan changes within an hour of flapping."""
    governor = Governor(Settings(screens_floor=0.4, memory_bytes=300 * MB))
    changes, last, now = [], None, 0
    while now < HOUR:
        said = says[now // period_ns % len(says)]
        made = governor.decide(now, conditions(wall_ns=MONDAY + now, purses=purses(2 * GB), **said)).value
        if last is not None and made != last:
            changes.append(now)
        last = made
        now += S
    return changes


@pytest.mark.parametrize(
    "says",
    [
        ({"on_battery": True, "battery_ratio": 0.9}, {"on_battery": False, "battery_ratio": 0.9}),
        ({"link": "metered"}, {"link": "unmetered"}),
        ({"on_battery": True, "battery_ratio": 0.39}, {"on_battery": True, "battery_ratio": 0.41}),
        ({"load_ratio": 0.95}, {"load_ratio": 0.1}),
        ({"wakeups_s": 50.0}, {"wakeups_s": 1.0}),
        ({"link": "offline"}, {"link": "unmetered"}),
        ({"lid_closed": True, "on_battery": True}, {"lid_closed": False, "on_battery": True}),
        ({"on_battery": True, "power_warning": True}, {"on_battery": True}),
        ({"power_saver": True, "hot": True}, {}),
        ({"rss_bytes": 10**9}, {"rss_bytes": 10**8}),
    ],
)
@pytest.mark.parametrize("period_s", [1, 2, 7, 45])
def test_flapping_inputs_change_the_plan_at_most_once_a_minute(says: tuple[dict[str, Any], ...], period_s: int) -> None:
    changes = flap(period_s * S, *says)
    assert all(after - before >= MINUTE for before, after in pairwise(changes))
    assert len(changes) <= 60


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "on_battery": st.booleans(),
                "battery_ratio": st.sampled_from([0.05, 0.09, 0.11, 0.29, 0.31, 0.39, 0.41, 0.9]),
                "power_warning": st.booleans(),
                "power_saver": st.booleans(),
                "lid_closed": st.booleans(),
                "hot": st.booleans(),
                "load_ratio": st.sampled_from([0.1, 0.95]),
                "own_cpu_ratio": st.sampled_from([0.0, 0.5]),
                "wakeups_s": st.sampled_from([1.0, 50.0]),
                "rss_bytes": st.sampled_from([10**8, 10**9]),
                "link": st.sampled_from(["unmetered", "metered", "roaming", "unknown", "offline"]),
                "spool_ratio": st.sampled_from([0.0, 0.95]),
            },
        ),
        min_size=2,
        max_size=150,
    )
)
@settings(deadline=None)
def test_whatever_flaps_the_plan_changes_once_a_minute_at_most(says: list[dict[str, Any]]) -> None:
    """Any conditions but orders, another set every two seconds."""
    governor = Governor(Settings(screens_floor=0.4, memory_bytes=300 * MB))
    changes: list[int] = []
    last: Plan | None = None
    for number, said in enumerate(says):
        now = S + 2 * S * number
        made = governor.decide(now, conditions(wall_ns=MONDAY + now, purses=purses(2 * GB), **said)).value
        if last is not None and made != last:
            changes.append(now)
        last = made
    assert all(after - before >= MINUTE for before, after in pairwise(changes))


def test_a_single_change_acts_at_once_and_a_held_one_at_its_time() -> None:
    governor = Governor(Settings())
    plan(governor, 0)
    assert plan(governor, 100 * S, link="metered").upload is Upload.EVENTS
    held = governor.decide(110 * S, conditions(link="unmetered"))
    assert held.value.upload is Upload.EVENTS
    assert "once a minute at most" in held.reasons[-1]
    assert governor.recheck_ns == 160 * S
    assert plan(governor, 160 * S, link="unmetered").upload is Upload.ALL
    assert governor.recheck_ns is None


def work(governor: Governor, days: int, active: Callable[[datetime], bool], start_ns: int = MONDAY) -> None:
    """Live through some days, active for 50 minutes of the hours that `active` names."""
    for hour in range(days * 24):
        now = start_ns + hour * HOUR
        if active(datetime.fromtimestamp(now // S, UTC)):
            governor.active(now, 3000)


def test_it_learns_the_hours_of_activity() -> None:
    governor = Governor(Settings())
    work(governor, 42, lambda when: when.weekday() == 2 and when.hour < 12)  # Wednesday mornings
    governor.habits.pass_time(MONDAY + 42 * DAY)
    monday = MONDAY + 42 * DAY
    expected = governor.habits.expected_hours
    assert expected(monday, monday + DAY) < 1.0
    assert expected(monday + DAY, monday + 2.5 * DAY) == pytest.approx(12 * 50 / 60, rel=0.15)  # type: ignore[arg-type]
    assert expected(monday, monday + 14 * DAY) == pytest.approx(2 * expected(monday, monday + 7 * DAY), rel=1e-6)


def test_a_budget_that_was_not_used_lets_more_be_recorded() -> None:
    governor = Governor(Settings())
    work(governor, 42, lambda when: when.weekday() < 5 and 9 <= when.hour < 17)
    monday = MONDAY + 42 * DAY

    def month(left: int, days: float) -> dict[str, tuple[Purse, ...]]:
        return {ALL_LINKS: (Purse(Span.MONTH, left, GB, monday + round(days * DAY)),)}

    full = governor.decide(0, conditions(wall_ns=monday, purses=month(GB, 28)))
    late = governor.decide(5 * MINUTE, conditions(wall_ns=monday, purses=month(GB, 7)))
    assert late.value.rung > full.value.rung


def test_it_learns_what_the_rungs_cost() -> None:
    governor = Governor(Settings(effort=Effort.FAST))
    scarce = {"purses": purses(900 * MB)}
    before = plan(governor, 0, **scarce)
    assert before.frame_interval_ms is not None
    expected = governor.prices.of(before.rung, before.effort).size_bytes
    for _ in range(100):  # this screen costs four times as much
        governor.active(MONDAY, 360, "unmetered")
        governor.paid(event_bytes=20_000, frame_bytes=expected * 4 / 10, cpu_s=2)
    assert governor.prices.of(before.rung, before.effort).frame_bytes == pytest.approx(4 * expected, rel=0.1)
    assert plan(governor, 2 * MINUTE, **scarce).rung < before.rung
    other = Rung.EVERY_10S if before.rung is not Rung.EVERY_10S else Rung.EVERY_5S
    untried = Governor(Settings()).prices.of(other, before.effort).frame_bytes
    assert governor.prices.of(other, before.effort).frame_bytes > 2.5 * untried, "what was not tried is priced with it"


def test_a_still_screen_becomes_cheap_only_slowly() -> None:
    governor = Governor(Settings())
    made = plan(governor)
    before = governor.prices.of(made.rung, made.effort).frame_bytes
    for minute in range(600):
        governor.active(MONDAY, 60, "unmetered")
        governor.paid(event_bytes=3000, cpu_s=1)
        if minute == 200:
            assert governor.prices.of(made.rung, made.effort).frame_bytes == before, "they may still be being encoded"
    assert governor.prices.of(made.rung, made.effort).frame_bytes < before / 3


def test_what_is_saved_on_a_coarse_rung_is_spent_on_the_next() -> None:
    governor = Governor(Settings(effort=Effort.FAST))
    scarce = purses(400 * MB)
    spent, hours, rungs = 0.0, 0.0, set()
    for step in range(400):
        decision = governor.decide(step * 5 * MINUTE, conditions(purses=scarce))
        made = decision.value
        rungs.add(made.rung)
        price = governor.prices.of(made.rung, made.effort).size_bytes
        spent, hours = spent + price / 12, hours + 1 / 12
        governor.active(MONDAY, 300, "unmetered")
    assert len(rungs) == 2, "the rung below the pace and the one above"
    (stated,) = [reason for reason in decision.reasons if "an hour" in reason and "left" in reason]
    pace = float(stated.rsplit(": ", 1)[1].split(" MB")[0]) * MB
    assert spent / hours == pytest.approx(pace, rel=0.05)


def test_what_was_learned_survives_as_json_and_damage_is_harmless() -> None:
    governor = Governor(Settings())
    work(governor, 14, lambda when: when.hour == 3)
    plan(governor)
    governor.active(MONDAY + 14 * DAY, 3600)
    governor.paid(event_bytes=1e6, frame_bytes=1e8, cpu_s=100)
    state = json.loads(json.dumps(governor.to_state()))
    again = Governor(Settings(), state)
    assert again.to_state() == governor.to_state()
    for damaged in (
        {},
        {"habits": 1},
        state | {"prices": {}},
        state | {"habits": state["habits"] | {"share": [2.0] * 168}},
    ):
        fresh = Governor(Settings(), damaged)
        assert fresh.decide(0, conditions()).value.capture


def test_wall_clock_jumps_do_not_break_what_was_learned() -> None:
    governor = Governor(Settings())
    work(governor, 28, lambda when: 9 <= when.hour < 17)
    before = governor.habits.hours_a_day()
    governor.decide(0, conditions(wall_ns=MONDAY + 9000 * DAY))
    governor.decide(1, conditions(wall_ns=MONDAY + 28 * DAY))
    governor.decide(2, conditions(wall_ns=1))
    governor.decide(3, conditions(wall_ns=MONDAY + 28 * DAY))
    assert governor.habits.hours_a_day() == pytest.approx(before, rel=0.05)
