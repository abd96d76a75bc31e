"""The events codec and its peers, behind one interface: a chunk's events to bytes and back.

Each peer is given its best known settings (delta columns where it can, its strongest compression), not its defaults.
One that is not installed says how to install it.
"""

from __future__ import annotations

import importlib
import io
import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from benches.recordings import Piece
from codec.events import ALL, Method, decode_events, encode_events
from codec.model import KeyEvents, PointerEvents

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
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def _unpack(data: bytes) -> list[bytes]:
    parts, place = [], 0
    while place < len(data):
        (size,) = struct.unpack_from("<I", data, place)
        parts.append(data[place + 4 : place + 4 + size])
        place += 4 + size
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
    types = ("<i8", "<u1", "<i4", "<i4", "<i8", "<u1", "<u2", "<u1")

    def compressor() -> Any:
        # Positions and times as zigzagged deltas into OpenZL's own choice of backend: smaller here than its default.
        made = zl.Compressor()
        delta = zl.nodes.DeltaInt()(made, zl.nodes.Zigzag()(made, zl.graphs.Compress()(made)))
        made.select_starting_graph(delta)
        return made

    def plain() -> Any:
        made = zl.Compressor()
        made.select_starting_graph(zl.graphs.Compress()(made))
        return made

    of_deltas, of_values = compressor(), plain()

    def encode(piece: Piece) -> bytes:
        parts = []
        for column, kind in zip(_columns(piece), types, strict=True):
            if not len(column):
                parts.append(b"")
                continue
            context = zl.CCtx()
            context.ref_compressor(of_deltas if kind in ("<i8", "<i4") and len(column) > 1 else of_values)
            context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
            context.set_parameter(zl.CParam.ContentChecksum, 2)
            context.set_parameter(zl.CParam.CompressedChecksum, 2)
            narrow = (
                column.astype(np.int32)
                if kind == "<i8" and len(column) and int(abs(column).max()) < 1 << 31
                else column
            )
            parts.append(context.compress([zl.Input(zl.Type.Numeric, np.ascontiguousarray(narrow))]))
        return _pack(parts)

    def decode(data: bytes) -> Piece:
        columns: Columns = []
        for part in _unpack(data):
            if part:
                columns.append(np.asarray(zl.DCtx().decompress(part)[0].content.as_nparray()).view())
            else:
                columns.append(np.empty(0, np.int64))
        return _from_columns([_signed(c) for c in columns])

    return EventCodec("OpenZL, delta graph", encode, decode)


def _signed(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """OpenZL numbers have no sign: give the wide ones theirs back."""
    return column.view({4: np.int32, 8: np.int64}[column.itemsize]) if column.itemsize >= 4 else column


_OPTIONAL: tuple[tuple[str, str, Callable[[], EventCodec]], ...] = (
    ("Parquet, delta + zstd-19", "pyarrow", _parquet),
    ("pcodec 12", "pcodec", _pcodec),
    ("OpenZL, delta graph", "openzl", _openzl),
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
