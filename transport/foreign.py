"""Pure: the event files of other recorders, as columns: DuckTrack's and AgentNetTool's `events.jsonl`.

Both write one JSON object a line, `{"time_stamp": seconds, "action": …}`, with the actions move, click, scroll, press,
release, pause and resume (DuckTrack 8b008ca ducktrack/recorder.py; AgentNetTool 05068e9 api/core/recorder.py adds
`event_idx` and `pynput_key`), and a "focus" of an "app", which the caller makes of AgentNetTool's window file. Guarantees: what cannot be read is counted by reason, never guessed; of a key its class is
kept, not its name. Loses: time below 1 ms, position below 1 px, wheel steps' fractions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from codec.errors import Corrupt, TooLarge
from codec.keys import Slots, class_of_character, class_of_name
from codec.model import KeyEvents, PointerEvents, PointerKind, Row

LOSSY = ("time-1ms", "position-1px", "key-class")
"""What the conversion loses, as it stands in each chunk (codec.model.Meta.lossy)."""

MAX_LINE_BYTES = 64 * 1024
MAX_STEPS = 100
"""Of one wheel event: more clicks at once are no person's."""
MAX_POSITION = 1 << 30
MAX_TEXT = 200
MAX_SECONDS = 1e12

BUTTONS = {"left": 1, "middle": 2, "right": 3, "x1": 8, "button8": 8, "x2": 9, "button9": 9}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some minutes of a foreign recording, one future chunk.

    Attributes:
        t0_ms: the recorder's clock (ms) at its start; all `t_ms` count from it. duration_ms: to its last event.
        pointer, keys, rows: see codec.model.
        left_out: lines that could not be read since the part before, by reason.
    """

    t0_ms: int
    duration_ms: int
    pointer: PointerEvents
    keys: KeyEvents
    rows: tuple[Row, ...]
    left_out: dict[str, int]


class _Columns:
    """The part that is being filled."""

    def __init__(self, t0_ms: int) -> None:
        self.t0_ms = self.latest_ms = t0_ms
        self.pointer: list[tuple[int, int, int, int]] = []
        self.keys: list[tuple[int, int, int, int]] = []
        self.rows: list[Row] = []

    def finish(self, left_out: Counter[str]) -> Part:
        pointer = np.array(self.pointer, np.int64).reshape(-1, 4)
        keys = np.array(self.keys, np.int64).reshape(-1, 4)
        part = Part(
            t0_ms=self.t0_ms,
            duration_ms=self.latest_ms - self.t0_ms,
            pointer=PointerEvents(
                pointer[:, 0].copy(),
                pointer[:, 1].astype(np.uint8),
                pointer[:, 2].astype(np.int32),
                pointer[:, 3].astype(np.int32),
            ),
            keys=KeyEvents(
                keys[:, 0].copy(),
                keys[:, 1].astype(np.bool_),
                keys[:, 2].astype(np.uint16),
                keys[:, 3].astype(np.uint8),
            ),
            rows=tuple(self.rows),
            left_out=dict(left_out),
        )
        left_out.clear()
        return part


def parts(lines: Iterable[bytes], *, part_ms: int) -> Iterator[Part]:
    """Read an event file part by part; memory holds one part.

    Args:
        lines: of the file. part_ms: how long a part is.

    Raises:
        TooLarge: a line is longer than MAX_LINE_BYTES. Corrupt: not one line of the file could be read.
    """
    left_out: Counter[str] = Counter()
    slots = Slots()
    columns: _Columns | None = None
    wrong: str | None = None
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            raise TooLarge(f"line {number} of the event file", actual=len(line), limit=MAX_LINE_BYTES)
        if not line.strip():
            continue
        try:
            event = json.loads(line)
            t_ms = round(_number(event, "time_stamp", MAX_SECONDS) * 1000)
            action = event["action"]
        except (ValueError, KeyError, TypeError, RecursionError):
            left_out["no event with a time and an action"] += 1
            wrong = wrong or f"line {number}: {line[:60]!r}"
            continue
        if columns is not None and t_ms - columns.t0_ms >= part_ms:
            yield columns.finish(left_out)
            columns = None
        if columns is None:
            columns = _Columns(t_ms)
        columns.latest_ms = max(columns.latest_ms, t_ms)
        try:
            _add(columns, slots, t_ms - columns.t0_ms, action, event)
        except (ValueError, KeyError, TypeError):
            left_out[f"{action} that could not be read" if isinstance(action, str) else "no action"] += 1
    if columns is not None:
        yield columns.finish(left_out)
    elif wrong is not None:
        raise Corrupt(f"no line is an event of DuckTrack or AgentNetTool ({wrong}): is it their events.jsonl?")


def _add(columns: _Columns, slots: Slots, t_ms: int, action: object, event: dict[str, Any]) -> None:
    """Add one event, whole or not at all."""
    if action == "move":
        columns.pointer.append((t_ms, PointerKind.MOVE, *_place(event)))
    elif action == "click":
        button, pressed = BUTTONS[event["button"]], event["pressed"]
        if not isinstance(pressed, bool):
            raise TypeError(pressed)
        columns.pointer.append((t_ms, 2 * button + (not pressed), *_place(event)))
    elif action == "scroll":
        place = _place(event)
        steps = [(round(_number(event, name, MAX_STEPS)), kinds) for name, kinds in _WHEEL.items()]
        for amount, (plus, minus) in steps:
            columns.pointer.extend([(t_ms, plus if amount > 0 else minus, *place)] * abs(amount))
    elif action in ("press", "release"):
        name = event["name"]
        code = _class_of(name)
        # A letter is pressed as "a" and may be released as "A", when Shift came in between.
        key = name.lower() if isinstance(name, str) else event.get("pynput_key")
        slot = slots.press(key) if action == "press" else slots.release(key)
        columns.keys.append((t_ms, action == "press", code, slot))
    elif action == "focus":
        columns.rows.append(Row(t_ms, "focus", {"app": _text(event["app"]), "title": ""}))
    elif action in ("pause", "resume"):
        columns.rows.append(Row(t_ms, str(action), {}))
    else:
        raise ValueError(action)


_WHEEL = {
    "dy": (PointerKind.WHEEL_UP, PointerKind.WHEEL_DOWN),
    "dx": (PointerKind.WHEEL_RIGHT, PointerKind.WHEEL_LEFT),
}
"""pynput: dy > 0 is up, dx > 0 is right."""


def _class_of(name: object) -> int:
    if name is None:  # a key without a character and without a name
        return 0
    if not isinstance(name, str) or not name:
        raise TypeError(name)
    return class_of_character(name) if len(name) == 1 else class_of_name(name)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value[:MAX_TEXT]


def _place(event: dict[str, Any]) -> tuple[int, int]:
    return round(_number(event, "x", MAX_POSITION)), round(_number(event, "y", MAX_POSITION))


def _number(event: dict[str, Any], name: str, most: float) -> float:
    value = event[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not -most <= value <= most:
        raise ValueError(f"{name}: {value!r}")
    return float(value)
