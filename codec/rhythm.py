"""Pure: method B for keystrokes: each is a code, the gap since the press before, and how long it was held.

People differ in how fast they type and how long they hold, so slow averages of both are contexts, beside the codes and
the latest gaps and holds. `describe` (for an encoder) and `decode_strokes` compute the same integers through the same
small class.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from codec.context import Table, TableReader, admits, encode_table
from codec.errors import Corrupt
from codec.mixing import Prior
from codec.motion import bits_of, ladder, octaves
from codec.prior import load_prior
from codec.strokes import NEVER, Strokes, read_extras, write_extras
from codec.varint import Cursor, write_svarint

Ints = npt.NDArray[np.int64]

PRIOR = "keys-1.prior"
MAX_ROWS = 1 << 14
"""Strokes: a bound on a decoder's time, some 50 µs each in plain Python. Fast typing has 2,500 in 5 min."""
CODE, GAP, GAP_PHASE, HOLD, HOLD_PHASE = range(5)
"""The fields, in the order they are coded in."""

CODE_SYMBOLS = 17
CODE_ESCAPE = CODE_SYMBOLS - 1
CODE_BITS = [0] * CODE_ESCAPE + [16]
SPAN_STARTS = octaves(16, 16, 8, 1 << 17)
"""Buckets of a gap in ms, or of a hold plus one (0: never released); the last one is an escape."""
SPAN_SYMBOLS = len(SPAN_STARTS)
SPAN_BITS = bits_of(SPAN_STARTS, 43)
PHASES = 8
PHASE_BITS = 3
"""Many keyboards are asked every 8 ms: of a span whose bucket leaves 3 bits or more open, the lowest three are not
plain but told by the phase of the event's time within 8 ms, which is then nearly the phase of the events before."""
SYMBOLS = (CODE_SYMBOLS, SPAN_SYMBOLS, PHASES, SPAN_SYMBOLS, PHASES)

_LEVEL = ladder(20, 40, 60, 80, 100, 120, 150, 180, 220, 280, 360, 500, 800, 1500, 4000).tolist()
_ROUGH = ladder(60, 100, 150, 250, 600).tolist()
_MEAN_HOLD = ladder(40, 50, 58, 66, 74, 82, 90, 98, 108, 120, 135, 155, 180).tolist()
_MEAN_GAP = ladder(60, 80, 100, 120, 140, 160, 180, 200, 230, 270, 330, 420).tolist()
_FINE = ladder(*range(30, 200, 8)).tolist()
CODES, LEVELS, ROUGHS, MEAN_HOLDS, MEAN_GAPS, FINES = 12, 16, 6, 14, 13, 23
CLIP = 4095

CONTEXT_SIZES = (
    (CODES * CODES, CODES**3, CODES * LEVELS, CODES * 8, CODES, CODES * CODES),
    (
        CODES * CODES,
        MEAN_GAPS * CODES,
        LEVELS * LEVELS,
        LEVELS * LEVELS,
        MEAN_GAPS * MEAN_HOLDS,
        CODES * CODES * ROUGHS,
    ),
    (PHASES, PHASES, PHASES**2, PHASES**2, 1, PHASES**2),
    (MEAN_HOLDS * CODES, CODES * LEVELS, LEVELS * MEAN_HOLDS, FINES * CODES, LEVELS * LEVELS, MEAN_HOLDS * MEAN_GAPS),
    (PHASES, PHASES, PHASES**2, PHASES**2, 1, PHASES**2),
)
"""How many values each context of each field has."""


