"""Event files of DuckTrack and AgentNetTool: what becomes of every line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import Corrupt, TooLarge
from codec.model import KeyClass, PointerKind
from transport import foreign


def lines(*events: dict[str, Any]) -> Iterable[bytes]:
    return [json.dumps(event).encode() + b"\n" for event in events]


def one(*events: dict[str, Any]) -> foreign.Part:
    (part,) = foreign.parts(lines(*events), part_ms=60_000)
    return part


def at(t_s: float, action: str, **fields: Any) -> dict[str, Any]:
    return {"time_stamp": t_s, "action": action, **fields}


def test_pointer_events_become_columns_with_times_from_the_first_event() -> None:
    part = one(
        at(150160.9654, "move", x=1175.42, y=50.6),
        at(150161.5335, "click", x=1319.1, y=65.0, button="left", pressed=True),
        at(150161.6, "click", x=1319.1, y=65.0, button="left", pressed=False),
        at(150168.9, "scroll", x=612, y=635, dx=-2, dy=1),
    )
    kinds = [
        PointerKind.MOVE,
        PointerKind.PRESS_LEFT,
        PointerKind.RELEASE_LEFT,
        PointerKind.WHEEL_UP,
        PointerKind.WHEEL_LEFT,
        PointerKind.WHEEL_LEFT,
    ]
    assert part.t0_ms == 150_160_965
    assert part.pointer.kind.tolist() == kinds
    assert part.pointer.t_ms.tolist() == [0, 569, 635, 7935, 7935, 7935]
    assert part.pointer.x.tolist()[:2] == [1175, 1319]
    assert part.pointer.y.tolist()[0] == 51
    assert part.duration_ms == 7935
    assert not part.left_out


def test_of_a_key_its_class_and_a_slot_are_kept() -> None:
    part = one(
        at(1, "press", name="shift"),
        at(1.1, "press", name="w"),
        at(1.2, "release", name="W"),
        at(1.3, "release", name="shift"),
        at(1.4, "press", name=None, pynput_key="<84>"),
        at(1.5, "release", name="page_up"),
    )
    assert part.keys.code.tolist() == [
        KeyClass.MODIFIER,
        KeyClass.LETTER,
        KeyClass.LETTER,
        KeyClass.MODIFIER,
        KeyClass.OTHER,
        KeyClass.NAVIGATION,
    ]
    assert part.keys.down.tolist() == [True, True, False, False, True, False]
    assert part.keys.slot.tolist() == [0, 1, 1, 0, 0, 255]


def test_a_long_recording_comes_in_parts() -> None:
    moves = [at(t_s, "move", x=t_s, y=0) for t_s in range(0, 100, 10)]
    parts = list(foreign.parts(lines(*moves), part_ms=30_000))
    assert [part.t0_ms for part in parts] == [0, 30_000, 60_000, 90_000]
    assert sum(len(part.pointer) for part in parts) == len(moves)
    assert all(part.pointer.t_ms.tolist()[0] == 0 for part in parts)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (at(1, "click", x=1, y=1, button="left", pressed=1), "click that could not be read"),
        (at(1, "click", x=1, y=1, button="thumb", pressed=True), "click that could not be read"),
        (at(1, "move", x=float("inf"), y=1), "move that could not be read"),
        (at(1, "move", x=1), "move that could not be read"),
        (at(1, "scroll", x=1, y=1, dx=0, dy=10**9), "scroll that could not be read"),
        (at(1, "press", name=""), "press that could not be read"),
        (at(1, "dance"), "dance that could not be read"),
        ({"action": "move", "x": 1, "y": 1}, "no event with a time and an action"),
        ({"time_stamp": True, "action": "move"}, "no event with a time and an action"),
    ],
)
def test_a_line_that_cannot_be_read_is_counted_and_the_rest_is_kept(event: dict[str, Any], reason: str) -> None:
    part = one(at(0, "move", x=0, y=0), event, at(2, "move", x=2, y=2))
    assert part.pointer.x.tolist() == [0, 2]
    assert part.left_out == {reason: 1}


def test_a_file_that_is_none_of_theirs_is_an_error_that_shows_its_line() -> None:
    with pytest.raises(Corrupt, match=r"line 1: b'timestamp,x,y"):
        list(foreign.parts([b"timestamp,x,y\n", b"1,2,3\n"], part_ms=1000))


def test_a_line_without_end_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(TooLarge):
        list(foreign.parts([b"[" * (foreign.MAX_LINE_BYTES + 1)], part_ms=1000))


VALUES = st.sampled_from([None, True, -1, 10**400, 0.5, float("nan"), "a", "", [], {}])
NAMES = st.sampled_from(["time_stamp", "x", "y", "dx", "dy", "button", "pressed", "name", "app"])
ACTIONS = st.sampled_from(["move", "click", "scroll", "press", "release", "pause", "focus", 7])


@given(st.lists(st.tuples(ACTIONS, st.dictionaries(NAMES, VALUES, max_size=6)), max_size=8))
def test_whatever_stands_in_a_line_it_is_kept_or_counted(events: list[tuple[object, dict[str, Any]]]) -> None:
    kept = 0
    try:
        for part in foreign.parts(lines(*({**fields, "action": action} for action, fields in events)), part_ms=10):
            kept += sum(part.left_out.values()) + len(part.keys) + len(part.rows) + len(part.pointer)
    except Corrupt:
        return
    assert kept >= sum(action != "scroll" for action, _ in events)  # a scroll by nothing is nothing
