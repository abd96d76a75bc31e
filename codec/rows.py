"""Pure: the rows section of a chunk: rare events with named fields (focus, title, clipboard, selection, gap, …).

Strings are stored once, rows by shape (kind, field names and types) and column by column, so that a busy hour's rows
cost a few bytes each. Guarantees: `decode_rows(encode_rows(rows)) == rows`; a proper prefix raises Truncated; hostile
bytes cost bounded time and memory. No msgpack here: its nested arrays let a small input claim much memory.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from codec import lz
from codec.errors import Corrupt, TooLarge, Truncated, Unsupported
from codec.model import Row, Scalar
from codec.varint import Cursor, write_svarint, write_varint

FORMAT = 1
MAX_ROWS = 1 << 14
MAX_STRINGS = 1 << 16
MAX_VALUES = 1 << 17
"""Rows times fields: a row of constants costs no bytes of its own, but memory."""
MAX_FIELDS = 64
"""Of one row; the widest kind has a dozen."""
MAX_CONTENT_BYTES = 1 << 21
"""Decompressed. A title is at most some hundred bytes, and a chunk is minutes."""
MAX_SECTION_BYTES = MAX_CONTENT_BYTES + (1 << 16)
DICTIONARY = "rows-1.zdict"

_STRING, _INT, _FLOAT, _FALSE, _TRUE, _BYTES, _NONE, _BIG = range(8)
"""Types of a field, as stored in a shape. A bool or None is its own type and has no column."""

Shape = tuple[str, tuple[tuple[str, int], ...]]


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Encode rows.

    Args:
        rows: at most MAX_ROWS, each with at most MAX_FIELDS fields; times within ±2**40 ms of t0.

    Returns:
        The section, at least three bytes.

    Raises:
        TooLarge: beyond these bounds: close the chunk earlier.
    """
    frame = lz.compress(row_content(rows), DICTIONARY)
    out = bytearray((FORMAT,))
    write_varint(out, len(frame))
    return bytes(out) + frame


def row_content(rows: Sequence[Row]) -> bytes:
    """Return what `encode_rows` compresses; raises like it."""
    if len(rows) > MAX_ROWS:
        raise TooLarge("the number of rows of one chunk", actual=len(rows), limit=MAX_ROWS)
    strings: dict[str, int] = {}
    shapes: dict[Shape, list[Row]] = {}
    times, picks = bytearray(), bytearray()
    last = 0
    numbers: dict[Shape, int] = {}
    for row in rows:
        if len(row.fields) > MAX_FIELDS:
            raise TooLarge(f"the number of fields of a {row.kind!r} row", actual=len(row.fields), limit=MAX_FIELDS)
        shape: Shape = (row.kind, tuple((name, _type(value)) for name, value in row.fields.items()))
        shapes.setdefault(shape, []).append(row)
        write_svarint(times, row.t_ms - last)
        write_varint(picks, numbers.setdefault(shape, len(numbers)))
        last = row.t_ms
    heads, columns = bytearray(), bytearray()
    for kind, fields in shapes:
        write_varint(heads, strings.setdefault(kind, len(strings)))
        heads.append(len(fields))
        for name, kind_of_value in fields:
            write_varint(heads, strings.setdefault(name, len(strings)))
            heads.append(kind_of_value)
    for (_, fields), members in shapes.items():
        table = [list(row.fields.values()) for row in members]
        like = _alike([values[0] for values in table] if fields else [])
        for place, (_, kind_of_value) in enumerate(fields):
            _write_column(columns, kind_of_value, [values[place] for values in table], like if place else [], strings)
    content = bytearray()
    for count in (len(rows), len(shapes), len(strings)):
        write_varint(content, count)
    for what, actual, limit in (
        ("strings", len(strings), MAX_STRINGS),
        ("values", sum(len(row.fields) for row in rows), MAX_VALUES),
    ):
        if actual > limit:
            raise TooLarge(f"the number of {what} of one chunk's rows", actual=actual, limit=limit)
    encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
    for piece in encoded:
        write_varint(content, len(piece))
    content += b"".join((*encoded, heads, picks, times, columns))
    if len(content) > MAX_CONTENT_BYTES:
        raise TooLarge("the size of one chunk's rows", actual=len(content), limit=MAX_CONTENT_BYTES)
    return bytes(content)


