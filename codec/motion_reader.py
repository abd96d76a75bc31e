"""Pure: method B for the pointer stream: its header, and the decoder that rebuilds contexts event by event.

Everything here that computes a context has its vector twin in `codec.motion`, and must give the same integers.
"""

from __future__ import annotations

import numpy as np

from codec.beat import PERIODS_US, Beat, choose_period
from codec.columns import MAX_TIME_MS, checked_axis, checked_times
from codec.context import TableReader, admits, encode_table
from codec.errors import Corrupt
from codec.mixing import Prior
from codec.model import PointerEvents
from codec.motion import (
    ACROSS,
    AHEADS,
    CLIP,
    COARSE,
    COARSES,
    CONTEXT_SIZES,
    DOWN,
    FINE,
    FINE_SIZES,
    FINES,
    GAPS,
    KIND,
    KIND_ESCAPE,
    OFFS,
    PACE,
    PACES,
    ROUGH,
    ROUGHS,
    RUN,
    RUNS,
    SIZE,
    SIZES,
    SPREAD,
    SPREADS,
    STATES,
    STEP_BITS,
    STEP_STARTS,
    STEP_ZERO,
    SYMBOLS,
    TIME,
    TIME_BITS,
    TIME_STARTS,
    TIME_SYMBOLS,
    describe,
)
from codec.prior import load_prior
from codec.varint import Cursor, write_svarint, write_varint

PRIOR = "pointer-1.prior"
MAX_ROWS = 28672
"""A bound on a decoder's time: some 25 µs each in plain Python. Browsers' busiest chunks of 5 min have 25,000."""


def _signed(ladder: list[int]) -> list[int]:
    """Return a table by a value from -CLIP to CLIP itself: Python's negative indices reach the second half."""
    rungs = ladder[-1]
    return [rungs + level for level in ladder] + [rungs - level for level in reversed(ladder[1:])]


_FINE, _ROUGH, _PACE, _RUN = FINE.tolist(), ROUGH.tolist(), PACE.tolist(), RUN.tolist()
_SIZE, _SPREAD = SIZE.tolist(), SPREAD.tolist()
_FINE_OF, _ROUGH_OF, _COARSE_OF = _signed(_FINE), _signed(_ROUGH), _signed(COARSE.tolist())


def prior() -> Prior:
    """Return the pointer's prior."""
    return load_prior(PRIOR, SYMBOLS, CONTEXT_SIZES)


def encode_pointer(pointer: PointerEvents) -> bytes | None:
    """Encode pointer events by method B.

    Returns:
        The stream, or None where the method does not admit so many events in so few bytes.
    """
    count = len(pointer)
    if count > MAX_ROWS:
        return None
    t, kind, x, y = (c.astype(np.int64) for c in (pointer.t_ms, pointer.kind, pointer.x, pointer.y))
    period = choose_period(t)
    out = bytearray()
    write_varint(out, count)
    out.append(period)
    for value in (int(t[0]), int(x[0]), int(y[0])):
        write_svarint(out, value)
    code = encode_table(prior(), describe(t, kind, x, y, period))
    return bytes(out) + code if admits(count, len(code)) else None


def decode_pointer(stream: bytes) -> PointerEvents:
    """Undo `encode_pointer`.

    Raises:
        Truncated, Corrupt, TooLarge: the stream is not one that it writes.
    """
    cursor = Cursor(stream, "a pointer stream")
    count = cursor.varint(limit=MAX_ROWS, name="the number of pointer events")
    period = cursor.byte()
    if period >= len(PERIODS_US):
        raise Corrupt(f"a pointer stream names period {period}", offset=cursor.offset)
    t = cursor.svarint(limit=MAX_TIME_MS, name="a time")
    x, y = (cursor.svarint(limit=1 << 31, name="a position") for _ in range(2))
    code = cursor.rest()
    if not count or not admits(count, len(code)):
        raise Corrupt(f"a pointer stream claims {count:,} events in {len(code):,} bytes")
    kinds, ts, xs, ys = _Reader(count, period, code).read(t, x, y)
    return PointerEvents(
        t_ms=checked_times(np.array(ts, np.int64)),
        kind=np.array(kinds, np.uint8),
        x=checked_axis(np.array(xs, np.int64)),
        y=checked_axis(np.array(ys, np.int64)),
    )


def _clip(value: int) -> int:
    return CLIP if value > CLIP else -CLIP if value < -CLIP else value


