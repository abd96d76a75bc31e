"""Pure: method A for event streams: delta columns, varints, Zstandard with a shipped dictionary.

Always available, fast to read (well below a microsecond an event), and best where motion repeats itself exactly, as at
1 kHz. `docs/format-events.md` says what each byte means. Nothing here looks at the meaning of a kind or a code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec import lz
from codec.errors import Corrupt, TooLarge
from codec.model import KeyEvents, PointerEvents
from codec.strokes import NEVER, Strokes, read_extras, write_extras
from codec.varint import Cursor, pack_varints, unpack_varints, unzigzag, write_varint, zigzag

MAX_POINTER_EVENTS = 1 << 18
"""Over 4 minutes at 1 kHz without a pause (the recorder closes at 20,000); at this bound a decoder's columns and their intermediates stay below 64 MiB."""
MAX_KEY_EVENTS = 1 << 16
"""An hour of fast typing has 45,000; a chunk is minutes."""
MAX_TIME_MS = 1 << 40
"""35 years from the chunk's t0."""

POINTER_DICTIONARY = "pointer-1.zdict"
KEY_DICTIONARY = "keys-1.zdict"

_MAX_ROW_BYTES = 1 + 3 * 7  # a kind and three varints below 2**43


def encode_pointer(pointer: PointerEvents) -> bytes:
    """Encode pointer events by method A.

    Args:
        pointer: 1 .. MAX_POINTER_EVENTS events, checked by the caller.
    """
    out = bytearray()
    write_varint(out, len(pointer))
    return bytes(out) + lz.compress(pointer_content(pointer), POINTER_DICTIONARY)


def pointer_content(pointer: PointerEvents) -> bytes:
    """Return the columns of pointer events, before compression."""
    axes = (_second(axis.astype(np.int64)) for axis in (pointer.x, pointer.y))
    columns = [zigzag(column) for column in (steps_of(pointer.t_ms), *axes)]
    return pointer.kind.astype(np.uint8).tobytes() + b"".join(map(pack_varints, columns))


def decode_pointer(stream: bytes) -> PointerEvents:
    """Undo `encode_pointer`.

    Raises:
        Truncated, Corrupt, TooLarge: the stream is not one that it writes.
    """
    cursor = Cursor(stream, "a pointer stream")
    count = cursor.varint(limit=MAX_POINTER_EVENTS, name="the number of pointer events")
    raw = lz.decompress(cursor.rest(), limit_bytes=count * _MAX_ROW_BYTES, dictionary=POINTER_DICTIONARY)
    kind = np.frombuffer(raw, np.uint8, min(count, len(raw))).copy()
    values = unpack_varints(raw[count:], 3 * count, "a pointer stream")
    if count and int(values.max()) >= 1 << 43:
        raise Corrupt("a pointer stream holds a step beyond any screen or clock")
    steps = unzigzag(values)
    return PointerEvents(
        t_ms=checked_times(np.cumsum(steps[:count])),
        kind=kind,
        x=_undo_second(steps[count : 2 * count]),
        y=_undo_second(steps[2 * count :]),
    )