def decode_rows(section: bytes) -> list[Row]:
    """Decode rows.

    Raises:
        Truncated: the section is a prefix of a longer one. Corrupt, TooLarge: it is not what `encode_rows` writes.
        Unsupported: it is of another version.
    """
    outer = Cursor(section, "a rows section")
    version = outer.byte()
    if version != FORMAT:
        raise Unsupported(f"rows of format {version} are not known to this build: upgrade the reader")
    length = outer.varint(limit=MAX_SECTION_BYTES, name="its length")
    frame = outer.take(length)
    if outer.left_bytes:
        raise Corrupt("a rows section has bytes after its end", offset=outer.offset)
    content = lz.decompress(frame, limit_bytes=MAX_CONTENT_BYTES, dictionary=DICTIONARY)
    try:
        return _decode_content(Cursor(content, "the content of a rows section"))
    except Truncated as error:  # the section is whole, so its content contradicts its own counts
        raise Corrupt(str(error)) from None


def _decode_content(cursor: Cursor) -> list[Row]:
    count = cursor.varint(limit=MAX_ROWS, name="the number of rows")
    shape_count = cursor.varint(limit=count, name="the number of shapes")
    if count and not shape_count:
        raise Corrupt("a rows section has rows of no shape", offset=cursor.offset)
    string_count = cursor.varint(limit=min(cursor.left_bytes, MAX_STRINGS), name="the number of strings")
    sizes = [cursor.varint(limit=cursor.left_bytes, name="a string's length") for _ in range(string_count)]
    strings = [_text(cursor.take(size, name="a string")) for size in sizes]
    shapes: list[Shape] = []
    total = 0
    for _ in range(shape_count):
        kind = _pick(strings, cursor)
        width = cursor.byte()
        if width > MAX_FIELDS:
            raise TooLarge("the number of fields of a row", actual=width, limit=MAX_FIELDS)
        total += width
        if total > MAX_VALUES:  # each shape has a row
            raise TooLarge("the number of values of a rows section", actual=total, limit=MAX_VALUES)
        shapes.append((kind, tuple((_pick(strings, cursor), cursor.byte()) for _ in range(width))))
    picks = [cursor.varint(limit=max(shape_count - 1, 0), name="a shape") for _ in range(count)]
    times: list[int] = []
    t = 0
    for _ in range(count):
        t += cursor.svarint(limit=1 << 41, name="a time")
        times.append(t)
    members = [0] * shape_count
    for pick in picks:
        members[pick] += 1
    if 0 in members:
        raise Corrupt("a rows section has a shape without rows", offset=cursor.offset)
    total = sum(members[index] * len(fields) for index, (_, fields) in enumerate(shapes))
    if total > MAX_VALUES:
        raise TooLarge("the number of values of a rows section", actual=total, limit=MAX_VALUES)
    source = _Strings(strings, len({kind for kind, _ in shapes} | {name for _, fields in shapes for name, _ in fields}))
    values: list[list[list[Scalar]]] = []
    for index, (_, fields) in enumerate(shapes):
        table: list[list[Scalar]] = []
        for place, (_, kind_of_value) in enumerate(fields):
            like = _alike(table[0]) if place else list(range(-1, members[index] - 1))
            table.append(_read_column(cursor, kind_of_value, like, source))
        values.append(table)
    if cursor.left_bytes:
        raise Corrupt("a rows section has content after its end", offset=cursor.offset)
    rows: list[Row] = []
    used = [0] * shape_count
    for t, pick in zip(times, picks, strict=True):
        kind, fields = shapes[pick]
        at = used[pick]
        used[pick] += 1
        rows.append(Row(t, kind, {name: values[pick][place][at] for place, (name, _) in enumerate(fields)}))
    return rows


