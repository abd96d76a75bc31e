"""Pure: what method B sees of the pointer: symbols of kind, time and step, and the contexts that predict them.

Directions are mirrored: the sign of the latest step that had one decides which way is "on", so left and right (and up
and down) share their statistics. Every quantity is an integer; divisions round down. The scalar twin of `contexts_of`
is in `codec.motion_reader`, where a decoder needs it event by event.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from codec.beat import follow
from codec.context import Table

Ints = npt.NDArray[np.int64]

KIND, TIME, ACROSS, DOWN = range(4)
"""The fields, in the order they are coded in."""

CLIP = 4095
"""Contexts see no step or gap beyond it."""


def octaves(direct: int, first: int, parts: int, end: int) -> list[int]:
    """Return where buckets begin: 0 .. direct - 1 singly, then `parts` to an octave from `first` up to `end`."""
    starts = list(range(direct))
    octave = first
    while octave < end:
        starts += [octave + octave * part // parts for part in range(parts)]
        octave *= 2
    return starts


STEP_STARTS = octaves(16, 16, 4, 2048)
"""Where the buckets of a step's magnitude begin; the last one is an escape."""
STEP_ZERO = len(STEP_STARTS) - 1
STEP_SYMBOLS = 2 * STEP_ZERO + 1
TIME_STARTS = [*range(72), *octaves(0, 72, 3, 1 << 20)]
TIME_SYMBOLS = len(TIME_STARTS)
KIND_SYMBOLS = 32
KIND_ESCAPE = KIND_SYMBOLS - 1


def bits_of(starts: list[int], escape_bits: int) -> list[int]:
    """Return how many bits tell the values of each bucket apart; the last bucket escapes to a plain integer."""
    return [(after - start - 1).bit_length() for start, after in pairwise(starts)] + [escape_bits]


STEP_BITS = bits_of(STEP_STARTS, 34)
TIME_BITS = bits_of(TIME_STARTS, 43)
KIND_BITS = [0] * KIND_ESCAPE + [8]


def ladder(*starts: int) -> Ints:
    """Return a table from 0 .. CLIP to how many of `starts` are reached."""
    return np.searchsorted(np.array(starts), np.arange(CLIP + 1), side="right")


FINE = ladder(1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 30, 42, 60, 90, 140)
ROUGH = ladder(1, 2, 4, 7, 12, 22, 45, 100)
COARSE = ladder(1, 3, 8, 20, 60)
SIZE = ladder(1, 2, 4, 8, 16, 32, 64)
SPREAD = ladder(1, 2, 4, 8, 16, 40)
PACE = ladder(1, 4, 7, 8, 9, 12, 15, 16, 17, 18, 20, 26, 34, 52, 120, 400)
RUN = ladder(1, 2, 3, 5, 9, 17, 65)

FINES, ROUGHS, COARSES, SIZES, SPREADS, PACES, RUNS, FINE_SIZES = 31, 17, 11, 8, 7, 17, 8, 16
AHEADS, OFFS, GAPS, STATES = 26, 7, 41, 5

CONTEXT_SIZES = (
    (64, 8 * PACES * 2, 8 * FINE_SIZES, 2 * RUNS * 8, FINE_SIZES * FINE_SIZES, PACES * PACES),
    (
        STATES * AHEADS,
        3 * GAPS * PACES,
        STATES * SIZES * PACES,
        STATES * OFFS * OFFS,
        3 * AHEADS * OFFS,
        3 * AHEADS * PACES,
    ),
    (
        FINE_SIZES * PACES * STATES,
        FINE_SIZES * FINES,
        9 * 9 * PACES,
        FINE_SIZES * ROUGHS * STATES,
        9 * ROUGHS * COARSES,
        FINES * PACES,
    ),
    (
        FINE_SIZES * PACES * STATES,
        FINES * SPREADS,
        FINE_SIZES * FINES,
        9 * ROUGHS * 9,
        FINE_SIZES * ROUGHS * STATES,
        9 * ROUGHS * SPREADS,
    ),
)
"""How many values each context of each field has."""
SYMBOLS = (KIND_SYMBOLS, TIME_SYMBOLS, STEP_SYMBOLS, STEP_SYMBOLS)