class Rhythm:
    """What came before, as contexts.

    State: the last three codes, two gaps and two holds (clipped), the run of equal codes, the last hold of each code,
    the mean gap and hold in 1/16 ms, and the times of the last two presses and of the last release.
    """

    __slots__ = ("codes", "gaps", "holds", "last_holds", "mean_gap", "mean_hold", "pressed", "released", "run")

    def __init__(self, first_ms: int) -> None:
        self.pressed = (first_ms, first_ms)
        self.released = first_ms
        self.codes = (0, 0, 0)
        self.gaps = (0, 0)
        self.holds = (0, 0)
        self.run = 0
        self.last_holds = [90] * CODES
        self.mean_gap, self.mean_hold = 160 << 4, 90 << 4

    def for_code(self) -> tuple[int, ...]:
        """Return the contexts of the next code."""
        one, two, three = self.codes
        return (
            one * CODES + two,
            (one * CODES + two) * CODES + three,
            one * LEVELS + _LEVEL[self.gaps[0]],
            one * 8 + self.run,
            one,
            two * CODES + three,
        )

    def for_gap(self, code: int) -> tuple[int, ...]:
        """Return the contexts of the gap before this code."""
        code = min(code, CODES - 1)
        one = self.codes[0]
        pace = _MEAN_GAP[self.mean_gap >> 4]
        last = _LEVEL[self.gaps[0]]
        return (
            one * CODES + code,
            pace * CODES + code,
            _LEVEL[self.holds[0]] * LEVELS + last,
            last * LEVELS + _LEVEL[self.gaps[1]],
            pace * MEAN_HOLDS + _MEAN_HOLD[self.mean_hold >> 4],
            (one * CODES + code) * ROUGHS + _ROUGH[self.gaps[0]],
        )

    def for_phase(self, press_ms: int | None = None) -> tuple[int, ...]:
        """Return the contexts of the phase of the next press, or of the release of the press at `press_ms`."""
        one, two = self.pressed if press_ms is None else (press_ms, self.pressed[0])
        a, b, c = one % PHASES, self.released % PHASES, two % PHASES
        return a, b, a * PHASES + b, a * PHASES + c, 0, b * PHASES + c

    def for_hold(self, code: int, gap: int) -> tuple[int, ...]:
        """Return the contexts of this code's hold."""
        code = min(code, CODES - 1)
        held = _MEAN_HOLD[self.mean_hold >> 4]
        last = _LEVEL[self.holds[0]]
        return (
            held * CODES + code,
            code * LEVELS + last,
            _LEVEL[min(gap, CLIP)] * MEAN_HOLDS + held,
            _FINE[self.last_holds[code]] * CODES + code,
            last * LEVELS + _LEVEL[self.holds[1]],
            held * MEAN_GAPS + _MEAN_GAP[self.mean_gap >> 4],
        )

    def hear(self, code: int, gap: int, hold: int) -> None:
        """Take in a keystroke; `hold` is the stored one, 0 for never."""
        press_ms = self.pressed[0] + gap
        self.pressed = (press_ms, self.pressed[0])
        self.released = press_ms + hold - 1 if hold else self.released
        code = min(code, CODES - 1)
        gap, hold = min(gap, CLIP), min(hold, CLIP)
        self.run = min(self.run + 1, 7) if code == self.codes[0] else 0
        self.codes = (code, *self.codes[:2])
        self.gaps = (gap, self.gaps[0])
        self.holds = (hold, self.holds[0])
        self.last_holds[code] = hold
        self.mean_gap += ((min(gap, 1000) << 4) - self.mean_gap) >> 3
        self.mean_hold += ((min(hold, 1000) << 4) - self.mean_hold) >> 3


def _split(value: int, time_ms: int) -> tuple[int, int, int, int]:
    """Return a span's symbol, its plain bits, how many they are, and the phase's symbol (-1: none)."""
    symbol = bisect_right(SPAN_STARTS, value) - 1
    bits = SPAN_BITS[symbol]
    if symbol == SPAN_SYMBOLS - 1:
        return symbol, value, bits, -1
    rest = value - SPAN_STARTS[symbol]
    if bits < PHASE_BITS:
        return symbol, rest, bits, -1
    return symbol, rest >> PHASE_BITS, bits - PHASE_BITS, time_ms % PHASES


