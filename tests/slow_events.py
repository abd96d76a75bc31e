"""The slow reader's part for events and rows, written from docs/format-events.md alone; method B is in slow_context."""

from __future__ import annotations

import numpy as np

from tests.slow_bytes import Bytes, unframe
from tests.slow_context import Extras, Stroke, slow_head, slow_pointer_b, slow_strokes_b


def slow_strokes_a(stream: bytes) -> tuple[list[Stroke], Extras]:
    data = Bytes(stream)
    extras = slow_head(data)
    m = extras[0]
    raw = Bytes(unframe(data.rest(), "keys-1.zdict"))
    codes = [raw.varint() for _ in range(m)]
    press, t = [], 0
    for i in range(m):
        t += raw.varint() if i else raw.svarint()
        press.append(t)
    return [(p, c, raw.varint()) for p, c in zip(press, codes, strict=True)], extras


def slow_keys(strokes: list[Stroke], extras: Extras) -> list[tuple[int, bool, int, int]]:
    _, orphans, held, swaps = extras
    events: list[tuple[int, str, int]] = [(t, "orphan", i) for i, (t, _, _) in enumerate(orphans)]
    events += [(p + h - 1, "release", i) for i, (p, _, h) in enumerate(strokes) if h > 1]
    for i, (p, _, h) in enumerate(strokes):
        events += [(p, "press", i)] + [(p, "release", i)] * (h == 1)
    events.sort(key=lambda e: e[0])
    for i in swaps:
        events[i], events[i + 1] = events[i + 1], events[i]
    occupied = set(held) | {slot for _, _, slot in orphans if slot != 255}
    slots: dict[int, int] = {}
    out = []
    for t, what, i in events:
        if what == "orphan":
            occupied.discard(orphans[i][2])
            out.append((t, False, orphans[i][1], orphans[i][2]))
        elif what == "press":
            slots[i] = next(s for s in range(255) if s not in occupied)
            occupied.add(slots[i])
            out.append((t, True, strokes[i][1], slots[i]))
        else:
            occupied.discard(slots[i])
            out.append((t, False, strokes[i][1], slots[i]))
    return out


def slow_pointer_a(stream: bytes) -> list[tuple[int, int, int, int]]:
    data = Bytes(stream)
    n = data.varint()
    raw = Bytes(unframe(data.rest(), "pointer-1.zdict"))
    kinds = list(raw.take(n))
    ts, t = [], 0
    for _ in range(n):
        t += raw.svarint()
        ts.append(t)
    axes = []
    for _ in range(2):
        place, step, axis = 0, 0, []
        for i in range(n):
            v = raw.svarint()
            step = v if i < 2 else step + v
            place += step
            axis.append(place)
        axes.append(axis)
    return list(zip(ts, kinds, *axes, strict=True))


def slow_keys_plain(stream: bytes) -> list[tuple[int, bool, int, int]]:
    data = Bytes(stream)
    n = data.varint()
    raw = Bytes(unframe(data.rest(), "keys-1.zdict"))
    ts, t = [], 0
    for _ in range(n):
        t += raw.svarint()
        ts.append(t)
    codes = [raw.varint() for _ in range(n)]
    states = [raw.varint() for _ in range(n)]
    return [(t, bool(s & 1), c, s >> 1) for t, c, s in zip(ts, codes, states, strict=True)]


def slow_events(section: bytes) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, bool, int, int]]]:
    data = Bytes(section)
    methods = data.u8()
    sizes = [data.varint() if method else 0 for method in (methods & 15, methods >> 4)]
    pointer_stream, key_stream = data.take(sizes[0]), data.take(sizes[1])
    pointer = {0: lambda _: [], 1: slow_pointer_a, 2: slow_pointer_b}[methods & 15](pointer_stream)
    keys = {
        0: lambda _: [],
        1: lambda s: slow_keys(*slow_strokes_a(s)),
        2: lambda s: slow_keys(*slow_strokes_b(s)),
        3: slow_keys_plain,
    }[methods >> 4](key_stream)
    return pointer, keys


def slow_rows(section: bytes) -> list[tuple[int, str, dict[str, object]]]:
    data = Bytes(section)
    assert data.u8() == 1
    raw = Bytes(unframe(data.take(data.varint()), "rows-1.zdict"))
    count, shape_count, string_count = raw.varint(), raw.varint(), raw.varint()
    sizes = [raw.varint() for _ in range(string_count)]
    strings = [raw.take(size).decode("utf-8", "surrogatepass") for size in sizes]
    shapes = []
    used: set[int] = set()
    for _ in range(shape_count):
        kind, width = raw.varint(), raw.u8()
        fields = [(raw.varint(), raw.u8()) for _ in range(width)]
        used |= {kind, *(name for name, _ in fields)}
        shapes.append((kind, fields))
    picks = [raw.varint() for _ in range(count)]
    times, t = [], 0
    for _ in range(count):
        t += raw.svarint()
        times.append(t)
    fresh = len(used)
    tables: list[list[list[object]]] = []
    for number, (_, fields) in enumerate(shapes):
        n = picks.count(number)
        table: list[list[object]] = []
        for place, (_, kind_of_value) in enumerate(fields):
            column: list[object] = []
            for i in range(n):
                like = i - 1
                if place:
                    first = table[0]
                    same = [j for j in range(i) if first[j] == first[i] and type(first[j]) is type(first[i])]
                    like = same[-1] if same else i - 1
                before = column[like] if like >= 0 else None
                if kind_of_value == 0:
                    v = raw.varint()
                    if v == 1:
                        v, fresh = fresh + 2, fresh + 1
                    column.append(before if v == 0 else strings[v - 2])
                elif kind_of_value == 1:
                    column.append(raw.svarint() + (before if isinstance(before, int) else 0))
                elif kind_of_value == 2:
                    column.append(float(np.frombuffer(raw.take(8), "<f8")[0]))
                elif kind_of_value in (3, 4):
                    column.append(kind_of_value == 4)
                elif kind_of_value == 6:
                    column.append(None)
                else:
                    blob = raw.take(raw.varint())
                    column.append(blob if kind_of_value == 5 else int.from_bytes(blob, "little", signed=True))
            table.append(column)
        tables.append(table)
    out, at = [], [0] * shape_count
    for t, pick in zip(times, picks, strict=True):
        kind, fields = shapes[pick]
        row = {strings[name]: tables[pick][place][at[pick]] for place, (name, _) in enumerate(fields)}
        out.append((t, strings[kind], row))
        at[pick] += 1
    return out
