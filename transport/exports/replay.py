"""Shell: a recording as one HTML file that plays it: screenshots, pointer, clicks, keys and choices; it opens offline.

Guarantees: the file fetches nothing (its content security policy forbids it), is 0600, and carries purposes, consent and
expiry, which it shows. It loses what MP4 loses of pixels, and the order of events within a millisecond.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from codec.actions import ActionKind
from codec.model import Row
from codec.reader import KeyEvent, PointerEvent
from transport.errors import Missing, TooLarge
from transport.exports.film import Place, write_film

if TYPE_CHECKING:
    from codec.actions import Action
    from transport.exports.terms import Terms
    from transport.reading import Observed, Picture

MAX_EVENTS = 2_000_000
MAX_FILM_BYTES = 256 << 20
"""What a browser still opens; a longer recording is replayed in parts."""
FILM_PART_BYTES = 3 << 18
"""Encoded at once; a multiple of three, so that the parts of the base64 text fit together."""


@dataclass(slots=True)
class _Columns:
    """What the page's script reads; times in ms from the first of all."""

    pointer_t: array[float] = field(default_factory=lambda: array("d"))
    kind: array[int] = field(default_factory=lambda: array("B"))
    x: array[int] = field(default_factory=lambda: array("i"))
    y: array[int] = field(default_factory=lambda: array("i"))
    key_t: array[float] = field(default_factory=lambda: array("d"))
    down: array[int] = field(default_factory=lambda: array("B"))
    rows: list[dict[str, Any]] = field(default_factory=list)
    frames: array[float] = field(default_factory=lambda: array("d"))
    size: tuple[int, int] = (0, 0)


def write_replay(
    path: Path, events: Iterable[Observed], pictures: Iterable[Picture], actions: Iterable[Action], *, terms: Terms
) -> int:
    """Write the page.

    Args:
        path: of the file, which must not exist.
        events, pictures, actions: of one device, in order, each read once.
        terms: what they permit, complete when the last has been read.

    Returns:
        How many screenshots it shows.

    Raises:
        Missing: there is nothing. TooLarge: more than a browser opens; name a shorter time.
        FileExistsError: path exists.
    """
    columns = _Columns()
    for observed in events:
        _add(columns, observed)

    def told(place: Place, picture: Picture) -> None:
        columns.frames.append(place.wall_ns / 1e6)
        if len(columns.frames) == 1:  # positions are pixels of what the pictures show
            columns.size = picture.pixels.shape[1], picture.pixels.shape[0]

    with tempfile.TemporaryDirectory(prefix="replay-", dir=path.parent) as folder:
        film = Path(folder) / "film.mp4"
        write_film(film, pictures, told)
        film_bytes = film.stat().st_size if film.exists() else 0
        if film_bytes > MAX_FILM_BYTES:
            raise TooLarge("the replay's film in bytes", actual=film_bytes, limit=MAX_FILM_BYTES)
        said = [
            {"t": action.wall_ns / 1e6, "words": words} | _box(action)
            for action in actions
            if (words := in_words(action))
        ]
        data = _data(columns, said, terms)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as page:
            _fill(page, data, film if film_bytes else None)
    return len(columns.frames)


def _add(columns: _Columns, observed: Observed) -> None:
    event, t_ms = observed.event, observed.wall_ns / 1e6
    if len(columns.pointer_t) + len(columns.key_t) >= MAX_EVENTS:
        raise TooLarge("the replay's events", actual=MAX_EVENTS + 1, limit=MAX_EVENTS)
    if isinstance(event, PointerEvent):
        columns.pointer_t.append(t_ms)
        columns.kind.append(event.kind)
        columns.x.append(event.x)
        columns.y.append(event.y)
    elif isinstance(event, KeyEvent):
        columns.key_t.append(t_ms)
        columns.down.append(event.down)
    else:
        columns.rows.append({"t": t_ms, "kind": event.kind})
        if event.kind == "display" and not columns.size[0]:
            columns.size = _whole(event, "w"), _whole(event, "h")