def describe(strokes: Strokes) -> Table:
    """Turn keystrokes into symbols with contexts: a row each; the first one's gap is not coded."""
    codes, gaps = strokes.code.tolist(), strokes.gap_ms.tolist()
    holds = np.where(strokes.hold_ms == NEVER, 0, strokes.hold_ms + 1).tolist()
    time_ms, gaps[0] = gaps[0], 0
    rhythm = Rhythm(time_ms)
    columns: tuple[list[tuple[int, ...]], ...] = ([], [], [], [], [])
    rows: tuple[list[tuple[int, int, int]], ...] = ([], [], [], [], [])
    for row, (code, gap, hold) in enumerate(zip(codes, gaps, holds, strict=True)):
        time_ms += gap
        of_gap = _split(gap, time_ms) if row else (-1, 0, 0, -1)
        of_hold = _split(hold, time_ms + hold - 1)
        known = min(code, CODE_ESCAPE)
        for number, (contexts, symbol, extra, bits) in enumerate(
            (
                (rhythm.for_code(), known, code, CODE_BITS[known]),
                (rhythm.for_gap(code), *of_gap[:3]),
                (rhythm.for_phase(), of_gap[3], 0, 0),
                (rhythm.for_hold(code, gap), *of_hold[:3]),
                (rhythm.for_phase(time_ms), of_hold[3], 0, 0),
            )
        ):
            columns[number].append(contexts)
            rows[number].append((symbol, extra, bits))
        rhythm.hear(code, gap, hold)
    tables = [np.array(field, np.int64).T.copy() for field in rows]
    return Table(
        symbols=tuple(table[0] for table in tables),
        extra=tuple(table[1] for table in tables),
        extra_bits=tuple(table[2] for table in tables),
        contexts=tuple(np.array(contexts, np.int64).T for contexts in columns),
    )


def prior() -> Prior:
    """Return the keys' prior."""
    return load_prior(PRIOR, SYMBOLS, CONTEXT_SIZES)


def encode_strokes(strokes: Strokes) -> bytes | None:
    """Encode paired keystrokes by method B.

    Returns:
        The stream, or None where the method does not admit so many (or no) strokes, or in so few bytes.
    """
    if not 0 < len(strokes) <= MAX_ROWS or max(len(strokes.orphans), len(strokes.swaps)) > MAX_ROWS:
        return None
    out = bytearray()
    write_extras(out, strokes)
    write_svarint(out, int(strokes.gap_ms[0]))
    code = encode_table(prior(), describe(strokes))
    return bytes(out) + code if admits(len(strokes), len(code)) else None


def decode_strokes(stream: bytes) -> Strokes:
    """Undo `encode_strokes`.

    Raises:
        Truncated, Corrupt, TooLarge: the stream is not one that it writes.
    """
    cursor = Cursor(stream, "a key stream")
    strokes = read_extras(cursor, limit=MAX_ROWS)
    first_gap = cursor.svarint(limit=1 << 41, name="a time")
    code = cursor.rest()
    if not len(strokes) or not admits(len(strokes), len(code)):
        raise Corrupt(f"a key stream claims {len(strokes):,} keystrokes in {len(code):,} bytes")
    table = TableReader(prior(), code, len(strokes))
    rhythm = Rhythm(first_gap)
    time_ms = first_gap
    for row in range(len(strokes)):
        what = _symbol(table, CODE, rhythm.for_code())
        if what == CODE_ESCAPE:
            what = table.plain(16)
        gap = _span(table, GAP, rhythm.for_gap(what), rhythm.for_phase(), time_ms) if row else 0
        time_ms += gap
        hold = _span(table, HOLD, rhythm.for_hold(what, gap), rhythm.for_phase(time_ms), time_ms - 1)
        rhythm.hear(what, gap, hold)
        strokes.code[row] = what
        strokes.gap_ms[row] = gap if row else first_gap
        strokes.hold_ms[row] = hold - 1
        table.row_done(row + 1)
    return strokes


def _symbol(table: TableReader, number: int, contexts: tuple[int, ...]) -> int:
    a, b, c, d, e, f = (int(base[v]) for base, v in zip(table.fields[number].bases, contexts, strict=True))
    return table.symbol(number, (a, b, c, d, e, f))


def _span(
    table: TableReader, number: int, contexts: tuple[int, ...], phase_contexts: tuple[int, ...], from_ms: int
) -> int:
    symbol = _symbol(table, number, contexts)
    bits = SPAN_BITS[symbol]
    if symbol == SPAN_SYMBOLS - 1:
        return table.plain(bits)
    start = SPAN_STARTS[symbol]
    if bits < PHASE_BITS:
        return start + table.plain(bits)
    rest = start + (table.plain(bits - PHASE_BITS) << PHASE_BITS)
    phase = _symbol(table, number + 1, phase_contexts)
    return rest + (phase - from_ms - rest) % PHASES
