"""What was in front from when to when, and what is missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from capture.review.moments import Missing, Outline, Span, joined, outline, without
from codec.model import Meta, Row

T0 = 1_800_000_000_000


def meta(duration_ms: int = 10_000) -> Meta:
    return Meta(0, T0 * 1_000_000, duration_ms)


def focus(t_ms: int, app: str, title: str = "") -> Row:
    return Row(t_ms, "focus", {"app": app, "title": title})


def test_a_span_lasts_until_the_next_focus_and_the_last_to_the_end() -> None:
    found = outline(meta(), [focus(0, "code", "a"), focus(4000, "xterm", "b")], has_screens=False)
    assert found.spans == (Span("code", "a", T0, T0 + 4000), Span("xterm", "b", T0 + 4000, T0 + 10_000))
    assert (found.start_ms, found.end_ms) == (T0, T0 + 10_000)


def test_what_a_later_chunk_says_is_missing_is_cut_out_of_an_earlier_one() -> None:
    first = outline(meta(), [focus(0, "code")], has_screens=False)
    second = Outline(T0 + 20_000, T0 + 30_000, False, missing=(Missing("pause", T0 + 6000, T0 + 20_000),))
    assert joined([first, second])[0].spans == (Span("code", "", T0, T0 + 6000),)


def test_gaps_and_acts_and_lost_chunks_are_told_apart() -> None:
    rows = [
        Row(500, "gap", {"cause": "scope", "ms": 400}),
        Row(600, "gap", {"cause": "spool-full", "seqs": "3,4,x,99999999999"}),
        Row(700, "display", {"w": 1}),
        Row(800, "select", {"label": "Save as", "digest": b"\x01\x02"}),
        Row(900, "gap", {"cause": "scope", "ms": 0}),
    ]
    found = outline(meta(), rows, has_screens=False)
    assert found.missing == (Missing("scope", T0 + 100, T0 + 500),)
    assert found.lost == (("spool-full", (3, 4)),)
    (act,) = found.acts
    assert (act.t_ms, act.kind, act.fields) == (T0 + 800, "select", {"label": "Save as", "digest": "0102"})


@given(
    st.tuples(st.integers(0, 50), st.integers(1, 50)),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 40)), max_size=6),
)
def test_what_is_left_of_a_span_is_exactly_what_no_gap_covers(
    span: tuple[int, int], gaps: list[tuple[int, int]]
) -> None:
    start, length = span
    whole = Span("a", "b", start, start + length)
    missing = [Missing("pause", at, at + long) for at, long in gaps]
    left = {ms for part in without(whole, missing) for ms in range(part.start_ms, part.end_ms)}
    gone = {ms for gap in missing for ms in range(gap.start_ms, gap.end_ms)}
    assert left == set(range(start, start + length)) - gone
