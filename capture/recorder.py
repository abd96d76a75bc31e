"""Pure: observations of input and context become drafts of chunks, by age and by size.

Screenshots are not here: they make chunks of their own (capture/camera.py), because they can be kept, sent and dropped
apart from the events.

Guarantees: what was observed between two `close` calls stands in exactly one draft, in the order observed; times are
the source's own. A draft is opened by its first observation, so that idleness makes no chunks. Does not guarantee
anything for a draft that is open when the process dies: at most `max_age_ms` of it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codec.model import KeyEvents, PointerEvents, Row, Scalar

POINTER_EVENT_BYTES = 8 + 1 + 4 + 4
KEY_EVENT_BYTES = 8 + 1 + 2 + 1
ROW_BYTES = 64
"""What an observation takes in memory (a row is counted at a typical size): the "raw" stage of the byte counts."""


@dataclass(frozen=True, slots=True)
class RecorderLimits:
    """When a draft is closed.

    Attributes:
        max_age_ms: from its first observation; what a crash can lose.
        max_events: pointer and key events and rows together.
    """

    max_age_ms: int = 5 * 60_000
    max_events: int = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """The observations of one future chunk; times count from `t0_ms`.

    Attributes:
        t0_ms: source clock (ms) of the first observation. duration_ms: from there to the close.
        raw_bytes: what the observations took in memory, without frames.
    """

    t0_ms: int
    duration_ms: int
    pointer: PointerEvents
    keys: KeyEvents
    rows: tuple[Row, ...]
    counters: Mapping[str, int]
    raw_bytes: int


class Recorder:
    """Collects observations into the open draft.

    State: the columns of the open draft, its t0, the lasting rows (repeated at the head of the next draft, so that each
    chunk is understood alone), and counters of what was not recorded since the last close.
    """

    def __init__(self, limits: RecorderLimits) -> None:
        self.limits = limits
        self.dropped: Counter[str] = Counter()
        self._context: dict[str, Row] = {}
        self._reset()

    def _reset(self) -> None:
        self._t0_ms: int | None = None
        self._pointer_t, self._kind, self._x, self._y = array("q"), array("B"), array("i"), array("i")
        self._key_t, self._down, self._code, self._slot = array("q"), array("B"), array("H"), array("B")
        self._rows: list[Row] = []

    @property
    def opened_ms(self) -> int | None:
        """The source clock's value at the open draft's start, None when there is none."""
        return self._t0_ms

    @property
    def events(self) -> int:
        """Events and rows in the open draft."""
        return len(self._pointer_t) + len(self._key_t) + len(self._rows)

    def is_full(self, now_ms: int) -> bool:
        """Tell whether the open draft has reached a limit.

        Args:
            now_ms: the source clock.
        """
        if self._t0_ms is None:
            return False
        return now_ms - self._t0_ms >= self.limits.max_age_ms or self.events >= self.limits.max_events

    def _open(self, t_ms: int) -> None:
        if self._t0_ms is None:
            self._t0_ms = t_ms
            # A chunk is decodable alone: what was in force before it began stands at its head.
            self._rows.extend(Row(t_ms, row.kind, row.fields) for row in self._context.values())

    def pointer(self, t_ms: int, kind: int, x: int, y: int) -> None:
        """Record a pointer event (codec.model.PointerKind; pixels of the whole display)."""
        self._open(t_ms)
        self._pointer_t.append(t_ms)
        self._kind.append(kind)
        self._x.append(x)
        self._y.append(y)

    def key(self, t_ms: int, down: bool, code: int, slot: int) -> None:
        """Record a key press or release by class; `slot` joins the two (codec.model.KeyEvents)."""
        self._open(t_ms)
        self._key_t.append(t_ms)
        self._down.append(down)
        self._code.append(code)
        self._slot.append(slot)

    def retract_keys(self, since_ms: int) -> int:
        """Take back the open draft's key events from a moment on (it turned out that they were a secret's).

        Args:
            since_ms: source clock.

        Returns:
            How many.
        """
        kept = len(self._key_t)
        while kept and self._key_t[kept - 1] >= since_ms:
            kept -= 1
        retracted = len(self._key_t) - kept
        for column in (self._key_t, self._down, self._code, self._slot):
            del column[kept:]
        return retracted

    def row(self, t_ms: int, kind: str, fields: Mapping[str, Scalar], *, lasting: bool = False) -> None:
        """Record a rare event.

        Args:
            t_ms: source clock.
            kind: the vocabulary of docs/format.md.
            fields: its fields.
            lasting: it holds until the next of its kind (focus): the next drafts begin with it.
        """
        row = Row(t_ms, kind, dict(fields))
        self._open(t_ms)
        if lasting:
            self._context[kind] = row
        self._rows.append(row)

    def circumstance(self, t_ms: int, kind: str, fields: Mapping[str, Scalar]) -> None:
        """Record what holds from now on (display, plan), without opening a draft for it: it is nothing that somebody did."""
        row = Row(t_ms, kind, dict(fields))
        self._context[kind] = row
        if self._t0_ms is not None:
            self._rows.append(row)

    def forget_context(self, kind: str) -> None:
        """Stop repeating the lasting row of `kind` (the focus left what may be recorded)."""
        self._context.pop(kind, None)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count observations that were not recorded; the counts stand in the next draft."""
        self.dropped[reason] += count

    def close(self, now_ms: int) -> Draft | None:
        """End the open draft and return it; None when nothing was observed.

        Args:
            now_ms: the source clock at the close.
        """
        if self._t0_ms is None:
            return None
        t0_ms = self._t0_ms
        draft = Draft(
            t0_ms=t0_ms,
            duration_ms=max(0, now_ms - t0_ms),
            pointer=PointerEvents(
                t_ms=np.array(self._pointer_t, np.int64) - t0_ms,
                kind=np.array(self._kind, np.uint8),
                x=np.array(self._x, np.int32),
                y=np.array(self._y, np.int32),
            ),
            keys=KeyEvents(
                t_ms=np.array(self._key_t, np.int64) - t0_ms,
                down=np.array(self._down, np.bool_),
                code=np.array(self._code, np.uint16),
                slot=np.array(self._slot, np.uint8),
            ),
            rows=tuple(Row(row.t_ms - t0_ms, row.kind, row.fields) for row in self._rows),
            counters=dict(self.dropped),
            raw_bytes=(
                POINTER_EVENT_BYTES * len(self._pointer_t)
                + KEY_EVENT_BYTES * len(self._key_t)
                + ROW_BYTES * len(self._rows)
            ),
        )
        self.dropped.clear()
        self._reset()
        return draft