def _type(value: Scalar) -> int:
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int):
        return _INT if -(1 << 61) < value < 1 << 61 else _BIG
    if isinstance(value, str):
        return _STRING
    return _FLOAT if isinstance(value, float) else _BYTES


def _alike(firsts: Sequence[Scalar]) -> list[int]:
    """Return, for each row, the latest row before it with an equal first field, else the row before it (-1: none).

    Equal means of the same type, too; the rest of such a row is likely the same: the same window, the same place.
    """
    latest: dict[tuple[type, Scalar], int] = {}
    like = []
    for index, first in enumerate(firsts):
        like.append(latest.get((type(first), first), index - 1))
        latest[type(first), first] = index
    return like


_AS_BEFORE, _NEW, _OLD = range(3)
"""A string: the one of the row that is like this one; the next that was not used yet; or, from 2 on, any by number."""


def _write_column(
    out: bytearray, kind: int, values: Sequence[Scalar], like: Sequence[int], strings: dict[str, int]
) -> None:
    for index, value in enumerate(values):
        like_index = like[index] if like else index - 1
        before = values[like_index] if like_index >= 0 else None
        if isinstance(value, str):
            if value == before:
                out.append(_AS_BEFORE)
            elif value not in strings:
                strings[value] = len(strings)
                out.append(_NEW)
            else:
                write_varint(out, _OLD + strings[value])
        elif isinstance(value, float):
            out += struct.pack("<d", value)
        elif isinstance(value, bytes):
            write_varint(out, len(value))
            out += value
        elif kind == _INT and isinstance(value, int):
            write_svarint(out, value - (before if isinstance(before, int) else 0))
        elif kind == _BIG and isinstance(value, int):
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            write_varint(out, len(raw))
            out += raw


class _Strings:
    """The section's strings, and the number of the next that no column has used."""

    def __init__(self, texts: list[str], used: int) -> None:
        self.texts = texts
        self.used = used

    def read(self, cursor: Cursor, before: Scalar) -> str:
        """Read one string of a column."""
        index = cursor.varint(limit=len(self.texts) + _OLD, name="a string's number")
        if index == _AS_BEFORE and isinstance(before, str):
            return before
        if index == _NEW:
            index = self.used + _OLD
            self.used += 1
        if not _OLD <= index < len(self.texts) + _OLD:
            raise Corrupt(f"a rows section of {len(self.texts)} strings has no such one", offset=cursor.offset)
        return self.texts[index - _OLD]


def _read_column(cursor: Cursor, kind: int, like: Sequence[int], strings: _Strings) -> list[Scalar]:
    count = len(like)
    column: list[Scalar] = []
    if kind in (_STRING, _INT):
        for index, like_index in enumerate(like):
            before = column[like_index] if 0 <= like_index < index else None
            if kind == _STRING:
                column.append(strings.read(cursor, before))
            else:
                column.append(cursor.svarint(name="an integer") + (before if isinstance(before, int) else 0))
        return column
    if kind == _FLOAT:
        return [struct.unpack("<d", cursor.take(8, name="a float"))[0] for _ in range(count)]
    if kind == _BYTES:
        return [_blob(cursor) for _ in range(count)]
    if kind == _BIG:
        return [int.from_bytes(_blob(cursor), "little", signed=True) for _ in range(count)]
    constants: dict[int, Scalar] = {_FALSE: False, _TRUE: True, _NONE: None}
    if kind not in constants:
        raise Unsupported(f"a row's field of type {kind} is not known to this build: upgrade the reader")
    return [constants[kind]] * count


def _blob(cursor: Cursor) -> bytes:
    return cursor.take(cursor.varint(limit=MAX_CONTENT_BYTES, name="a field's length"), name="a field")


def _pick(strings: list[str], cursor: Cursor) -> str:
    index = cursor.varint(name="a string's number")
    if index >= len(strings):
        raise Corrupt(f"a rows section has {len(strings)} strings and names number {index}", offset=cursor.offset)
    return strings[index]


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Corrupt("a string of a rows section is not UTF-8") from None