def _signed(ladder: Ints, values: Ints) -> Ints:
    rungs = int(ladder[-1])
    level: Ints = np.sign(values) * ladder[np.minimum(np.abs(values), CLIP)] + rungs
    return level


def _before(values: Ints, by: int) -> Ints:
    """Return the values `by` events earlier, 0 before the first."""
    out = np.zeros_like(values)
    if by < len(values):
        out[by:] = values[:-by]
    return out


def _toward(*steps: Ints) -> Ints:
    """Return the sign of the first step that has one, else 1."""
    sign = np.zeros_like(steps[0])
    for step in steps:
        sign = np.where(sign == 0, np.sign(step), sign)
    return np.where(sign == 0, 1, sign)


def _bucket(magnitude: Ints, starts: list[int]) -> Ints:
    return np.searchsorted(np.array(starts), magnitude, side="right") - 1


def _step_symbols(step: Ints, toward: Ints) -> tuple[Ints, Ints, Ints]:
    magnitude = np.abs(step)
    bucket = _bucket(magnitude, STEP_STARTS)
    escape = bucket == STEP_ZERO
    symbol = np.where(escape, 2 * STEP_ZERO, np.sign(step) * toward * bucket + STEP_ZERO)
    # An escape has no sign of its own: it stands at the top of the tree, and its bits are the zigzag of the step.
    extra = np.where(escape, step << 1 ^ step >> 63, magnitude - np.array(STEP_STARTS)[bucket])
    return symbol, extra, np.array(STEP_BITS)[bucket]


def describe(t_ms: Ints, kind: Ints, x: Ints, y: Ints, period: int) -> Table:
    """Turn events into symbols with contexts.

    Args:
        t_ms, kind, x, y: int64 (n,), n > 0.
        period: the number of the beat's period.

    Returns:
        A row for each event; of the first one only the kind is coded.
    """
    gap, across, down = (np.concatenate((values[:1] * 0, np.diff(values))) for values in (t_ms, x, y))
    ahead, off = follow(period, t_ms)
    time_bucket = np.where(gap < 0, TIME_SYMBOLS - 1, _bucket(gap, TIME_STARTS))
    time_bits = np.array(TIME_BITS)[time_bucket]
    time_escape = time_bucket == TIME_SYMBOLS - 1
    time_extra = np.where(time_escape, gap << 1 ^ gap >> 63, gap - np.array(TIME_STARTS)[time_bucket])
    kind_symbol = np.minimum(kind, KIND_ESCAPE)
    dx, dy = np.clip(across, -CLIP, CLIP), np.clip(down, -CLIP, CLIP)
    toward_x = _toward(*(_before(dx, by) for by in (1, 2, 3)))
    toward_y = _toward(*(_before(dy, by) for by in (1, 2, 3)))
    x_symbol, x_extra, x_bits = _step_symbols(across, toward_x)
    y_symbol, y_extra, y_bits = _step_symbols(down, toward_y)
    for column, bits in ((time_bucket, time_bits), (x_symbol, x_bits), (y_symbol, y_bits)):
        column[0], bits[0] = -1, 0
    return Table(
        symbols=(kind_symbol, time_bucket, x_symbol, y_symbol),
        extra=(kind, time_extra, x_extra, y_extra),
        extra_bits=(np.array(KIND_BITS)[kind_symbol], time_bits, x_bits, y_bits),
        contexts=contexts_of(kind, np.clip(gap, 0, CLIP), dx, dy, toward_x, toward_y, ahead, off),
    )


