"""Pure: what the rows of a recording say of a day: which application was in front from when to when, and what is missing.

Times here are wall milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from codec.model import Meta, Row, Scalar

CONTEXT = {"focus", "display", "plan", "gap"}
"""Rows that tell what was the case, not what somebody did."""
MAX_ACTS = 2000
"""Of one chunk that are shown one by one."""


@dataclass(frozen=True, slots=True)
class Span:
    """An application was in front from `start_ms` to `end_ms`."""

    app: str
    title: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing was recorded from `start_ms` to `end_ms`. cause: "pause", "lock", "scope", …"""

    cause: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Act:
    """A row that tells of something done: its kind and fields."""

    t_ms: int
    kind: str
    fields: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outline:
    """A chunk in short.

    Attributes:
        start_ms, end_ms: what it covers. has_screens: it holds screenshots, else events.
        spans, missing, acts: in order. lost: (cause, sequence numbers) of chunks that were given up.
    """

    start_ms: int
    end_ms: int
    has_screens: bool
    spans: tuple[Span, ...] = ()
    missing: tuple[Missing, ...] = ()
    acts: tuple[Act, ...] = ()
    lost: tuple[tuple[str, tuple[int, ...]], ...] = ()


def outline(meta: Meta, rows: Sequence[Row], *, has_screens: bool) -> Outline:
    """Return a chunk in short.

    Args:
        meta: the chunk's. rows: the chunk's, in order. has_screens: whether it holds a screen section.
    """
    start_ms = meta.wall_t0_ns // 1_000_000
    end_ms = start_ms + meta.duration_ms
    spans: list[Span] = []
    missing: list[Missing] = []
    acts: list[Act] = []
    lost: list[tuple[str, tuple[int, ...]]] = []
    for row in rows:
        at_ms = start_ms + row.t_ms
        if row.kind == "focus":
            if spans:
                spans[-1] = replace(spans[-1], end_ms=max(spans[-1].start_ms, min(spans[-1].end_ms, at_ms)))
            spans.append(Span(_text(row, "app"), _text(row, "title"), at_ms, max(at_ms, end_ms)))
        elif row.kind == "gap" and "seqs" in row.fields:
            lost.append((_text(row, "cause"), _numbers(_text(row, "seqs"))))
        elif row.kind == "gap":
            missed_ms = row.fields.get("ms")
            if isinstance(missed_ms, int) and missed_ms > 0:
                missing.append(Missing(_text(row, "cause"), at_ms - missed_ms, at_ms))
        elif row.kind not in CONTEXT and len(acts) < MAX_ACTS:
            acts.append(Act(at_ms, row.kind, {name: _plain(value) for name, value in row.fields.items()}))
    return Outline(start_ms, end_ms, has_screens, tuple(spans), tuple(missing), tuple(acts), tuple(lost))


def without(span: Span, missing: Iterable[Missing]) -> list[Span]:
    """Return what is left of a span where nothing was recorded in between.

    A chunk's last span lasts to its close, unless a gap that a later chunk tells of began before.
    """
    rest = [span]
    for gap in missing:
        cut: list[Span] = []
        for part in rest:
            if gap.end_ms <= part.start_ms or part.end_ms <= gap.start_ms:
                cut.append(part)
                continue
            if part.start_ms < gap.start_ms:
                cut.append(replace(part, end_ms=gap.start_ms))
            if gap.end_ms < part.end_ms:
                cut.append(replace(part, start_ms=gap.end_ms))
        rest = cut
    return rest


def joined(outlines: Sequence[Outline]) -> list[Outline]:
    """Return the outlines with every gap cut out of every span, whichever chunk tells of it.

    Args:
        outlines: in the order of their starts.
    """
    missing = [gap for one in outlines for gap in one.missing]
    found = []
    for one in outlines:
        near = [gap for gap in missing if gap.start_ms < one.end_ms and gap.end_ms > one.start_ms]
        spans = [part for span in one.spans for part in without(span, near)]
        found.append(replace(one, spans=tuple(spans)))
    return found


def _text(row: Row, name: str) -> str:
    value = row.fields.get(name)
    return value if isinstance(value, str) else ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.isascii() and part.isdecimal() and len(part) <= 10)


def _plain(value: Scalar) -> Any:
    return value.hex() if isinstance(value, bytes) else value