class _Reader:
    """Decodes one stream.

    State: the table reader; of each field and context, each value's first cell; what `read` keeps in its variables.
    """

    def __init__(self, count: int, period: int, code: bytes) -> None:
        self.count = count
        self.period = period
        self.table = TableReader(prior(), code, count)
        self.at = [[base.tolist() for base in field.bases] for field in self.table.fields]

    def read(self, t: int, x: int, y: int) -> tuple[list[int], list[int], list[int], list[int]]:
        """Decode all events, given the first one's time and place."""
        table, symbol, plain = self.table, self.table.symbol, self.table.plain
        beat = Beat(self.period, t)
        k0, k1, k2, k3, k4, k5 = self.at[KIND]
        t0, t1, t2, t3, t4, t5 = self.at[TIME]
        a0, a1, a2, a3, a4, a5 = self.at[ACROSS]
        d0, d1, d2, d3, d4, d5 = self.at[DOWN]
        kinds, ts, xs, ys = [], [], [], []
        kind1 = kind2 = gap1 = gap2 = size1 = size2 = sort1 = run = held = off1 = off2 = 0
        px1 = px2 = px3 = py1 = py2 = py3 = 0
        for row in range(self.count):
            pace1 = _PACE[gap1]
            kind = symbol(
                KIND,
                (
                    k0[kind1 * 8 + kind2],
                    k1[(kind1 * PACES + pace1) * 2 + (not size1)],
                    k2[kind1 * FINE_SIZES + _FINE[size1]],
                    k3[(held * RUNS + _RUN[run]) * 8 + kind1],
                    k4[_FINE[size1] * FINE_SIZES + _FINE[size2]],
                    k5[pace1 * PACES + _PACE[gap2]],
                ),
            )
            if kind == KIND_ESCAPE:
                kind = plain(8)
            sort = 0 if kind < 2 else 1 + (kind & 1)
            state = sort + 2 if sort else sort1
            gap = dx = dy = off = 0
            if row:
                beats = beat.ahead_ms(t)
                beats = (beats if -3 < beats < 22 else -3 if beats < 0 else 22) + 3
                short1 = gap1 if gap1 < GAPS else GAPS - 1
                value = symbol(
                    TIME,
                    (
                        t0[state * AHEADS + beats],
                        t1[(sort * GAPS + short1) * PACES + _PACE[gap2]],
                        t2[(state * SIZES + _SIZE[size1]) * PACES + pace1],
                        t3[(state * OFFS + off1 + 3) * OFFS + off2 + 3],
                        t4[(sort * AHEADS + beats) * OFFS + off2 + 3],
                        t5[(sort * AHEADS + beats) * PACES + pace1],
                    ),
                )
                gap = plain(TIME_BITS[value])
                gap = (gap >> 1 ^ -(gap & 1)) if value == TIME_SYMBOLS - 1 else gap + TIME_STARTS[value]
                t += gap
                off = beat.hear(t)
                off = off if -3 < off < 3 else -3 if off < 0 else 3
                gap = 0 if gap < 0 else CLIP if gap > CLIP else gap
                toward_x = 1 if (px1 or px2 or px3) >= 0 else -1
                toward_y = 1 if (py1 or py2 or py3) >= 0 else -1
                dx1, dx2, dx3 = px1 * toward_x, px2 * toward_x, px3 * toward_x
                dy1, dy2 = py1 * toward_y, py2 * toward_y
                pace = _PACE[gap]
                since = gap1 or 1
                span = gap if gap < 4 * since else 4 * since
                on_x, on_y = dx1 * span // since, dy1 * span // since
                ahead_x = 2 * dx1 - dx2
                value = symbol(
                    ACROSS,
                    (
                        a0[(_FINE[dx1] * PACES + pace) * STATES + state],
                        a1[_FINE[dx1] * FINES + _FINE_OF[dx2]],
                        a2[(_ROUGH[dx1] * 9 + _ROUGH[dy1]) * PACES + pace],
                        a3[
                            (_FINE[on_x if on_x < CLIP else CLIP] * ROUGHS + _ROUGH_OF[_clip(dx1 - dx2)]) * STATES
                            + state
                        ],
                        a4[(_ROUGH[dx1] * ROUGHS + _ROUGH_OF[dx2]) * COARSES + _COARSE_OF[dx3]],
                        a5[_FINE_OF[_clip(ahead_x)] * PACES + pace],
                    ),
                )
                step = self.step(value, toward_x)
                x += step
                dx = _clip(step)
                here = dx * toward_x
                line = _clip((2 * here * dy1 + dx1) // (2 * dx1) if dx1 else on_y)
                spread = _SPREAD[here if here > 0 else -here]
                value = symbol(
                    DOWN,
                    (
                        d0[(_FINE[dy1] * PACES + pace) * STATES + state],
                        d1[_FINE_OF[line] * SPREADS + spread],
                        d2[_FINE[dy1] * FINES + _FINE_OF[dy2]],
                        d3[(_ROUGH[dy1] * ROUGHS + _ROUGH_OF[here]) * 9 + _ROUGH[dx1]],
                        d4[
                            (_FINE[on_y if on_y < CLIP else CLIP] * ROUGHS + _ROUGH_OF[_clip(here - on_x)]) * STATES
                            + state
                        ],
                        d5[(_ROUGH[dy1] * ROUGHS + _ROUGH_OF[dy2]) * SPREADS + spread],
                    ),
                )
                step = self.step(value, toward_y)
                y += step
                dy = _clip(step)
                px1, px2, px3 = dx, px1, px2
                py1, py2, py3 = dy, py1, py2
            kinds.append(kind)
            ts.append(t)
            xs.append(x)
            ys.append(y)
            kind1, kind2 = (kind if kind < 7 else 7), kind1
            gap1, gap2 = gap, gap1
            size1, size2 = max(dx, -dx, dy, -dy), size1
            off1, off2 = off, off1
            run = 0 if sort else run + 1 if run < CLIP else CLIP
            held = 1 if kind == 2 else 0 if kind == 3 else held
            sort1 = sort
            table.row_done(row + 1)
        return kinds, ts, xs, ys

    def step(self, symbol: int, toward: int) -> int:
        """Return the step that a symbol and its plain bits say."""
        if symbol == 2 * STEP_ZERO:
            value = self.table.plain(STEP_BITS[STEP_ZERO])
            return value >> 1 ^ -(value & 1)
        bucket = symbol - STEP_ZERO
        if bucket < 0:
            bucket, toward = -bucket, -toward
        return toward * (STEP_STARTS[bucket] + self.table.plain(STEP_BITS[bucket]))
