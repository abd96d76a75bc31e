"""The slow reader's part for method B of events, written from docs/format-events.md alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import zstandard

from tests.slow_bytes import DATA, Bytes, unzigzag

# fmt: off
KNOTS = [
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911,
    53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514,
]

# fmt: on


def squash(x: int) -> int:
    i, f = (x + 2048) >> 7, (x + 2048) & 127
    return min(max((KNOTS[i] * (128 - f) + KNOTS[i + 1] * f + 64) >> 7, 32), 65504)


SQUASHED = [squash(x) for x in range(-2048, 2048)]

STRETCHED = [next((x for x in range(-2048, 2048) if SQUASHED[x + 2048] >= 16 * c + 8), 2048) for c in range(2, 4095)]


def clip(v: int, a: int, b: int) -> int:
    return min(max(v, a), b)


def sign(v: int) -> int:
    return (v > 0) - (v < 0)


def octaves(direct: int, first: int, parts: int, end: int) -> list[int]:
    out, o = list(range(direct)), first
    while o < end:
        out += [o + o * i // parts for i in range(parts)]
        o *= 2
    return out


STEPS = octaves(16, 16, 4, 2048)

TIMES = octaves(72, 72, 3, 1 << 20)

SPANS = octaves(16, 16, 8, 1 << 17)


def plain_bits(starts: list[int], bucket: int) -> int:
    return (starts[bucket + 1] - starts[bucket] - 1).bit_length()


@cache
def prior_of(
    name: str, symbols: tuple[int, ...], sizes: tuple[tuple[int, ...], ...]
) -> list[tuple[bytes, list[list[int]]]]:
    return list(_prior(name, symbols, sizes))


def _prior(
    name: str, symbols: tuple[int, ...], sizes: tuple[tuple[int, ...], ...]
) -> Iterator[tuple[bytes, list[list[int]]]]:
    raw = Bytes(zstandard.ZstdDecompressor().decompress((DATA / name).read_bytes()))
    for count in symbols:
        splits = raw.take(count - 1)
        weights = np.frombuffer(raw.take(12 * (count - 1)), "<i2").astype(int).reshape(6, count - 1) * 16
        yield splits, weights.tolist()
    cells = sum((count - 1) * sum(row) for count, row in zip(symbols, sizes, strict=True))
    levels = list(raw.take(cells))
    chances = [SQUASHED[32 * q + 2048] for q in np.frombuffer(raw.rest(), np.int8).tolist()]
    state, told = [], iter(chances)
    for level in levels:
        state.append([next(told) if level else 32768, (0, 1, 2, 5, 8)[level]])
    yield b"", state


class Coder:
    """The range coder and the model, as the page has them."""

    def __init__(
        self, name: str, symbols: tuple[int, ...], sizes: tuple[tuple[int, ...], ...], code: bytes, count: int
    ) -> None:
        *self.fields, (_, cells) = prior_of(name, symbols, sizes)
        self.cells = [list(cell) for cell in cells]
        self.symbols, self.sizes, self.count = symbols, sizes, count
        self.data, self.place, self.width = code, 6, 1 << 48
        self.code = int.from_bytes((code + bytes(6))[:6], "big")
        self.seen: dict[int, list[int]] = {}

    def refill(self) -> None:
        while self.width < 1 << 40:
            self.width <<= 8
            self.code = self.code << 8 | (self.data[self.place] if self.place < len(self.data) else 0)
            self.place += 1

    def plain(self, bits: int) -> int:
        value = 0
        while bits:
            s = min(bits, 16)
            self.width >>= s
            v = self.code // self.width
            self.code -= v * self.width
            self.refill()
            value, bits = value << s | v, bits - s
        return value

    def symbol(self, field: int, contexts: list[int]) -> int:
        splits, weights = self.fields[field]
        nodes = self.symbols[field] - 1
        start = sum((c - 1) * sum(row) for c, row in zip(self.symbols[:field], self.sizes[:field], strict=True))
        bases = []
        for size, value in zip(self.sizes[field], contexts, strict=True):
            assert 0 <= value < size
            bases.append(start + value * nodes)
            start += size * nodes
        low, high, node = 0, nodes + 1, 0
        while high - low > 1:
            total = 0
            for row, base in zip(weights, bases, strict=True):
                chance, count = self.cells[base + node]
                trust = 256 * (2 * count + 1) // (2 * count + 3)
                total += row[node] * (STRETCHED[(chance >> 4) - 2] * trust >> 8)
            share = (self.width >> 16) * SQUASHED[clip(total >> 16, -2048, 2047) + 2048]
            bit = self.code < share
            if bit:
                self.width = share
            else:
                self.code -= share
                self.width -= share
            self.refill()
            for base in bases:
                seen = self.seen.setdefault(base + node, [0, 0])
                seen[0] += 1
                seen[1] += bit
            middle = low + splits[node]
            # In pre-order, the 0 side of w symbols has w - 1 nodes right behind this one.
            if bit:
                node, low = node + 1 + (middle - low - 1), middle
            else:
                node, high = node + 1, middle
        return low

    def row_done(self, rows_done: int) -> None:
        if rows_done == self.count or not (rows_done in (32, 64, 128) or rows_done % 192 == 0):
            return
        for cell, (n, o) in self.seen.items():
            chance, count = self.cells[cell]
            chance += 2 * (65536 * o - n * chance) // (2 * (count + n) + 1)
            self.cells[cell] = [clip(chance, 32, 65504), min(count + n, 250)]
        self.seen = {}


def levels(*thresholds: int) -> Callable[[int], int]:
    return lambda v: sum(t <= v for t in thresholds)


FINE = levels(1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 30, 42, 60, 90, 140)

ROUGH = levels(1, 2, 4, 7, 12, 22, 45, 100)

COARSE = levels(1, 3, 8, 20, 60)

SIZE = levels(1, 2, 4, 8, 16, 32, 64)

SPREAD = levels(1, 2, 4, 8, 16, 40)

PACE = levels(1, 4, 7, 8, 9, 12, 15, 16, 17, 18, 20, 26, 34, 52, 120, 400)

RUN = levels(1, 2, 3, 5, 9, 17, 65)


def signed(level: Callable[[int], int], middle: int, v: int) -> int:
    return middle + sign(v) * level(min(abs(v), 4095))


POINTER_SIZES = (
    (64, 272, 128, 128, 256, 289),
    (130, 2091, 680, 245, 546, 1326),
    (1360, 496, 1377, 1360, 1683, 527),
    (1360, 217, 496, 1377, 1360, 1071),
)

PERIODS = (16667, 15600, 13333, 10000, 8333, 8000, 6944, 6061, 4167, 4000)


def slow_pointer_b(stream: bytes) -> list[tuple[int, int, int, int]]:
    data = Bytes(stream)
    count, period_number = data.varint(), data.u8()
    t, x, y = data.svarint(), data.svarint(), data.svarint()
    coder = Coder("pointer-1.prior", (32, 114, 87, 87), POINTER_SIZES, data.rest(), count)
    period, tick = PERIODS[period_number] * 4096 // 1000, 4096 * t + 2048
    past = [{"k": 0, "gap": 0, "dx": 0, "dy": 0, "off": 0} for _ in range(3)]  # latest first
    kinds: list[int] = []
    out = []
    for row in range(count):
        one, two, three = past[:3]
        k1, k2 = min(one["k"], 7), min(two["k"], 7)
        size1, size2 = (max(abs(e["dx"]), abs(e["dy"])) for e in (one, two))
        run = next((i for i, k in enumerate(reversed(kinds)) if k >= 2), len(kinds))
        left = [k for k in kinds if k in (2, 3)]
        held = int(bool(left) and left[-1] == 2)
        k = coder.symbol(
            0,
            [
                8 * k1 + k2,
                2 * (17 * k1 + PACE(one["gap"])) + (size1 == 0),
                16 * k1 + FINE(size1),
                8 * (8 * held + RUN(min(run, 4095))) + k1,
                16 * FINE(size1) + FINE(size2),
                17 * PACE(one["gap"]) + PACE(two["gap"]),
            ],
        )
        if k == 31:
            k = coder.plain(8)
        sort, sort1 = (0 if kind < 2 else 1 + (kind & 1) for kind in (k, one["k"]))
        state = sort + 2 if sort else sort1
        now = {"k": k, "gap": 0, "dx": 0, "dy": 0, "off": 0}
        if row:
            ahead = clip((tick + period) // 4096 - t, -3, 22) + 3
            off1, off2 = clip(one["off"], -3, 3) + 3, clip(two["off"], -3, 3) + 3
            short = min(one["gap"], 40)
            s = coder.symbol(
                1,
                [
                    26 * state + ahead,
                    17 * (41 * sort + short) + PACE(two["gap"]),
                    17 * (8 * state + SIZE(size1)) + PACE(one["gap"]),
                    7 * (7 * state + off1) + off2,
                    7 * (26 * sort + ahead) + off2,
                    17 * (26 * sort + ahead) + PACE(one["gap"]),
                ],
            )
            gap = unzigzag(coder.plain(43)) if s == 113 else TIMES[s] + coder.plain(plain_bits(TIMES, s))
            t += gap
            distance = 4096 * t + 2048 - tick
            beats = (distance + period // 2) // period
            tick += beats * period
            now["off"] = t - tick // 4096
            error = 4096 * t + 2048 - tick
            if -12288 < error < 12288:
                tick += error // 10
                if 0 < beats < 8:
                    period = clip(period + error // 512, 2048, 131072)
            now["gap"] = gap = clip(gap, 0, 4095)
            to_x, to_y = (sign(next((e[d] for e in past[:3] if e[d]), 1)) for d in ("dx", "dy"))
            u1, u2, u3 = (e["dx"] * to_x for e in (one, two, three))
            v1, v2 = one["dy"] * to_y, two["dy"] * to_y
            since = max(one["gap"], 1)
            span = min(gap, 4 * since)
            onx, ony = u1 * span // since, v1 * span // since
            step = slow_step(
                coder,
                2,
                to_x,
                [
                    5 * (17 * FINE(u1) + PACE(gap)) + state,
                    31 * FINE(u1) + signed(FINE, 15, u2),
                    17 * (9 * ROUGH(u1) + ROUGH(v1)) + PACE(gap),
                    5 * (17 * FINE(min(onx, 4095)) + signed(ROUGH, 8, u1 - u2)) + state,
                    11 * (17 * ROUGH(u1) + signed(ROUGH, 8, u2)) + signed(COARSE, 5, u3),
                    17 * signed(FINE, 15, 2 * u1 - u2) + PACE(gap),
                ],
            )
            x, now["dx"] = x + step, clip(step, -4095, 4095)
            here = now["dx"] * to_x
            line = (2 * here * v1 + u1) // (2 * u1) if u1 > 0 else ony
            step = slow_step(
                coder,
                3,
                to_y,
                [
                    5 * (17 * FINE(v1) + PACE(gap)) + state,
                    7 * signed(FINE, 15, line) + SPREAD(abs(here)),
                    31 * FINE(v1) + signed(FINE, 15, v2),
                    9 * (17 * ROUGH(v1) + signed(ROUGH, 8, here)) + ROUGH(u1),
                    5 * (17 * FINE(min(ony, 4095)) + signed(ROUGH, 8, here - onx)) + state,
                    7 * (17 * ROUGH(v1) + signed(ROUGH, 8, v2)) + SPREAD(abs(here)),
                ],
            )
            y, now["dy"] = y + step, clip(step, -4095, 4095)
        past.insert(0, now)
        kinds.append(k)
        out.append((t, k, x, y))
        coder.row_done(row + 1)
    return out


def slow_step(coder: Coder, field: int, toward: int, contexts: list[int]) -> int:
    s = coder.symbol(field, contexts)
    if s == 86:
        return unzigzag(coder.plain(34))
    b = s - 43
    return (STEPS[abs(b)] + coder.plain(plain_bits(STEPS, abs(b)))) * sign(b) * toward


LEVEL = levels(20, 40, 60, 80, 100, 120, 150, 180, 220, 280, 360, 500, 800, 1500, 4000)

ROUGH_SPAN = levels(60, 100, 150, 250, 600)

MH = levels(40, 50, 58, 66, 74, 82, 90, 98, 108, 120, 135, 155, 180)

MG = levels(60, 80, 100, 120, 140, 160, 180, 200, 230, 270, 330, 420)

FINE_SPAN = levels(*range(30, 199, 8))

KEY_SIZES = (
    (144, 1728, 192, 96, 12, 144),
    (144, 156, 256, 256, 182, 864),
    (8, 8, 64, 64, 1, 64),
    (168, 192, 224, 276, 256, 182),
    (8, 8, 64, 64, 1, 64),
)


Stroke = tuple[int, int, int]

Extras = tuple[int, list[tuple[int, int, int]], list[int], list[int]]


def slow_head(data: Bytes) -> Extras:
    head = data.varint()
    orphans: list[tuple[int, int, int]] = []
    held: list[int] = []
    swaps: list[int] = []
    if head & 1:
        for _ in range(data.varint()):
            orphans.append((data.svarint() + (orphans[-1][0] if orphans else 0), data.varint(), data.u8()))
        held = list(data.take(data.u8()))
        for _ in range(data.varint()):
            swaps.append(data.svarint() + (swaps[-1] if swaps else 0))
    return head >> 1, orphans, held, swaps


def slow_span(coder: Coder, field: int, contexts: list[int], phase_contexts: list[int], f: int) -> int:
    s = coder.symbol(field, contexts)
    if s == 119:
        return coder.plain(43)
    b = plain_bits(SPANS, s)
    if b < 3:
        return SPANS[s] + coder.plain(b)
    r = SPANS[s] + (coder.plain(b - 3) << 3)
    return r + (coder.symbol(field + 1, phase_contexts) - f - r) % 8


def slow_strokes_b(stream: bytes) -> tuple[list[Stroke], Extras]:
    data = Bytes(stream)
    extras = slow_head(data)
    m, first = extras[0], data.svarint()
    coder = Coder("keys-1.prior", (17, 120, 8, 120, 8), KEY_SIZES, data.rest(), m)
    cs, gaps, holds, out = [0, 0, 0], [0, 0], [0, 0], []
    mg, mh, run, last = 2560, 1440, 0, dict.fromkeys(range(12), 90)
    presses, released = [first, first], first
    t = first
    for row in range(m):
        c1, c2, c3 = cs[:3]
        g, h = MG(mg >> 4), MH(mh >> 4)
        code = coder.symbol(
            0,
            [12 * c1 + c2, 12 * (12 * c1 + c2) + c3, 16 * c1 + LEVEL(gaps[0]), 8 * c1 + run, c1, 12 * c2 + c3],
        )
        if code == 16:
            code = coder.plain(16)
        c = min(code, 11)
        gap = 0
        b = released % 8
        if row:
            a, d = presses[0] % 8, presses[1] % 8
            gap = slow_span(
                coder,
                1,
                [
                    12 * c1 + c,
                    12 * g + c,
                    16 * LEVEL(holds[0]) + LEVEL(gaps[0]),
                    16 * LEVEL(gaps[0]) + LEVEL(gaps[1]),
                    14 * g + h,
                    6 * (12 * c1 + c) + ROUGH_SPAN(gaps[0]),
                ],
                [a, b, 8 * a + b, 8 * a + d, 0, 8 * b + d],
                t,
            )
        t += gap
        a, d = t % 8, presses[0] % 8
        hold = slow_span(
            coder,
            3,
            [
                12 * h + c,
                16 * c + LEVEL(holds[0]),
                14 * LEVEL(min(gap, 4095)) + h,
                12 * FINE_SPAN(last[c]) + c,
                16 * LEVEL(holds[0]) + LEVEL(holds[1]),
                13 * h + g,
            ],
            [a, b, 8 * a + b, 8 * a + d, 0, 8 * b + d],
            t - 1,
        )
        out.append((t, code, hold))
        run = min(run + 1, 7) if c == c1 else 0
        presses.insert(0, t)
        released = t + hold - 1 if hold else released
        gap, hold = min(gap, 4095), min(hold, 4095)
        cs.insert(0, c)
        gaps.insert(0, gap)
        holds.insert(0, hold)
        last[c] = hold
        mg += ((min(gap, 1000) << 4) - mg) >> 3
        mh += ((min(hold, 1000) << 4) - mh) >> 3
        coder.row_done(row + 1)
    return out, extras
