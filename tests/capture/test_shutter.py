"""The shutter: frames follow damage, never faster than the plan, never without it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from capture.shutter import SETTLE_NS, Shutter

S = 1_000_000_000


def test_an_unchanged_screen_makes_no_frame_due() -> None:
    shutter = Shutter()
    shutter.plan(2 * S, on_focus=True)
    assert shutter.due_ns() is None


def test_damage_makes_a_frame_due_at_once_then_after_the_interval() -> None:
    shutter = Shutter()
    shutter.plan(2 * S, on_focus=False)
    shutter.damage(10 * S)
    assert shutter.due_ns() == 10 * S
    shutter.taken(10 * S)
    shutter.damage(10 * S + 1)
    shutter.damage(11 * S)
    assert shutter.due_ns() == 12 * S


def test_without_an_interval_only_focus_makes_frames() -> None:
    shutter = Shutter()
    shutter.plan(None, on_focus=True)
    shutter.damage(S)
    assert shutter.due_ns() is None
    shutter.focus(2 * S)
    assert shutter.due_ns() == 2 * S + SETTLE_NS


def test_a_plan_without_frames_forgets_what_was_due() -> None:
    shutter = Shutter()
    shutter.plan(2 * S, on_focus=True)
    shutter.damage(S)
    shutter.plan(None, on_focus=False)
    assert shutter.due_ns() is None


def test_what_changed_while_blocked_is_taken_afterwards() -> None:
    shutter = Shutter()
    shutter.plan(2 * S, on_focus=False)
    shutter.damage(S)
    shutter.blocked()
    assert shutter.due_ns() is None
    shutter.unblocked(5 * S)
    assert shutter.due_ns() == 5 * S


@given(st.lists(st.tuples(st.integers(0, 500), st.booleans()), max_size=60), st.integers(1, 20))
def test_damage_frames_are_never_closer_than_the_interval(steps: list[tuple[int, bool]], interval: int) -> None:
    shutter = Shutter()
    shutter.plan(interval * S, on_focus=False)
    now, taken = 0, []
    for gap, damaged in steps:
        now += gap * S // 10
        if damaged:
            shutter.damage(now)
        due = shutter.due_ns()
        if due is not None and due <= now:
            shutter.taken(now)
            taken.append(now)
    assert all(later - earlier >= interval * S for earlier, later in pairwise(taken))
