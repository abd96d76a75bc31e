"""Pure: an event as the object of one JSON line; nothing of it is lost, digests become hex."""

from __future__ import annotations

from typing import Any

from codec.model import KeyClass, PointerKind, Row
from codec.reader import Event, KeyEvent
from transport.exports.plain import plain_fields

POINTER_NAMES = {int(kind): kind.name.lower().replace("_", "-") for kind in PointerKind}
KEY_NAMES = {int(kind): kind.name.lower() for kind in KeyClass}


def to_line(t_ms: int, wall_ns: int, event: Event) -> dict[str, Any]:
    """Return an event as plain values.

    Args:
        t_ms: its time on the source clock, comparable over a device's chunks. wall_ns: on the wall clock, by its chunk.
        event: see there.
    """
    line: dict[str, Any] = {"t_ms": t_ms, "wall_ns": wall_ns}
    if isinstance(event, Row):
        return line | plain_fields(event.fields) | {"kind": event.kind}
    if isinstance(event, KeyEvent):
        name = KEY_NAMES.get(event.code, str(event.code))
        return line | {"kind": "key-press" if event.down else "key-release", "class": name, "slot": event.slot}
    return line | {"kind": kind_of(event), "x": event.x, "y": event.y}


def kind_of(event: Event) -> str:
    """Return the name of an event's kind."""
    if isinstance(event, Row):
        return event.kind
    if isinstance(event, KeyEvent):
        return "key-press" if event.down else "key-release"
    name = POINTER_NAMES.get(event.kind)
    return name or f"button-{event.kind // 2}-{'release' if event.kind % 2 else 'press'}"
