"""Pure: from a device's stream of events and rows to actions, bound to the frames before and after them.

Fed in the order of time, chunk after chunk; actions come out in the order of their beginning, some seconds later, because the
rows that complete them (what was under the pointer, what was chosen, which frames belong) were written after them.
State is bounded: what is under way, and HORIZON_MS of what may still be completed.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from codec.actions import Action, ActionKind, Element, Load, Origin, Shot
from codec.gestures import Gesture, Gestures, Press
from codec.model import KeyClass, Row
from codec.reader import Event, KeyEvent

HORIZON_MS = 15_000
"""How much later than an action its rows may come: a frame is waited for some seconds, a lookup less than one."""

TYPING_GAP_MS = 1000
MAX_TYPING_MS = 30_000
"""Keys with a longer pause between them are two runs; so is a run that never pauses."""

REMEMBERED = 64
"""Focus changes and frame pairs that are kept to look back at."""

KEY_NAMES = {int(kind): kind.name.lower() for kind in KeyClass}
Find = Callable[[int, int], Load | None]
"""Returns what decodes the device's frame of a time (source clock, ms), which the clock that began at a wall time (ns) told;
None when there is no such frame."""


@dataclass(slots=True)
class _Draft:
    """An action that may still be completed."""

    kind: ActionKind
    t_ms: int
    end_ms: int
    origin: Origin
    wall_offset_ns: int
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Frames around the inputs of a stretch of time (the row "pair")."""

    t_ms: int
    end_ms: int
    until_ms: int
    before: tuple[int, bool] | None
    after: tuple[int, bool] | None


@dataclass(frozen=True, slots=True)
class _Place:
    t_ms: int
    application: str
    title: str


