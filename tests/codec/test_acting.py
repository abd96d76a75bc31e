"""Streams of events and rows become actions."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from codec.acting import Actions
from codec.actions import Action, ActionKind, Origin
from codec.model import KeyClass, Row
from codec.reader import Event, KeyEvent, PointerEvent

ORIGIN = Origin("d-one", 1, 0, ("training",), b"", 0, "", "modicum", ())
LETTER, MODIFIER = int(KeyClass.LETTER), int(KeyClass.MODIFIER)


def actions(*events: Event) -> list[Action]:
    making = Actions(lambda t_ms, zero_ns: lambda: np.full((1, 1, 4), t_ms % 251, np.uint8))
    found: list[Action] = []
    for event in sorted(events, key=lambda event: event.t_ms):
        found += making.feed(event.t_ms, event, ORIGIN, 0)
    return found + list(making.end())


def kinds(found: Sequence[Action]) -> list[str]:
    return [str(action.kind) for action in found]


def press(t_ms: int, x: int = 5, y: int = 5, button: int = 1) -> PointerEvent:
    return PointerEvent(t_ms, 2 * button, x, y)


def release(t_ms: int, x: int = 5, y: int = 5, button: int = 1) -> PointerEvent:
    return PointerEvent(t_ms, 2 * button + 1, x, y)


def typed(*times: int) -> list[KeyEvent]:
    return [KeyEvent(t_ms, True, LETTER, 0) for t_ms in times]


def test_two_quick_clicks_at_one_place_are_a_double_click_and_slow_ones_are_not() -> None:
    (double,) = actions(press(0), release(80), press(200), release(280))
    assert (double.kind, double.duration_ms) == (ActionKind.DOUBLE_CLICK, 280)
    assert kinds(actions(press(0), release(80), press(900), release(980))) == ["click", "click"]
    assert kinds(actions(press(0), release(80), press(200, x=60), release(280, x=60))) == ["click", "click"]
    assert kinds(actions(press(0), release(80), press(200, button=3), release(280, button=3))) == ["click", "click"]


def test_a_press_that_is_carried_away_is_a_drag() -> None:
    (drag,) = actions(press(0, 10, 10), PointerEvent(50, 0, 80, 40), release(300, 90, 44))
    assert (drag.kind, drag.x, drag.y, drag.to, drag.button) == (ActionKind.DRAG, 10, 10, (90, 44), 1)


def test_turns_of_the_wheel_are_one_scroll_until_it_rests() -> None:
    down = [PointerEvent(100 * step, 10, 7, 8) for step in range(5)]
    up = [PointerEvent(2000 + 100 * step, 8, 7, 8) for step in range(3)]
    found = actions(*down, *up)
    assert [(action.kind, action.scroll, action.duration_ms) for action in found] == [
        (ActionKind.SCROLL, (0, 5), 400),
        (ActionKind.SCROLL, (0, -3), 200),
    ]


def test_keys_join_into_typing_until_a_pause_a_click_or_a_shortcut() -> None:
    control = KeyEvent(5000, True, MODIFIER, 1)
    shortcut = [Row(5100, "shortcut", {"name": "Ctrl+C"}), KeyEvent(5100, True, LETTER, 0)]
    found = actions(
        *typed(0, 200, 400), *typed(2000, 2100), press(2200), release(2210), *typed(4800), control, *shortcut
    )
    assert kinds(found) == ["type", "type", "click", "type", "shortcut"]
    assert found[0].keys == {"letter": 3}
    assert found[4].name == "Ctrl+C"


def test_a_choice_and_what_lay_under_the_click_join_their_click() -> None:
    button = {"role": "push button", "name": "Save", "x": 1, "y": 2, "w": 30, "h": 20}
    item = {"role": "menu item", "name": "Copy", "index": 3, "count": 9, "committed": True, "cause": "click"}
    found = actions(
        press(1000),
        release(1080),
        Row(1230, "element", {"ago": 230, **button}),
        press(5000),
        release(5080),
        Row(5300, "select", {"ago": 220, **item}),
    )
    assert kinds(found) == ["click", "click", "select"]
    assert found[0].element is not None
    assert (found[0].element.role, found[0].element.name, found[0].element.bounds) == (
        "push button",
        "Save",
        (1, 2, 30, 20),
    )
    assert found[1].element is None
    select = found[2]
    assert (select.t_ms, select.committed, select.cause) == (5080, True, "click")
    assert select.element is not None
    assert (select.element.name, select.element.index, select.element.count) == ("Copy", 3, 9)


def test_an_action_has_the_frames_of_the_stretch_it_lies_in() -> None:
    pair = {"ago": 400, "span": 80, "before": 900, "fresh": True, "after": 0, "settled": True}
    shared = {"ago": 1400, "span": 1000, "before": 1500, "fresh": False, "after": 100, "settled": False}
    found = actions(
        press(1000), release(1080), Row(1400, "pair", pair),
        *typed(3000, 3500, 4000), Row(4400, "pair", shared), press(9000), release(9010),
    )  # fmt: skip
    assert kinds(found) == ["click", "type", "click"]
    assert [(shot.t_ms, shot.exact) for shot in (found[0].before, found[0].after) if shot] == [
        (500, True),
        (1400, True),
    ]
    assert [(shot.t_ms, shot.exact) for shot in (found[1].before, found[1].after) if shot] == [
        (2900, False),
        (4300, False),
    ]
    assert (found[2].before, found[2].after) == (None, None), "the plan took none"


def test_a_window_is_told_once_and_names_the_actions_in_it() -> None:
    editor, browser = {"app": "mousepad", "title": "a"}, {"app": "firefox-esr", "title": "b"}
    found = actions(
        Row(0, "focus", editor), press(500), release(580), Row(1000, "focus", editor), Row(2000, "focus", browser),
        Row(2100, "site", {"host": "example.org"}), press(2500), release(2580),
    )  # fmt: skip
    assert kinds(found) == ["focus", "click", "focus", "site", "click"]
    assert [(action.application, action.site) for action in found if action.kind is ActionKind.CLICK] == [
        ("mousepad", ""),
        ("firefox-esr", "example.org"),
    ]


def test_a_button_whose_release_was_not_recorded_holds_nothing_up() -> None:
    found = actions(press(0), Row(5000, "gap", {"cause": "scope", "ms": 4000}), press(6000), release(6080))
    assert [action.t_ms for action in found] == [6000]


def test_input_that_may_have_a_hole_ends_what_was_under_way_and_leaves_the_person_where_they_were() -> None:
    found = actions(
        Row(0, "focus", {"app": "mousepad", "title": "a"}),
        press(100), Row(5000, "gap", {"cause": "overflow", "ms": 300}), release(5100), press(6000), release(6080),
    )  # fmt: skip
    assert [(action.t_ms, action.application) for action in found if action.kind is ActionKind.CLICK] == [
        (6000, "mousepad")
    ]


def test_actions_come_in_the_order_of_their_beginning() -> None:
    events: list[Event] = [press(0, 0, 0), release(30_000, 500, 0)]
    events += [Row(t_ms, "shortcut", {"name": "Ctrl+S"}) for t_ms in range(1000, 29_000, 700)]
    times = [action.t_ms for action in actions(*events)]
    assert times == heapq.nsmallest(len(times), times)


def test_a_paste_names_its_copy_by_time() -> None:
    copy = {"ago": 200, "source": "editor", "types": "text/plain", "size": 9}
    paste = {"ago": 90, "target": "browser", "since": 4000}
    found = actions(Row(1200, "clipboard", copy), Row(5090, "paste", paste))
    assert [(one.kind, one.t_ms) for one in found] == [(ActionKind.CLIPBOARD, 1000), (ActionKind.PASTE, 5000)]
    assert found[1].t_ms - paste["since"] == found[0].t_ms
