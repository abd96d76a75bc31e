"""The recorder: what was observed stands in exactly one draft, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from capture.recorder import Draft, Recorder, RecorderLimits

observations = st.lists(
    st.one_of(
        st.tuples(st.just("pointer"), st.integers(0, 31), st.integers(-5, 9000), st.integers(-5, 5000)),
        st.tuples(st.just("key"), st.booleans(), st.integers(0, 8), st.integers(0, 9)),
        st.tuples(st.just("row"), st.sampled_from(["gap", "title"])),
        st.tuples(st.just("close")),
    ),
    max_size=80,
)


@given(observations, st.integers(0, 2**40))
def test_every_observation_stands_in_exactly_one_draft_in_order(steps: list[tuple[object, ...]], start_ms: int) -> None:
    recorder = Recorder(RecorderLimits())
    drafts: list[Draft | None] = []
    pointer, keys, rows = [], [], []
    for offset, step in enumerate(steps):
        t_ms = start_ms + 3 * offset
        match step:
            case ("pointer", int(kind), int(x), int(y)):
                recorder.pointer(t_ms, kind, x, y)
                pointer.append((t_ms, kind, x, y))
            case ("key", bool(down), int(code), int(slot)):
                recorder.key(t_ms, down, code, slot)
                keys.append((t_ms, down, code, slot))
            case ("row", str(kind)):
                recorder.row(t_ms, kind, {"n": offset})
                rows.append((t_ms, kind, offset))
            case _:
                drafts.append(recorder.close(t_ms))
    drafts.append(recorder.close(start_ms + 3 * len(steps)))
    made = [draft for draft in drafts if draft is not None]
    assert [
        (int(t) + draft.t0_ms, int(kind), int(x), int(y))
        for draft in made
        for t, kind, x, y in zip(draft.pointer.t_ms, draft.pointer.kind, draft.pointer.x, draft.pointer.y, strict=True)
    ] == pointer
    assert [
        (int(t) + draft.t0_ms, bool(down), int(code), int(slot))
        for draft in made
        for t, down, code, slot in zip(draft.keys.t_ms, draft.keys.down, draft.keys.code, draft.keys.slot, strict=True)
    ] == keys
    assert [(row.t_ms + draft.t0_ms, row.kind, row.fields["n"]) for draft in made for row in draft.rows] == rows


def test_idleness_makes_no_draft() -> None:
    recorder = Recorder(RecorderLimits())
    assert recorder.close(1_000_000) is None
    assert not recorder.is_full(10**9)


def test_a_draft_is_full_by_age_and_by_events() -> None:
    recorder = Recorder(RecorderLimits(max_age_ms=1000, max_events=3))
    recorder.pointer(5000, 0, 1, 1)
    assert not recorder.is_full(5999)
    assert recorder.is_full(6000)
    recorder.key(5001, True, 1, 0)
    recorder.key(5002, False, 1, 0)
    assert recorder.is_full(5003)


def test_a_lasting_row_heads_the_next_draft_until_it_is_forgotten() -> None:
    recorder = Recorder(RecorderLimits())
    recorder.row(100, "focus", {"app": "mousepad"}, lasting=True)
    recorder.close(200)
    recorder.pointer(300, 0, 1, 1)
    again = recorder.close(400)
    assert again is not None
    assert [(row.t_ms, row.kind, row.fields) for row in again.rows] == [(0, "focus", {"app": "mousepad"})]
    recorder.forget_context("focus")
    recorder.pointer(500, 0, 1, 1)
    without = recorder.close(600)
    assert without is not None
    assert without.rows == ()


def test_a_new_lasting_row_does_not_repeat_the_one_it_replaces() -> None:
    recorder = Recorder(RecorderLimits())
    recorder.row(100, "focus", {"app": "a"}, lasting=True)
    recorder.row(110, "focus", {"app": "b"}, lasting=True)
    draft = recorder.close(200)
    assert draft is not None
    assert [row.fields["app"] for row in draft.rows] == ["a", "b"]


def test_counts_of_what_was_dropped_stand_in_the_next_draft_only() -> None:
    recorder = Recorder(RecorderLimits())
    recorder.drop("not allowed", 7)
    recorder.pointer(1, 0, 0, 0)
    first = recorder.close(2)
    recorder.pointer(3, 0, 0, 0)
    second = recorder.close(4)
    assert first is not None
    assert second is not None
    assert dict(first.counters) == {"not allowed": 7}
    assert dict(second.counters) == {}


def test_circumstances_open_no_draft_and_head_the_next_one() -> None:
    recorder = Recorder(RecorderLimits())
    recorder.circumstance(50, "display", {"w": 1920, "h": 1080})
    assert recorder.close(60) is None
    recorder.pointer(100, 0, 1, 1)
    recorder.circumstance(110, "display", {"w": 800, "h": 600})
    draft = recorder.close(120)
    assert draft is not None
    assert [(row.t_ms, row.fields["w"]) for row in draft.rows] == [(0, 1920), (10, 800)]


def test_keys_can_be_taken_back_from_a_moment_on() -> None:
    recorder = Recorder(RecorderLimits())
    for t_ms in (100, 200, 300):
        recorder.key(t_ms, True, 1, 0)
    assert recorder.retract_keys(200) == 2
    assert recorder.retract_keys(200) == 0
    draft = recorder.close(400)
    assert draft is not None
    assert list(draft.keys.t_ms) == [0]
