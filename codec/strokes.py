"""Pure: key events as keystrokes: a press and its release are one row (gap since the press before, code, hold).

How long a finger holds a key hardly depends on what the other fingers do, so a hold is a smaller number than the two
steps it would be among interleaved events. What a row cannot say stands beside the rows: releases of keys that were
pressed before the chunk, slots occupied since before it, and the order of events at the same millisecond where it is
not the canonical one. A stream that is odd in any other way (time going back, slots not by the rule) is not paired:
`pair` returns None.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec.errors import Corrupt
from codec.model import KeyEvents
from codec.varint import Cursor, write_svarint, write_varint

NEVER = -1
"""The hold of a key that is not released within the chunk."""
UNSEEN_SLOT = 255
"""The slot of a release whose press nobody saw."""

Orphan = tuple[int, int, int]
"""A release without its press in the chunk: (t_ms, code, slot)."""


@dataclass(frozen=True, slots=True, eq=False)
class Strokes:
    """Keystrokes in the order of their presses, m of them.

    Attributes:
        code: uint16 (m,). gap_ms: int64 (m,), since the press before (the first: since t0, may be negative).
        hold_ms: int64 (m,), press to release, or NEVER.
        orphans: releases alone, in the stream's order.
        held: slots occupied from before the chunk to its end, ascending.
        swaps: at each index i, ascending or not, events i and i + 1 change places, one after the other: from canonical
            to actual order.
    """

    code: npt.NDArray[np.uint16]
    gap_ms: npt.NDArray[np.int64]
    hold_ms: npt.NDArray[np.int64]
    orphans: tuple[Orphan, ...] = ()
    held: tuple[int, ...] = ()
    swaps: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.code)


def pair(keys: KeyEvents) -> Strokes | None:
    """Pair presses with releases.

    Returns:
        The strokes, or None where they cannot express the stream exactly.
    """
    t_ms: list[int] = keys.t_ms.tolist()
    if any(late < early for early, late in itertools.pairwise(t_ms)):
        return None
    downs, codes, slots = keys.down.tolist(), keys.code.tolist(), keys.slot.tolist()
    presses: list[int] = []  # event index of each stroke's press
    hold: list[int] = []
    orphans: list[Orphan] = []
    holder: dict[int, int] = {}  # slot -> its stroke
    seen: set[int] = set()
    before: set[int] = set()  # slots occupied since before the chunk
    ids: list[int] = []  # per event: the canonical generator's number for it, see `_canonical`
    for index, (t, down, code, slot) in enumerate(zip(t_ms, downs, codes, slots, strict=True)):
        if down:
            if slot == UNSEEN_SLOT or slot in holder:
                return None
            before.update(lower for lower in range(slot) if lower not in seen)
            seen.update(range(slot + 1))
            holder[slot] = len(presses)
            ids.append(2 * len(presses))
            presses.append(index)
            hold.append(NEVER)
        elif slot in holder:
            stroke = holder.pop(slot)
            if codes[presses[stroke]] != code:
                return None
            hold[stroke] = t - t_ms[presses[stroke]]
            ids.append(2 * stroke + 1)
        else:
            if slot != UNSEEN_SLOT:
                if slot in seen and slot not in before:
                    return None
                before.add(slot)
                seen.add(slot)
            ids.append(-1 - len(orphans))
            orphans.append((t, code, slot))
    released = {slot for _, _, slot in orphans}
    at = keys.t_ms[presses].astype(np.int64)
    strokes = Strokes(
        keys.code[presses].astype(np.uint16),
        np.diff(at, prepend=np.int64(0)),
        np.array(hold, np.int64),
        tuple(orphans),
        tuple(sorted(before - released)),
    )
    swaps = _swaps([event for _, event in _canonical(strokes)], ids)
    if swaps is None:
        return None
    strokes = Strokes(strokes.code, strokes.gap_ms, strokes.hold_ms, strokes.orphans, strokes.held, swaps)
    try:
        again = unpair(strokes)
    except Corrupt:
        return None
    return strokes if np.array_equal(again.slot, keys.slot) else None


def unpair(strokes: Strokes) -> KeyEvents:
    """Undo `pair`.

    Raises:
        Corrupt: the strokes contradict themselves.
    """
    order = _canonical(strokes)
    for index in strokes.swaps:
        if not 0 <= index < len(order) - 1 or order[index][0] != order[index + 1][0]:
            raise Corrupt("a key stream swaps events that are not simultaneous")
        order[index], order[index + 1] = order[index + 1], order[index]
    occupied = 0
    for slot in (*strokes.held, *(slot for _, _, slot in strokes.orphans if slot != UNSEEN_SLOT)):
        if occupied >> slot & 1:
            raise Corrupt("a key stream occupies a slot twice")
        occupied |= 1 << slot
    codes = strokes.code.tolist()
    slot_of = [UNSEEN_SLOT] * len(codes)
    code: list[int] = []
    slots: list[int] = []
    for _, event in order:
        if event < 0:
            _, what, slot = strokes.orphans[-1 - event]
            code.append(what)
            occupied &= ~(1 << slot)
        elif event & 1:
            slot = slot_of[event >> 1]
            if slot == UNSEEN_SLOT:
                raise Corrupt("a key stream releases a key before its press")
            code.append(codes[event >> 1])
            occupied &= ~(1 << slot)
        else:
            slot = (~occupied & occupied + 1).bit_length() - 1
            if slot >= UNSEEN_SLOT:
                raise Corrupt("a key stream holds more keys than there are slots")
            slot_of[event >> 1] = slot
            code.append(codes[event >> 1])
            occupied |= 1 << slot
        slots.append(slot)
    return KeyEvents(
        t_ms=np.array([t for t, _ in order], np.int64),
        down=np.array([event >= 0 and not event & 1 for _, event in order], np.bool_),
        code=np.array(code, np.uint16),
        slot=np.array(slots, np.uint8),
    )


def _canonical(strokes: Strokes) -> list[tuple[int, int]]:
    """Return (t_ms, event) in canonical order; event 2s presses stroke s, 2s + 1 releases it, -1 - i is orphan i.

    By time; at the same millisecond: orphans, releases in the order of their presses, then presses, each followed at
    once by its release where that comes in the same millisecond.
    """
    at = np.cumsum(strokes.gap_ms).tolist()
    hold = strokes.hold_ms.tolist()
    order = [(t, -1 - index) for index, (t, _, _) in enumerate(strokes.orphans)]
    order += [(t + length, 2 * index + 1) for index, (t, length) in enumerate(zip(at, hold, strict=True)) if length > 0]
    for index, (t, length) in enumerate(zip(at, hold, strict=True)):
        order.append((t, 2 * index))
        if length == 0:
            order.append((t, 2 * index + 1))
    order.sort(key=lambda event: event[0])  # stable: ties keep the order of the three groups above
    return order


def _swaps(canonical: list[int], actual: list[int]) -> tuple[int, ...] | None:
    """Return the neighbour swaps that turn one order into the other, or None where there are absurdly many."""
    rank = {event: index for index, event in enumerate(actual)}
    order = [rank[event] for event in canonical]
    swaps: list[int] = []
    for index in range(1, len(order)):
        place = index
        while place and order[place - 1] > order[place]:
            order[place - 1], order[place] = order[place], order[place - 1]
            place -= 1
            swaps.append(place)
            if len(swaps) > len(order):
                return None
    return tuple(swaps)


def write_extras(out: bytearray, strokes: Strokes) -> None:
    """Append the number of strokes and what stands beside them."""
    extra = bool(strokes.orphans or strokes.held or strokes.swaps)
    write_varint(out, len(strokes) << 1 | extra)
    if not extra:
        return
    write_varint(out, len(strokes.orphans))
    last = 0
    for t, code, slot in strokes.orphans:
        write_svarint(out, t - last)
        write_varint(out, code)
        out.append(slot)
        last = t
    out.append(len(strokes.held))
    out += bytes(strokes.held)
    write_varint(out, len(strokes.swaps))
    last = 0
    for index in strokes.swaps:
        write_svarint(out, index - last)
        last = index


def read_extras(cursor: Cursor, *, limit: int) -> Strokes:
    """Read what `write_extras` wrote; the columns are of the right length, to be filled.

    Args:
        cursor: at the stream's start.
        limit: of the number of key events.

    Raises:
        Truncated, Corrupt, TooLarge: it is not what `write_extras` writes.
    """
    head = cursor.varint(limit=2 * limit + 1, name="the number of keystrokes")
    count = head >> 1
    orphans: list[Orphan] = []
    held: tuple[int, ...] = ()
    swaps: list[int] = []
    if head & 1:
        t = 0
        for _ in range(cursor.varint(limit=min(limit, cursor.left_bytes), name="the number of lone releases")):
            t += cursor.svarint(limit=1 << 41, name="a time")
            if orphans and t < orphans[-1][0]:
                raise Corrupt("the lone releases of a key stream go back in time", offset=cursor.offset)
            orphans.append((t, cursor.varint(limit=(1 << 16) - 1, name="a key code"), cursor.byte()))
        held = tuple(cursor.take(cursor.byte(), name="the held slots"))
        if UNSEEN_SLOT in held:
            raise Corrupt("slot 255 cannot be held", offset=cursor.offset)
        index = 0
        for _ in range(cursor.varint(limit=min(2 * limit, cursor.left_bytes), name="the number of swaps")):
            index += cursor.svarint(limit=2 * limit, name="a swap")
            swaps.append(index)
    return Strokes(
        np.zeros(count, np.uint16),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        tuple(orphans),
        held,
        tuple(swaps),
    )
