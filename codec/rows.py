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
DICTIONARY = ""

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
    for (kind, fields), members in shapes.items():
        write_varint(heads, strings.setdefault(kind, len(strings)))
        heads.append(len(fields))
        for name, kind_of_value in fields:
            write_varint(heads, strings.setdefault(name, len(strings)))
            heads.append(kind_of_value)
            _write_column(columns, kind_of_value, [row.fields[name] for row in members], strings)
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
    frame = lz.compress(bytes(content), DICTIONARY)
    out = bytearray((FORMAT,))
    write_varint(out, len(frame))
    return bytes(out) + frame


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
    values = [
        [_read_column(cursor, kind_of_value, members[index], strings) for _, kind_of_value in fields]
        for index, (_, fields) in enumerate(shapes)
    ]
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


def _write_column(out: bytearray, kind: int, values: Sequence[Scalar], strings: dict[str, int]) -> None:
    last = 0
    for value in values:
        if isinstance(value, str):
            write_varint(out, strings.setdefault(value, len(strings)))
        elif isinstance(value, float):
            out += struct.pack("<d", value)
        elif isinstance(value, bytes):
            write_varint(out, len(value))
            out += value
        elif kind == _INT and isinstance(value, int):
            write_svarint(out, value - last)
            last = value
        elif kind == _BIG and isinstance(value, int):
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            write_varint(out, len(raw))
            out += raw


def _read_column(cursor: Cursor, kind: int, count: int, strings: list[str]) -> list[Scalar]:
    if kind == _STRING:
        return [_pick(strings, cursor) for _ in range(count)]
    if kind == _INT:
        column: list[Scalar] = []
        value = 0
        for _ in range(count):
            value += cursor.svarint(name="an integer")
            column.append(value)
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