def in_words(action: Action) -> str:
    """Return what an action was, for a person."""
    element = action.element
    what = "" if element is None else f"“{element.name}” ({element.role})" if element.name else element.role
    match action.kind:
        case ActionKind.CLICK | ActionKind.DOUBLE_CLICK | ActionKind.DRAG:
            button = {2: "middle ", 3: "right "}.get(action.button or 1, "")
            return f"{button}{action.kind} {what}".rstrip()
        case ActionKind.SCROLL:
            right, down = action.scroll
            turns = [f"{abs(down)} {'down' if down > 0 else 'up'}"] * bool(down)
            turns += [f"{abs(right)} {'right' if right > 0 else 'left'}"] * bool(right)
            return f"scroll {', '.join(turns)}"
        case ActionKind.TYPE:
            return f"type {sum(action.keys.values())} keys"
        case ActionKind.SELECT:
            place = (
                f", {element.index + 1} of {element.count}"
                if element and element.index is not None and element.count
                else ""
            )
            return f"{'gives up' if action.committed is False else 'select'} {what}{place}"
        case ActionKind.FOCUS:
            return " – ".join(filter(None, (action.application, action.title)))
        case ActionKind.DIALOG:
            return f"dialog {action.name} {what}".rstrip()
    return f"{action.kind} {action.name or str(action.fields.get('types', ''))}".rstrip()


def _box(action: Action) -> dict[str, Any]:
    bounds = None if action.element is None else action.element.bounds
    return {} if bounds is None else {"box": list(bounds)}


def _whole(row: Row, name: str) -> int:
    value = row.fields.get(name)
    return value if isinstance(value, int) else 0


def _data(columns: _Columns, actions: list[dict[str, Any]], terms: Terms) -> dict[str, Any]:
    streams = [columns.pointer_t, columns.key_t, columns.frames, array("d", (row["t"] for row in columns.rows))]
    start_ms = min((times[0] for times in streams if times), default=None)
    if start_ms is None:
        raise Missing("there is nothing to replay: no chunk is permitted for this purpose and time")
    end_ms = max(times[-1] for times in streams if times)

    def since(times: Iterable[float]) -> list[float]:
        return [round(t - start_ms, 1) for t in times]

    began = datetime.fromtimestamp(start_ms / 1000, UTC)
    expires = f"{datetime.fromtimestamp(terms.expires_s, UTC):%Y-%m-%d}" if terms.expires_s else "never"
    for item in (*columns.rows, *actions):
        item["t"] = round(item["t"] - start_ms, 1)
    return {
        "when": f"recorded {began:%Y-%m-%d %H:%M} UTC",
        "terms": {
            "made for": terms.purpose,
            "agreed to": ", ".join(sorted(terms.purposes or ())),
            "consent": ", ".join(consent[:12] or "none" for consent in sorted(terms.consents)),
            "delete after": expires,
        },
        "width": columns.size[0] or 1920,
        "height": columns.size[1] or 1080,
        "duration_ms": round(end_ms - start_ms, 1),
        "pointer": {
            "t": since(columns.pointer_t),
            "kind": list(columns.kind),
            "x": list(columns.x),
            "y": list(columns.y),
        },
        "keys": {"t": since(columns.key_t), "down": list(columns.down)},
        "frames": since(columns.frames),
        "rows": columns.rows,
        "actions": actions,
    }


def _fill(page: IO[str], data: dict[str, Any], film: Path | None) -> None:
    """Write the page part by part: the film is not held in memory."""
    files = resources.files("transport.exports")
    template, style, script = (
        files.joinpath(f"replay.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    # "</script>" or "<!--" in a title would end the element: JSON may write "<" as an escape.
    recording = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    values = {
        "style": style,
        "script": script,
        "style-digest": _digest(style),
        "script-digest": _digest(script),
        "recording": recording,
    }
    head, tail = template.split("{{film}}")
    page.write(_filled(head, values))
    if film is not None:
        with film.open("rb") as file:
            while part := file.read(FILM_PART_BYTES):
                page.write(base64.b64encode(part).decode("ascii"))
    page.write(_filled(tail, values))


def _filled(template: str, values: dict[str, str]) -> str:
    """Put values in; what stands in a value is never taken for a name."""
    first, *rest = template.split("{{")
    filled = [first]
    for part in rest:
        name, _, text = part.partition("}}")
        filled += [values[name], text]
    return "".join(filled)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
