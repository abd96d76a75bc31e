"""The ladder: each rung records what the one below does, and more."""

from itertools import pairwise

import pytest

from capture.ladder import FRAME_INTERVAL_MS, IN_WORDS, Effort, Plan, Rung, Upload, plan_of
from codec.screen import Effort as ScreenEffort


def plan(rung: Rung, **floors: int) -> Plan:
    return plan_of(rung, effort=Effort.FAST, upload=Upload.ALL, hold_ms=100, **floors)


def test_each_rung_records_at_least_what_the_one_below_does() -> None:
    for below, above in pairwise(plan(rung) for rung in Rung if rung is not Rung.NOTHING):
        assert above.move_interval_ms <= below.move_interval_ms
        assert above.tolerance_px <= below.tolerance_px
        assert above.frames_on_focus >= below.frames_on_focus
        if below.frame_interval_ms is not None:
            assert above.frame_interval_ms is not None
            assert above.frame_interval_ms <= below.frame_interval_ms


def test_only_the_lowest_rung_records_nothing() -> None:
    assert [rung for rung in Rung if not plan(rung).capture] == [Rung.NOTHING]


@pytest.mark.parametrize("rung", list(Rung))
def test_the_persons_own_floors_are_never_undercut(rung: Rung) -> None:
    made = plan(rung, min_move_interval_ms=50, min_frame_interval_ms=20_000)
    assert made.move_interval_ms >= 50
    assert made.frame_interval_ms is None or made.frame_interval_ms >= 20_000
    assert made.capture == plan(rung).capture


def test_plans_are_said_in_words() -> None:
    assert set(IN_WORDS) == set(Rung)
    assert plan(Rung.NOTHING).in_words() == "nothing"
    assert plan(Rung.EVERY_2S).in_words() == "all events, a screenshot every 2 s, packed quickly"
    assert (
        plan(Rung.EVERY_2S, min_frame_interval_ms=7000).in_words()
        == "all events, a screenshot every 7 s, packed quickly"
    )
    offline = plan_of(Rung.CLICKS, effort=Effort.SMALL, upload=Upload.NOTHING, hold_ms=100)
    assert offline.in_words() == "clicks, keys' timing and focus; nothing is sent"


def test_efforts_are_the_encoders() -> None:
    assert [(effort.name, effort.value) for effort in Effort] == [(e.name, e.value) for e in ScreenEffort]
    assert set(FRAME_INTERVAL_MS) == {rung for rung in Rung if rung >= Rung.EVERY_10MIN}
