"""Frames around actions: never one that shows the result before, never one without it after."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from capture.binder import LONGEST_MS, QUIET_MS, WAIT_MS, Binder, Pair, Shown, pair_interval


def binder(interval_ms: int = 2000) -> Binder:
    made = Binder()
    made.plan(interval_ms)
    return made


def taken(at_ms: int, *, frame_ms: int | None = None, stable: bool = True) -> Shown:
    return Shown(at_ms if frame_ms is None else frame_ms, at_ms, at_ms + 20, stable)


def test_a_click_waits_until_the_screen_has_come_to_rest() -> None:
    frames = binder()
    assert frames.due_ms() is None
    frames.frame(taken(1000), wanted=True)
    frames.input(2500)
    assert frames.due_ms() == 2500 + WAIT_MS, "nothing has changed yet"
    frames.change(2530, 2630)
    assert frames.due_ms() == 2630 + QUIET_MS
    frames.change(2640, 2740)
    assert frames.due_ms() == 2740 + QUIET_MS
    pair = frames.frame(taken(2840), wanted=True)
    assert pair == Pair(2500, 2500, before_ms=1000, fresh=True, after_ms=2840, settled=True)
    assert frames.due_ms() is None


def test_a_frame_that_was_not_complete_before_the_input_is_not_the_one_before() -> None:
    frames = binder()
    frames.frame(taken(1000), wanted=True)
    frames.frame(taken(2000), wanted=True)
    frames.input(2010)  # told after the frame was, and yet done while it was grabbed
    pair = frames.frame(taken(2010 + WAIT_MS + 500), wanted=True)
    assert pair is not None
    assert pair.before_ms == 1000


def test_a_change_before_the_input_makes_the_frame_before_stale() -> None:
    frames = binder()
    frames.frame(taken(1000), wanted=True)
    frames.change(1500, 2000)
    frames.input(3000)
    pair = frames.frame(taken(3000 + WAIT_MS), wanted=True)
    assert pair is not None
    assert (pair.before_ms, pair.fresh) == (1000, False)


def test_a_frame_during_which_something_changed_is_neither_before_nor_after() -> None:
    frames = binder()
    frames.frame(taken(1000, stable=False), wanted=True)
    frames.input(2500)
    frames.change(2510, 2600)
    assert frames.frame(taken(2700, stable=False), wanted=True) is None
    due_ms = frames.due_ms()
    assert due_ms is not None
    assert due_ms > 2700
    pair = frames.frame(taken(due_ms), wanted=True)
    assert pair is not None
    assert (pair.before_ms, pair.after_ms, pair.settled) == (None, due_ms, True)


def test_an_animation_gets_a_frame_in_the_end_and_it_says_so() -> None:
    frames = binder()
    frames.input(1000)
    for at_ms in range(1050, 1000 + LONGEST_MS, 100):
        frames.change(at_ms, at_ms + 100)
    assert frames.due_ms() == 1000 + LONGEST_MS
    pair = frames.frame(taken(1000 + LONGEST_MS, stable=False), wanted=True)
    assert pair is not None
    assert not pair.settled


def test_inputs_that_follow_each_other_quickly_share_a_pair() -> None:
    frames = binder()
    frames.frame(taken(500), wanted=True)
    for at_ms in (1000, 1200, 1400):
        frames.input(at_ms)
        frames.change(at_ms + 10, at_ms + 110)
    pair = frames.frame(taken(1510 + QUIET_MS), wanted=True)
    assert pair is not None
    assert (pair.first_ms, pair.last_ms, pair.before_ms) == (1000, 1400, 500)


def test_an_input_during_the_grab_belongs_to_the_next_pair() -> None:
    frames = binder()
    frames.frame(taken(500), wanted=True)
    frames.input(1000)
    frames.change(1010, 1110)
    frames.input(1215)
    pair = frames.frame(taken(1210), wanted=True)
    assert pair is not None
    assert (pair.first_ms, pair.last_ms, pair.before_ms, pair.after_ms) == (1000, 1000, 500, 1210)
    pair = frames.frame(taken(1230 + 1000), wanted=True)
    assert pair is not None
    assert (pair.first_ms, pair.last_ms, pair.before_ms) == (1215, 1215, 500), "that one may show what it did"


def test_a_frame_for_the_plan_alone_completes_no_pair() -> None:
    frames = binder()
    frames.input(1000)
    assert not frames.wants(1100)
    assert frames.frame(taken(1100), wanted=False) is None
    assert frames.attentive


def test_without_frames_in_the_plan_none_is_wanted() -> None:
    frames = Binder()
    frames.input(1000)
    assert frames.due_ms() is None
    assert (pair_interval(None), pair_interval(2000), pair_interval(600_000)) == (None, 1000, 600_000)


def test_frames_for_actions_keep_their_distance() -> None:
    frames = binder(10_000)
    frames.frame(taken(1000), wanted=True)
    frames.input(1500)
    frames.change(1510, 1600)
    assert frames.due_ms() == 1020 + 5000


@given(st.lists(st.tuples(st.sampled_from("icf"), st.integers(1, 400), st.booleans()), max_size=120))
def test_before_is_before_and_after_is_after_whatever_happens(steps: list[tuple[str, int, bool]]) -> None:
    frames, now_ms, inputs, shown = binder(200), 0, [], {}
    for what, wait_ms, flag in steps:
        now_ms += wait_ms
        if what == "i":
            frames.input(now_ms)
            inputs.append(now_ms)
        elif what == "c":
            frames.change(now_ms, now_ms + 50)
        else:
            due_ms = frames.due_ms()
            at_ms = now_ms if due_ms is None else max(now_ms, due_ms)
            one = taken(at_ms, stable=flag)
            now_ms = one.ended_ms
            shown[one.frame_ms] = one
            pair = frames.frame(one, wanted=due_ms is not None)
            if pair is not None:
                assert shown[pair.after_ms].began_ms >= pair.last_ms
                assert pair.before_ms is None or shown[pair.before_ms].ended_ms < pair.first_ms
                assert {pair.first_ms, pair.last_ms} <= set(inputs)