def contexts_of(
    kind: Ints, gap: Ints, dx: Ints, dy: Ints, toward_x: Ints, toward_y: Ints, ahead: Ints, off: Ints
) -> tuple[Ints, ...]:
    """Return the contexts of each field, int64 (INPUTS, n), from columns of clipped values."""
    kind1, kind2 = (np.minimum(_before(kind, by), 7) for by in (1, 2))
    gap1, gap2 = (_before(gap, by) for by in (1, 2))
    dx1, dx2, dx3 = (_before(dx, by) * toward_x for by in (1, 2, 3))
    dy1, dy2 = (_before(dy, by) * toward_y for by in (1, 2))
    size = np.maximum(np.abs(dx), np.abs(dy))
    size1, size2 = _before(size, 1), _before(size, 2)
    pace1, pace2 = PACE[gap1], PACE[gap2]
    still = (size1 == 0).astype(np.int64)
    sort = np.where(kind < 2, 0, 1 + (kind & 1))  # motion, press, release
    state = np.where(sort == 0, _before(sort, 1), sort + 2)
    motions = np.arange(len(kind)) - np.maximum.accumulate(np.where(sort > 0, np.arange(len(kind)), -1))
    run = RUN[np.minimum(np.concatenate(([0], motions[:-1])), CLIP)]
    latest = np.maximum.accumulate(np.where((kind == 2) | (kind == 3), np.arange(len(kind)), -1))
    held = _before(((latest >= 0) & (kind[latest] == 2)).astype(np.int64), 1)  # the left button is down
    of_kind = (
        kind1 * 8 + kind2,
        (kind1 * PACES + pace1) * 2 + still,
        kind1 * FINE_SIZES + FINE[size1],
        (held * RUNS + run) * 8 + kind1,
        FINE[size1] * FINE_SIZES + FINE[size2],
        pace1 * PACES + pace2,
    )
    beat = np.clip(ahead, -3, 22) + 3
    off1, off2 = (np.clip(_before(off, by), -3, 3) + 3 for by in (1, 2))
    short1 = np.minimum(gap1, GAPS - 1)
    of_time = (
        state * AHEADS + beat,
        (sort * GAPS + short1) * PACES + pace2,
        (state * SIZES + SIZE[size1]) * PACES + pace1,
        (state * OFFS + off1) * OFFS + off2,
        (sort * AHEADS + beat) * OFFS + off2,
        (sort * AHEADS + beat) * PACES + pace1,
    )
    pace = PACE[gap]
    since = np.maximum(gap1, 1)
    span = np.minimum(gap, 4 * since)
    on_x, on_y = dx1 * span // since, dy1 * span // since
    of_across = (
        (FINE[dx1] * PACES + pace) * STATES + state,
        FINE[dx1] * FINES + _signed(FINE, dx2),
        (ROUGH[dx1] * 9 + ROUGH[dy1]) * PACES + pace,
        (FINE[np.minimum(on_x, CLIP)] * ROUGHS + _signed(ROUGH, dx1 - dx2)) * STATES + state,
        (ROUGH[dx1] * ROUGHS + _signed(ROUGH, dx2)) * COARSES + _signed(COARSE, dx3),
        _signed(FINE, 2 * dx1 - dx2) * PACES + pace,
    )
    here = dx * toward_x
    line = np.where(dx1 > 0, (2 * here * dy1 + dx1) // (2 * np.maximum(dx1, 1)), on_y)
    of_down = (
        (FINE[dy1] * PACES + pace) * STATES + state,
        _signed(FINE, line) * SPREADS + SPREAD[np.abs(here)],
        FINE[dy1] * FINES + _signed(FINE, dy2),
        (ROUGH[dy1] * ROUGHS + _signed(ROUGH, here)) * 9 + ROUGH[dx1],
        (FINE[np.minimum(on_y, CLIP)] * ROUGHS + _signed(ROUGH, here - on_x)) * STATES + state,
        (ROUGH[dy1] * ROUGHS + _signed(ROUGH, dy2)) * SPREADS + SPREAD[np.abs(here)],
    )
    return tuple(np.stack(contexts) for contexts in (of_kind, of_time, of_across, of_down))
