"""The comparison of a recording with the truth counts what is missing, extra and displaced."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benches.compare import compare

Line = dict[str, Any]


def truth_of(places: list[tuple[int, int]]) -> list[Line]:
    lines: list[Line] = [{"ms": 8.0 * i, "what": "move", "x": x, "y": y} for i, (x, y) in enumerate(places)]
    lines.append({"ms": 8.0 * len(places), "what": "key", "down": True, "name": "a", "code": 38})
    lines.append({"ms": 8.0 * len(places) + 1, "what": "activity", "name": "idle"})
    return lines


def recording_of(places: list[tuple[int, int]], late_ms: int = 0) -> list[Line]:
    lines: list[Line] = [{"t_ms": 8 * i + late_ms, "kind": "move", "x": x, "y": y} for i, (x, y) in enumerate(places)]
    lines.append({"t_ms": 8 * len(places) + late_ms, "kind": "key-press", "class": "letter", "slot": 0})
    lines.append({"t_ms": 0, "kind": "focus", "app": "xterm", "x": 1, "y": 1})
    return lines


walk = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=60)


@given(places=walk, late_ms=st.integers(0, 5))
def test_the_same_is_found_whole(places: list[tuple[int, int]], late_ms: int) -> None:
    result = compare(recording_of(places, late_ms), truth_of(places))
    assert (result.done, result.found, result.extra) == (len(places) + 1, len(places) + 1, 0)
    assert result.late_ms == result.worst_ms == late_ms


@given(places=walk, data=st.data())
def test_one_that_is_missing_is_counted_as_one(places: list[tuple[int, int]], data: st.DataObject) -> None:
    unique = [(x + 100 * i, y) for i, (x, y) in enumerate(places)]
    gone = data.draw(st.integers(0, len(unique) - 1))
    result = compare(recording_of(unique[:gone] + unique[gone + 1 :]), truth_of(unique))
    assert (result.done - result.found, result.extra) == (1, 0)


def test_one_that_is_displaced_is_missing_and_extra() -> None:
    places = [(i, i) for i in range(20)]
    result = compare(recording_of([*places[:7], (7, 8), *places[8:]]), truth_of(places))
    assert (result.found, result.extra) == (20, 1)


def test_an_empty_recording_has_nothing() -> None:
    result = compare([], truth_of([(1, 1)]))
    assert (result.done, result.found, result.extra, result.late_ms) == (2, 0, 0, 0.0)
