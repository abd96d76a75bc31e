"""The slow reader's part for screenshots, written from docs/format-screen.md alone; PyAV decodes the video."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tests.slow_bytes import Bytes

KEEP, FILL, COPY, RECALL, INK, PHOTO = range(6)
REMEMBERED = 16384
Pixels = npt.NDArray[np.uint8]
"""BGR, (rows, columns, 3)."""


def unpack(data: Bytes) -> Bytes:
    """Read a packed block."""
    raw_bytes = data.varint()
    packed = data.take(data.varint())
    chain = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 23}]
    raw = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain).decompress(packed, raw_bytes)
    assert len(raw) == raw_bytes
    return Bytes(raw)


def slow_frames(section: bytes) -> Iterator[tuple[int, int, Pixels]]:
    """Yield (t_ms, screen, picture)."""
    data = Bytes(section)
    assert data.varint() == 1
    heads = [(data.varint(), data.varint(), data.varint()) for _ in range(data.varint())]
    pictures: dict[int, Pixels] = {}
    memory: list[Pixels] = []
    t_ms = 0
    for _ in range(data.varint()):
        script = unpack(data)
        frame_count = script.varint()
        columns = [script.take(length) for length in [script.varint() for _ in range(6)]]
        frames, kinds, lengths, fills, copies, recalls = map(Bytes, columns)
        ink = ink_tiles(data)
        photos = {}
        for _ in range(data.varint()):
            number = data.varint()
            photos[number] = canvas_pictures(data)
        expected = 0
        for _ in range(frame_count):
            number = frames.varint()
            t_ms += frames.svarint()
            screen, width, height = heads[number]
            across, down = -(-width // 16), -(-height // 16)
            before = pictures.setdefault(number, np.zeros((down * 16, across * 16, 3), np.uint8)).copy()
            after = pictures[number]
            places = [
                np.s_[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
                for row in range(down)
                for column in range(across)
            ]
            runs, tile, photo = [], 0, None
            for _ in range(frames.varint()):
                kind, length, value = kinds.u8(), lengths.varint(), None
                if kind == FILL:
                    value = list(fills.take(3))
                elif kind == COPY:
                    value = (copies.svarint(), copies.svarint())
                elif kind == RECALL:
                    value = expected + recalls.svarint()
                    expected = value + length
                runs.append((kind, range(tile, tile + length), value))
                tile += length
            for kind, tiles, value in runs:
                for tile in tiles:
                    if kind == FILL:
                        after[places[tile]] = value
                    elif kind == COPY:
                        top, left = 16 * (tile // across) + value[1], 16 * (tile % across) + value[0]
                        after[places[tile]] = before[top : top + 16, left : left + 16]
                    elif kind == INK:
                        after[places[tile]] = next(ink)
                    elif kind == PHOTO:
                        if photo is None:
                            photo = next(photos[number])
                        after[places[tile]] = photo[tile // across, tile % across]
                    if kind in (COPY, INK, PHOTO):
                        memory.append(after[places[tile]].copy())
            for kind, tiles, value in runs:
                for place, tile in enumerate(tiles):
                    if kind == RECALL:
                        assert len(memory) - REMEMBERED <= value + place
                        after[places[tile]] = memory[value + place]
            yield t_ms, screen, after[:height, :width].copy()
    assert data.at == len(section)


def ink_tiles(data: Bytes) -> Iterator[Pixels]:
    """Read a batch's ink, and yield its tiles."""
    palette = [list(data.take(3)) for _ in range(data.varint())]
    return tiles_of(palette, unpack(data), unpack(data))


def tiles_of(palette: list[list[int]], indexes: Bytes, own: Bytes) -> Iterator[Pixels]:
    while indexes.at < len(indexes.data):
        pixels = [palette[index] if index != 255 else list(own.take(3)) for index in indexes.take(256)]
        yield np.array(pixels, np.uint8).reshape(16, 16, 3).transpose(1, 0, 2)
    assert own.at == len(own.data)


def canvas_pictures(data: Bytes) -> Iterator[dict[tuple[int, int], Pixels]]:
    """Read a canvas, and yield its pictures: tiles by (row, column) of the screen."""
    codec = {1: "h264", 2: "libdav1d"}[data.varint()]
    left, top, columns, rows = (data.varint() for _ in range(4))
    packets = [data.take(length) for length in [data.varint() for _ in range(data.varint())]]
    return pictures_of(codec, packets, left, top, columns, rows)


def pictures_of(codec: str, packets: list[bytes], left: int, top: int, columns: int, rows: int) -> Iterator[Any]:
    context = av.CodecContext.create(codec, "r")
    for packet in [*map(av.Packet, packets), None]:
        for picture in context.decode(packet):
            luma, cb, cr = (plane_of(picture, number) for number in range(3))
            cb, cr = (plane.repeat(2, 0).repeat(2, 1) - 128 for plane in (cb, cr))
            blue = luma + (121609 * cb + 32768 >> 16)
            green = luma + (-12276 * cb - 30679 * cr + 32768 >> 16)
            red = luma + (103206 * cr + 32768 >> 16)
            bgr = np.stack((blue, green, red), 2).clip(0, 255).astype(np.uint8)
            yield {
                (top + row, left + column): bgr[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
                for row in range(rows)
                for column in range(columns)
            }


def plane_of(picture: Any, number: int) -> npt.NDArray[np.int64]:
    plane = picture.planes[number]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].astype(np.int64)
