"""The events codec and its peers, behind one interface: a chunk's events to bytes and back.

Each peer is given its best known settings (delta columns where it can, its strongest compression), not its defaults.
One that is not installed says how to install it.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from benches.recordings import Piece
from codec.events import ALL, Method, decode_events, encode_events
from codec.model import KeyEvents, PointerEvents
from codec.varint import Cursor, write_varint

msgpack = importlib.import_module("msgpack")  # it ships no types

Columns = list[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class EventCodec:
    """One way to store a chunk's events.

    Attributes: name: for the table. encode, decode: inverse of each other. missing: how to install it, if it is not.
    """

    name: str
    encode: Callable[[Piece], bytes]
    decode: Callable[[bytes], Piece]
    missing: str = ""


def _to_objects(piece: Piece) -> list[dict[str, Any]]:
    p, k = piece.pointer, piece.keys
    rows: list[dict[str, Any]] = [
        {"t": t, "k": kind, "x": x, "y": y}
        for t, kind, x, y in zip(p.t_ms.tolist(), p.kind.tolist(), p.x.tolist(), p.y.tolist(), strict=True)
    ]
    rows += [
        {"t": t, "d": down, "c": code, "s": slot}
        for t, down, code, slot in zip(k.t_ms.tolist(), k.down.tolist(), k.code.tolist(), k.slot.tolist(), strict=True)
    ]
    return rows


def _from_objects(rows: Iterable[dict[str, Any]]) -> Piece:
    moves, keys = [], []
    for row in rows:
        if "x" in row:
            moves.append((row["t"], row["k"], row["x"], row["y"]))
        else:
            keys.append((row["t"], row["d"], row["c"], row["s"]))
    return _from_columns(
        [*np.array(moves, np.int64).reshape(-1, 4).T.copy(), *np.array(keys, np.int64).reshape(-1, 4).T.copy()]
    )


def _columns(piece: Piece) -> Columns:
    p, k = piece.pointer, piece.keys
    return [p.t_ms, p.kind, p.x, p.y, k.t_ms, k.down.astype(np.uint8), k.code, k.slot]


def _from_columns(columns: Columns) -> Piece:
    types = (np.int64, np.uint8, np.int32, np.int32, np.int64, np.bool_, np.uint16, np.uint8)
    c: Columns = [column.astype(kind) for column, kind in zip(columns, types, strict=True)]
    return Piece(PointerEvents(*c[:4]), KeyEvents(*c[4:]))


def _pack(parts: Iterable[bytes]) -> bytes:
    """Join parts, each behind its length: one byte for none, two for most."""
    out = bytearray()
    for part in parts:
        write_varint(out, len(part))
        out += part
    return bytes(out)


def _unpack(data: bytes) -> list[bytes]:
    cursor = Cursor(data, "a peer's chunk")
    parts = []
    while cursor.left_bytes:
        parts.append(cursor.take(cursor.varint()))
    return parts


def _lines(piece: Piece) -> bytes:
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in _to_objects(piece)).encode()


def _of_lines(data: bytes) -> Piece:
    return _from_objects(map(json.loads, data.splitlines()))


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=19).compress(data)


def _unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data)


def _own(name: str, methods: Iterable[Method]) -> EventCodec:
    chosen = frozenset(methods)
    return EventCodec(
        name,
        lambda piece: encode_events(piece.pointer, piece.keys, methods=chosen),
        lambda data: Piece(*decode_events(data)),
    )


def _parquet() -> EventCodec:
    pa, pq = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    names = ("t", "k", "x", "y")

    def encode(piece: Piece) -> bytes:
        parts = []
        columns = _columns(piece)
        for half in (columns[:4], columns[4:]):
            # Delta encoding wants 32 or 64 bits; within a chunk, 32 hold all of a table's columns but far times.
            wide = {n: c.astype(np.int64 if n == "t" else np.int32) for n, c in zip(names, half, strict=True)}
            sink = io.BytesIO()
            if len(half[0]):
                pq.write_table(
                    pa.table(wide),
                    sink,
                    compression="zstd",
                    compression_level=19,
                    use_dictionary=False,
                    column_encoding=dict.fromkeys(names, "DELTA_BINARY_PACKED"),
                    write_statistics=False,
                    store_schema=False,
                )
            parts.append(sink.getvalue())
        return _pack(parts)

    def decode(data: bytes) -> Piece:
        columns: Columns = []
        for part in _unpack(data):
            table = pq.read_table(io.BytesIO(part)) if part else None
            columns += [table[n].to_numpy() if table is not None else np.empty(0, np.int64) for n in names]
        return _from_columns(columns)

    return EventCodec("Parquet, delta + zstd-19", encode, decode)


def _pcodec() -> EventCodec:
    pco = importlib.import_module("pcodec")
    settings = pco.ChunkConfig(compression_level=12)

    def encode(piece: Piece) -> bytes:
        return _pack(
            pco.standalone.simple_compress(
                np.ascontiguousarray(c if c.dtype != np.uint8 else c.astype(np.uint16)), settings
            )
            if len(c)
            else b""
            for c in _columns(piece)
        )

    def decode(data: bytes) -> Piece:
        empty = np.empty(0, np.int64)
        return _from_columns([pco.standalone.simple_decompress(part) if part else empty for part in _unpack(data)])

    return EventCodec("pcodec 12", encode, decode)


def _openzl() -> EventCodec:
    zl = importlib.import_module("openzl.ext")

    def made(graph: Callable[[Any], Any]) -> Any:
        compressor = zl.Compressor()
        compressor.select_starting_graph(graph(compressor))
        return compressor

    # The standard graphs that did best on second differences (times: first) of desktop events; each column takes
    # the smallest. OpenZL's own delta and field graphs give a third more.
    of_steps = (
        made(lambda c: zl.nodes.RangePack()(c, zl.graphs.Compress()(c))),
        made(lambda c: zl.nodes.RangePack()(c, zl.graphs.Entropy()(c))),
        made(lambda c: zl.nodes.TokenizeNumeric(sort=True)(c, zl.graphs.Compress()(c), zl.graphs.Compress()(c))),
    )
    of_values = (made(lambda c: zl.graphs.Compress()(c)),)

    def frame(compressor: Any, column: npt.NDArray[Any]) -> bytes | None:
        run = zl.CCtx()
        run.ref_compressor(compressor)
        run.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        run.set_parameter(zl.CParam.ContentChecksum, 2)
        run.set_parameter(zl.CParam.CompressedChecksum, 2)
        try:
            return bytes(run.compress([zl.Input(zl.Type.Numeric, np.ascontiguousarray(column))]))
        except RuntimeError:  # the entropy graph takes no values wider than 16 bits
            return None

    def encode(piece: Piece) -> bytes:
        parts = []
        for column, order in zip(_columns(piece), _STEP_ORDERS, strict=True):
            values = _steps(column, order) if order else column
            compressors = of_steps if order else of_values
            frames = (frame(c, values) for c in compressors) if len(column) else ()
            parts.append(min((made for made in frames if made is not None), key=len, default=b""))
        return _pack(parts)

    def decode(data: bytes) -> Piece:
        columns: Columns = []
        for part, order in zip(_unpack(data), _STEP_ORDERS, strict=True):
            values = np.asarray(zl.DCtx().decompress(part)[0].content.as_nparray()) if part else np.empty(0, np.uint8)
            columns.append(_unsteps(values, order) if order else values.copy())
        return _from_columns(columns)

    return EventCodec("OpenZL on 2nd differences", encode, decode)


_STEP_ORDERS = (1, 0, 2, 2, 1, 0, 0, 0)
"""How often each column of `_columns` is differenced, where a peer does not do so itself."""


def _steps(column: npt.NDArray[Any], order: int) -> npt.NDArray[np.uint32]:
    """Difference a column, modulo 2**32, and zigzag it."""
    if len(column) and int(np.abs(column.astype(np.int64)).max()) >= 1 << 31:
        raise ValueError("values beyond 32 bits")
    values = column.astype(np.int32)
    for begin in range(order):
        values[begin + 1 :] -= values[begin:-1].copy()
    return ((values << 1) ^ (values >> 31)).view(np.uint32)


def _unsteps(steps: npt.NDArray[Any], order: int) -> npt.NDArray[np.int32]:
    values = (steps >> 1).astype(np.uint32).view(np.int32) ^ -(steps & 1).astype(np.int32)
    for begin in reversed(range(order)):
        values[begin:] = np.cumsum(values[begin:], dtype=np.int32)
    return values


_OPTIONAL: tuple[tuple[str, str, Callable[[], EventCodec]], ...] = (
    ("Parquet, delta + zstd-19", "pyarrow", _parquet),
    ("pcodec 12", "pcodec", _pcodec),
    ("OpenZL on 2nd differences", "openzl", _openzl),
)


def event_codecs() -> list[EventCodec]:
    """Return the codecs to compare, the peers first; those not installed can neither encode nor decode."""
    codecs = [
        EventCodec("JSON lines", _lines, _of_lines),
        EventCodec("JSON lines + zstd-19", lambda p: _zstd(_lines(p)), lambda d: _of_lines(_unzstd(d))),
        EventCodec(
            "msgpack + zstd-19",
            lambda p: _zstd(msgpack.packb(_to_objects(p))),
            lambda d: _from_objects(msgpack.unpackb(_unzstd(d))),
        ),
    ]
    for name, package, make in _OPTIONAL:
        try:
            codecs.append(make())
        except ImportError:
            codecs.append(EventCodec(name, _lines, _of_lines, missing=f"not installed: pip install {package}"))
    return [
        *codecs,
        _own("modicum, method A (columns)", {Method.COLUMNS}),
        _own("modicum, method B (contexts)", {Method.CONTEXT}),
        _own("modicum, the smaller", ALL),
    ]