def steps_of(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the first value (a step from 0) and the differences after it."""
    steps = values.astype(np.int64)
    steps[1:] -= values[:-1]
    return steps


def _second(axis: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """First value, first difference, then second differences: straight, even motion becomes zeros."""
    step = steps_of(axis)
    step[2:] -= step[1:-1].copy()
    return step


def _undo_second(change: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    step = change.copy()
    step[1:] = np.cumsum(change[1:])
    if len(step) and int(np.abs(step).max()) > 1 << 33:
        raise Corrupt("a pointer stream leaves the 32-bit plane")
    return checked_axis(np.cumsum(step))


def checked_axis(axis: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Return positions as int32.

    Raises:
        Corrupt: one does not fit.
    """
    if len(axis) and (int(axis.min()) < -(1 << 31) or int(axis.max()) >= 1 << 31):
        raise Corrupt("a pointer stream leaves the 32-bit plane")
    return axis.astype(np.int32)


def checked_times(t_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return times.

    Raises:
        Corrupt: one lies more than MAX_TIME_MS from the chunk's t0.
    """
    if len(t_ms) and (int(t_ms.min()) < -MAX_TIME_MS or int(t_ms.max()) > MAX_TIME_MS):
        raise Corrupt("an event stream holds a time decades from its chunk")
    return t_ms


def encode_strokes(strokes: Strokes) -> bytes:
    """Encode paired keystrokes by method A."""
    out = bytearray()
    write_extras(out, strokes)
    return bytes(out) + lz.compress(stroke_content(strokes), KEY_DICTIONARY)


def stroke_content(strokes: Strokes) -> bytes:
    """Return the columns of keystrokes, before compression."""
    hold = np.where(strokes.hold_ms == NEVER, 0, strokes.hold_ms + 1)
    columns = [strokes.code.astype(np.uint64), strokes.gap_ms.astype(np.uint64), hold.astype(np.uint64)]
    if len(strokes):
        columns[1][0] = zigzag(strokes.gap_ms[:1])[0]
    return b"".join(map(pack_varints, columns))


def decode_strokes(stream: bytes) -> Strokes:
    """Undo `encode_strokes`.

    Raises:
        Truncated, Corrupt, TooLarge: the stream is not one that it writes.
    """
    cursor = Cursor(stream, "a key stream")
    strokes = read_extras(cursor, limit=MAX_KEY_EVENTS)
    count = len(strokes)
    raw = lz.decompress(cursor.rest(), limit_bytes=count * (3 + 7 + 7), dictionary=KEY_DICTIONARY)
    values = unpack_varints(raw, 3 * count, "a key stream")
    if not count:
        return strokes
    code, gap, hold = values[:count], values[count : 2 * count], values[2 * count :].astype(np.int64)
    if int(code.max()) >= 1 << 16 or int(values.max()) > 1 << 42:
        raise Corrupt("a key stream holds a code or a time out of range")
    gap_ms = gap.astype(np.int64)
    gap_ms[0] = unzigzag(gap[:1])[0]
    strokes.code[:] = code.astype(np.uint16)
    strokes.gap_ms[:] = gap_ms
    strokes.hold_ms[:] = np.where(hold == 0, NEVER, hold - 1)
    return strokes


def encode_keys(keys: KeyEvents) -> bytes:
    """Encode key events one by one, for streams that pairing cannot express."""
    columns = [
        zigzag(steps_of(keys.t_ms)),
        keys.code.astype(np.uint64),
        keys.slot.astype(np.uint64) << np.uint64(1) | keys.down.astype(np.uint64),
    ]
    out = bytearray()
    write_varint(out, len(keys))
    return bytes(out) + lz.compress(b"".join(map(pack_varints, columns)), KEY_DICTIONARY)


def decode_keys(stream: bytes) -> KeyEvents:
    """Undo `encode_keys`.

    Raises:
        Truncated, Corrupt, TooLarge: the stream is not one that it writes.
    """
    cursor = Cursor(stream, "a key stream")
    count = cursor.varint(limit=MAX_KEY_EVENTS, name="the number of key events")
    raw = lz.decompress(cursor.rest(), limit_bytes=count * (7 + 3 + 2), dictionary=KEY_DICTIONARY)
    values = unpack_varints(raw, 3 * count, "a key stream")
    step, code, state = values[:count], values[count : 2 * count], values[2 * count :]
    if count and (int(step.max()) >= 1 << 43 or int(code.max()) >= 1 << 16 or int(state.max()) >= 1 << 9):
        raise Corrupt("a key stream holds a step, a code or a slot out of range")
    return KeyEvents(
        t_ms=checked_times(np.cumsum(unzigzag(step))),
        down=(state & np.uint64(1)).astype(np.bool_),
        code=code.astype(np.uint16),
        slot=(state >> np.uint64(1)).astype(np.uint8),
    )


def check_writable(pointer: PointerEvents, keys: KeyEvents) -> None:
    """Refuse what the format cannot say.

    Raises:
        TooLarge: too many events, or a time too far from t0: close the chunk earlier. Corrupt: columns of different
            lengths.
    """
    for what, limit, columns in (
        ("pointer", MAX_POINTER_EVENTS, (pointer.t_ms, pointer.kind, pointer.x, pointer.y)),
        ("key", MAX_KEY_EVENTS, (keys.t_ms, keys.down, keys.code, keys.slot)),
    ):
        count = len(columns[0])
        if any(len(column) != count for column in columns):
            raise Corrupt(f"the columns of the {what} events differ in length")
        if count > limit:
            raise TooLarge(f"the number of {what} events of one chunk", actual=count, limit=limit)
        if count:
            farthest = max(-int(columns[0].min()), int(columns[0].max()))
            if farthest > MAX_TIME_MS:
                raise TooLarge(
                    f"a {what} event's distance from its chunk's t0 in ms", actual=farthest, limit=MAX_TIME_MS
                )
