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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import IO, Any

from codec.model import Frame, Row
from codec.reader import KeyEvent, PointerEvent, Recording
from codec.video import write_mp4
from transport.errors import Missing, TooLarge

MAX_EVENTS = 2_000_000
MAX_FILM_BYTES = 256 << 20
"""What a browser still opens; a longer recording is replayed in parts."""
FILM_PART_BYTES = 3 << 18
"""Encoded at once; a multiple of three, so that the parts of the base64 text fit together."""

LISTED_GAP_MS = 1000
"""A shorter gap is a focus on its way through another window."""

Words = Callable[[Row], str | None]


@dataclass(slots=True)
class _Columns:
    """What the page's script reads, in ms from the first chunk's start."""

    pointer_t: array[float] = field(default_factory=lambda: array("d"))
    kind: array[int] = field(default_factory=lambda: array("B"))
    x: array[int] = field(default_factory=lambda: array("i"))
    y: array[int] = field(default_factory=lambda: array("i"))
    key_t: array[float] = field(default_factory=lambda: array("d"))
    down: array[int] = field(default_factory=lambda: array("B"))
    rows: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    frames: array[float] = field(default_factory=lambda: array("d"))
    size: tuple[int, int] = (0, 0)
    last_ms: float = 0
    purposes: set[str] = field(default_factory=set)
    consents: set[str] = field(default_factory=set)
    expires_s: int = 0


def write_replay(
    path: Path, recordings: Iterable[Recording], *, purpose: str, words: Words | None = None, last_ms: int = 1000
) -> int:
    """Write the page.

    Args:
        path: of the file, which must not exist.
        recordings: chunks of one device, in order; they are read once.
        purpose: what the page is for; it is shown.
        words: what a row says in the list of actions, None: it is not one of them.
        last_ms: how long the last screenshot stays.

    Returns:
        How many screenshots it shows.

    Raises:
        Missing: there is not one chunk. TooLarge: more than a browser opens; name a shorter time.
        FileExistsError: path exists.
    """
    columns = _Columns()
    start_ns: int | None = None

    def frames() -> Iterator[Frame]:
        nonlocal start_ns
        for recording in recordings:
            if start_ns is None:
                start_ns = recording.meta.wall_t0_ns
            shift_ms = (recording.meta.wall_t0_ns - start_ns) / 1e6
            _add(columns, recording, shift_ms, words or in_words)
            for frame in recording.frames():
                columns.frames.append(frame.t_ms + shift_ms)
                if not columns.size[0]:
                    columns.size = frame.pixels.shape[1], frame.pixels.shape[0]
                yield Frame(round(frame.t_ms + shift_ms), frame.pixels)

    with tempfile.TemporaryDirectory(prefix="modicum-replay-", dir=path.parent) as folder:
        film = Path(folder) / "film.mp4"
        write_mp4(film, frames(), last_ms=last_ms)
        if start_ns is None:
            raise Missing("there is nothing to replay: no chunk is permitted for this purpose and time")
        film_bytes = film.stat().st_size if film.exists() else 0
        if film_bytes > MAX_FILM_BYTES:
            raise TooLarge("the replay's film in bytes", actual=film_bytes, limit=MAX_FILM_BYTES)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as page:
            _fill(page, _data(columns, start_ns, purpose), film if film_bytes else None)
    return len(columns.frames)


def _add(columns: _Columns, recording: Recording, shift_ms: float, words: Words) -> None:
    meta = recording.meta
    columns.purposes.update(meta.purposes)
    columns.consents.add(meta.consent.hex())
    columns.expires_s = min(filter(None, (columns.expires_s, meta.expires_s)), default=0)
    columns.last_ms = max(columns.last_ms, shift_ms + meta.duration_ms)
    if len(columns.pointer_t) + len(columns.key_t) + len(recording.body.pointer) > MAX_EVENTS:
        raise TooLarge("the replay's events", actual=len(columns.pointer_t) + len(columns.key_t), limit=MAX_EVENTS)
    for event in recording.events():
        t_ms = event.t_ms + shift_ms
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
            said = words(event)
            if said is not None:
                columns.actions.append({"t": t_ms, "words": said} | _box(event))


def in_words(row: Row) -> str | None:
    """Return what a row says to a person; None when it is nothing that somebody did."""
    said = {name: value.hex()[:8] if isinstance(value, bytes) else str(value) for name, value in row.fields.items()}
    match row.kind:
        case "focus":
            return " – ".join(filter(None, (said.get("app"), said.get("title"))))
        case "select":
            label = f" “{said['label']}”" if said.get("label") else ""
            return f"selects{label} ({said['role']})" if "role" in said else f"selects{label}"
        case "gap" if _whole(row, "ms") < LISTED_GAP_MS:
            return None
        case "gap":
            return f"nothing was recorded for {_whole(row, 'ms') / 1000:.0f} s: {said.get('cause')}"
        case "display" | "plan":
            return None
    told = ", ".join(f"{name} {value}" for name, value in row.fields.items() if isinstance(value, str) and value)
    return f"{row.kind}: {told}" if told else row.kind


def _box(row: Row) -> dict[str, Any]:
    """Return an element's place, where a row other than a window's has one."""
    names = ("x", "y", "w", "h")
    if row.kind == "focus" or not all(isinstance(row.fields.get(name), int) for name in names):
        return {}
    return {"box": [row.fields[name] for name in names]}


def _whole(row: Row, name: str) -> int:
    value = row.fields.get(name)
    return value if isinstance(value, int) else 0


def _data(columns: _Columns, start_ns: int, purpose: str) -> dict[str, Any]:
    began = datetime.fromtimestamp(start_ns / 1e9, UTC)
    expires = f"{datetime.fromtimestamp(columns.expires_s, UTC):%Y-%m-%d}" if columns.expires_s else "never"
    consents = sorted(columns.consents)
    ends = [columns.last_ms, *(times[-1] for times in (columns.pointer_t, columns.key_t, columns.frames) if times)]
    rounded = [[round(t, 1) for t in times] for times in (columns.pointer_t, columns.key_t, columns.frames)]
    return {
        "when": f"recorded {began:%Y-%m-%d %H:%M} UTC",
        "terms": {
            "made for": purpose,
            "agreed to": ", ".join(sorted(columns.purposes)),
            "consent": ", ".join(consent[:12] or "none" for consent in consents),
            "delete after": expires,
        },
        "width": columns.size[0] or 1920,
        "height": columns.size[1] or 1080,
        "duration_ms": round(max(ends), 1),
        "pointer": {"t": rounded[0], "kind": list(columns.kind), "x": list(columns.x), "y": list(columns.y)},
        "keys": {"t": rounded[1], "down": list(columns.down)},
        "frames": rounded[2],
        "rows": columns.rows,
        "actions": sorted(columns.actions, key=lambda action: action["t"]),
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