class Actions:
    """Makes the actions of one device's epoch.

    Args:
        find: see Find.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self._gestures = Gestures()
        self._typing: _Draft | None = None
        self._shortcut_ms: int | None = None
        self._waiting: list[tuple[int, int, _Draft]] = []
        self._count = 0
        self._places: deque[_Place] = deque([_Place(-(1 << 62), "", "")], REMEMBERED)
        self._sites: deque[tuple[int, str]] = deque([(-(1 << 62), "")], REMEMBERED)
        self._pairs: deque[_Pair] = deque(maxlen=REMEMBERED)
        self._elements: deque[tuple[int, Element]] = deque(maxlen=REMEMBERED)

    def feed(self, t_ms: int, event: Event, origin: Origin, wall_offset_ns: int) -> Iterator[Action]:
        """Take one event; yield the actions that nothing can be added to any more.

        Args:
            t_ms: the event's time, source clock (the chunk's t0 added). event: its own `t_ms` is not looked at.
            origin: of its chunk. wall_offset_ns: the wall clock when the source clock was 0, by its chunk.
        """
        self._origin, self._wall_offset_ns = origin, wall_offset_ns
        self._end_typing(before_ms=t_ms - TYPING_GAP_MS)
        if isinstance(event, Row):
            self._row(t_ms, event)
        elif isinstance(event, KeyEvent):
            self._key(t_ms, event)
        else:
            if event.kind > 1:
                self._end_typing()
            for gesture in self._gestures.pointer(t_ms, event.kind, event.x, event.y):
                self._gesture(gesture)
        for gesture in self._gestures.until(t_ms):
            self._gesture(gesture)
        open_ms = min((one.t_ms for one in self._under_way()), default=t_ms)
        yield from self._complete(min(t_ms - HORIZON_MS, open_ms))

    def end(self) -> Iterator[Action]:
        """Yield what is left: the stream has ended."""
        self._end_typing()
        for gesture in self._gestures.end():
            self._gesture(gesture)
        yield from self._complete(1 << 62)

    def _under_way(self) -> Iterator[Any]:
        yield from self._gestures.under_way()
        if self._typing is not None:
            yield self._typing

    # -- what comes in

    def _add(self, kind: ActionKind, t_ms: int, end_ms: int, **more: Any) -> None:
        self._push(_Draft(kind, t_ms, end_ms, self._origin, self._wall_offset_ns, more))

    def _push(self, draft: _Draft) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (draft.t_ms, self._count, draft))

    def _gesture(self, gesture: Gesture) -> None:
        if not isinstance(gesture, Press):
            scroll = (gesture.dx, gesture.dy)
            self._add(ActionKind.SCROLL, gesture.t_ms, gesture.end_ms, x=gesture.x, y=gesture.y, scroll=scroll)
            return
        kind = ActionKind.CLICK if gesture.clicks < 2 else ActionKind.DOUBLE_CLICK
        to = None
        if gesture.is_drag:
            kind, to = ActionKind.DRAG, (gesture.to_x, gesture.to_y)
        self._add(kind, gesture.t_ms, gesture.end_ms, x=gesture.x, y=gesture.y, to=to, button=gesture.button)

    def _key(self, t_ms: int, event: KeyEvent) -> None:
        if not event.down or event.code == KeyClass.MODIFIER or t_ms == self._shortcut_ms:
            return
        typing = self._typing
        if typing is not None and t_ms - typing.t_ms > MAX_TYPING_MS:
            self._end_typing()
            typing = None
        if typing is None:
            typing = self._typing = _Draft(
                ActionKind.TYPE, t_ms, t_ms, self._origin, self._wall_offset_ns, {"keys": Counter()}
            )
        typing.end_ms = t_ms
        typing.more["keys"][KEY_NAMES.get(event.code, str(event.code))] += 1

    def _end_typing(self, before_ms: int | None = None) -> None:
        typing = self._typing
        if typing is not None and (before_ms is None or typing.end_ms < before_ms):
            self._typing = None
            self._push(typing)

    def _row(self, t_ms: int, row: Row) -> None:
        fields = row.fields
        match row.kind:
            case "focus":
                self._focus(t_ms, row)
            case "gap" if "ms" in fields:
                self._end_typing()
                for gesture in self._gestures.end():
                    self._gesture(gesture)
                if fields.get("cause") != "overflow":  # then the person stayed where they were
                    self._places.append(_Place(t_ms, "", ""))
            case "site":
                host = _text(fields.get("host"))
                if host != self._sites[-1][1]:
                    self._sites.append((t_ms, host))
                    self._add(ActionKind.SITE, t_ms, t_ms, name=host)
            case "shortcut":
                self._end_typing()
                self._shortcut_ms = t_ms
                self._add(ActionKind.SHORTCUT, t_ms, t_ms, name=_text(fields.get("name")))
            case "element":
                self._elements.append((_ago(t_ms, fields.get("ago")), element_of(row)))
            case "select":
                at_ms = _ago(t_ms, fields.get("ago"))
                checked = fields.get("checked")
                self._add(
                    ActionKind.SELECT,
                    at_ms,
                    at_ms,
                    element=element_of(row),
                    committed=bool(fields.get("committed", True)),
                    checked=None if checked is None else bool(checked),
                    cause=_text(fields.get("cause")),
                )
            case "dialog":
                state = "opened" if fields.get("open") else "closed"
                self._add(ActionKind.DIALOG, t_ms, t_ms, name=state, element=element_of(row))
            case "clipboard" | "paste":
                at_ms = _ago(t_ms, fields.get("ago"))
                self._add(ActionKind(row.kind), at_ms, at_ms, fields=dict(fields))
            case "pair":
                self._pair(t_ms, row)

    def _focus(self, t_ms: int, row: Row) -> None:
        place = _Place(t_ms, _text(row.fields.get("app")), _text(row.fields.get("title")))
        last = self._places[-1]
        if (place.application, place.title) == (last.application, last.title):
            return  # repeated at the head of a chunk, or only moved
        self._end_typing()
        self._places.append(place)
        self._add(ActionKind.FOCUS, t_ms, t_ms, fields=dict(row.fields))

    def _pair(self, t_ms: int, row: Row) -> None:
        fields = row.fields
        began_ms = _ago(t_ms, fields.get("ago"))
        before, after = fields.get("before"), fields.get("after")
        self._pairs.append(
            _Pair(
                t_ms=began_ms,
                end_ms=began_ms + _whole(fields.get("span")),
                until_ms=t_ms,
                before=None if before is None else (_ago(t_ms, before), bool(fields.get("fresh"))),
                after=None if after is None else (_ago(t_ms, after), bool(fields.get("settled"))),
            )
        )

    # -- what goes out

    def _complete(self, until_ms: int) -> Iterator[Action]:
        while self._waiting and self._waiting[0][0] < until_ms:
            yield self._finish(heapq.heappop(self._waiting)[2])

    def _finish(self, draft: _Draft) -> Action:
        more = draft.more
        if "element" not in more and "button" in more:
            more["element"] = next(
                (element for at_ms, element in self._elements if draft.t_ms <= at_ms <= draft.end_ms), None
            )
        at_ms = draft.t_ms
        place = next((one for one in reversed(self._places) if one.t_ms <= at_ms), self._places[0])
        return Action(
            kind=draft.kind,
            t_ms=at_ms,
            wall_ns=draft.wall_offset_ns + at_ms * 1_000_000,
            origin=draft.origin,
            duration_ms=draft.end_ms - at_ms,
            application=place.application,
            title=place.title,
            site=next((host for since_ms, host in reversed(self._sites) if since_ms <= at_ms), ""),
            before=self._shot(draft, next((one.before for one in reversed(self._pairs) if _covers(one, at_ms)), None)),
            after=self._shot(
                draft, next((one.after for one in reversed(self._pairs) if _covers(one, draft.end_ms)), None)
            ),
            **more,
        )

    def _shot(self, draft: _Draft, found: tuple[int, bool] | None) -> Shot | None:
        if found is None:
            return None
        t_ms, exact = found
        load = self._find(t_ms, draft.wall_offset_ns)
        return None if load is None else Shot(t_ms, exact, load)


def _covers(pair: _Pair, t_ms: int) -> bool:
    """Tell whether what happened at a time belongs to a pair: an input of it, or what followed from one."""
    return pair.t_ms <= t_ms <= max(pair.end_ms, pair.until_ms)


def element_of(row: Row) -> Element:
    """Return the element that a row ("element", "select", "dialog") describes."""
    fields = row.fields
    digest = fields.get("digest")
    bounds = tuple(fields.get(key) for key in ("x", "y", "w", "h"))
    index, count = fields.get("index"), fields.get("count")
    return Element(
        role=_text(fields.get("role")),
        name=_text(fields.get("name")),
        digest=digest if isinstance(digest, bytes) else b"",
        index=index if isinstance(index, int) else None,
        count=count if isinstance(count, int) else None,
        bounds=None if None in bounds else tuple(map(_whole, bounds)),  # type: ignore[arg-type]  # there are four
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _ago(t_ms: int, value: object) -> int:
    return t_ms - _whole(value)
