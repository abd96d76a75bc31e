"""The source clock bound to the wall clock, over suspends and clocks that are put right."""

from __future__ import annotations

from capture.anchor import NS_PER_MS, Anchor, Clocks

S = 1_000_000_000
WALL_NS = 1_700_000_000 * S


def _at(wall_s: float = 0, *, awake_ms: int = 0, slept_s: float = 0) -> Clocks:
    return Clocks(WALL_NS + int(wall_s * S), 5_000 + awake_ms, int(slept_s * S))


def test_awake_it_is_the_difference_of_the_clocks() -> None:
    anchor = Anchor()
    anchor.opened(0)
    assert anchor.closed(_at(2, awake_ms=2_000)) + 5_000 * NS_PER_MS == WALL_NS


def test_a_suspend_while_it_was_open_is_taken_off() -> None:
    anchor = Anchor()
    anchor.opened(7 * S)
    anchor.opened(900 * S)  # said again: it is open since the first time
    assert anchor.closed(_at(3_602, awake_ms=2_000, slept_s=3_607)) + 5_000 * NS_PER_MS == WALL_NS


def test_a_suspend_before_it_was_opened_is_not() -> None:
    anchor = Anchor()
    anchor.opened(0)
    anchor.closed(_at())
    anchor.opened(3_600 * S)
    assert anchor.closed(_at(2, awake_ms=2_000, slept_s=3_600)) + 5_000 * NS_PER_MS == WALL_NS


def test_a_clock_that_was_put_right_counts_as_it_is_right() -> None:
    anchor = Anchor()
    anchor.opened(0)
    assert anchor.closed(_at(86_402, awake_ms=2_000)) + 5_000 * NS_PER_MS == WALL_NS + 86_400 * S


def test_clocks_that_were_read_one_after_the_other_add_nothing() -> None:
    anchor = Anchor()
    anchor.opened(300)
    assert anchor.closed(_at()) == anchor.closed(_at())
