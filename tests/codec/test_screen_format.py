"""A second, slow reader of screen sections, written from docs/format-screen.md alone; it and the codec must agree."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from benches.painted import paint
from codec.model import Frame
from codec.screen import Effort, ScreenEncoder, decode_frames

DOCUMENT = (Path(__file__).resolve().parent.parent.parent / "docs" / "format-screen.md").read_text(encoding="utf-8")
KEEP, FILL, COPY, RECALL, INK, PHOTO = range(6)


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        assert self.at + count <= len(self.data)
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def zigzag(self) -> int:
        value = self.varint()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2

    def block(self) -> Bytes:
        raw_bytes, packed = self.varint(), self.take(self.varint())
        raw = lzma.decompress(packed, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 8 << 20}])
        assert len(raw) == raw_bytes
        return Bytes(raw)


class Canvas:
    def __init__(self, data: Bytes) -> None:
        decoder = {1: "h264", 2: "libdav1d"}[data.varint()]
        self.left, self.top, self.columns, self.rows = (data.varint() for _ in range(4))
        lengths = [data.varint() for _ in range(data.varint())]
        context: Any = av.CodecContext.create(decoder, "r")
        packets = [av.Packet(data.take(length)) for length in lengths]
        self.pictures = iter([picture for packet in [*packets, None] for picture in context.decode(packet)])

    def tile(self, picture: Any, row: int, column: int) -> np.ndarray:
        planes = picture.to_ndarray()
        assert planes.shape == (max(64, 16 * self.rows) * 3 // 2, max(64, 16 * self.columns))
        height, width = picture.height, picture.width
        chroma = planes[height:].reshape(2, height // 2, width // 2)
        tile = np.empty((16, 16, 3), np.uint8)
        for y in range(16):
            for x in range(16):
                down, across = (row - self.top) * 16 + y, (column - self.left) * 16 + x
                luma = int(planes[down, across])
                u, v = int(chroma[0, down // 2, across // 2]) - 128, int(chroma[1, down // 2, across // 2]) - 128
                parts = (121609 * u, -12276 * u - 30679 * v, 103206 * v)
                tile[y, x] = [min(255, max(0, luma + (part + 32768 >> 16))) for part in parts]
        return tile


def slow_frames(section: bytes) -> Iterator[tuple[int, int, np.ndarray]]:
    data = Bytes(section)
    assert data.varint() == 1
    segments = [(data.varint(), data.varint(), data.varint()) for _ in range(data.varint())]
    pictures: dict[int, np.ndarray] = {}
    remembered: list[np.ndarray] = []
    t_ms = 0
    for _ in range(data.varint()):
        script = data.block()
        frame_count = script.varint()
        lengths = [script.varint() for _ in range(6)]
        frames, kinds, runs, fills, copies, recalls = (Bytes(script.take(length)) for length in lengths)
        palette = np.frombuffer(data.take(3 * data.varint()), np.uint8).reshape(-1, 3)
        indexes, escapes = data.block(), data.block()
        canvases = {data.varint(): Canvas(data) for _ in range(data.varint())}
        expected = 0
        for _ in range(frame_count):
            segment = frames.varint()
            t_ms += frames.zigzag()
            screen, width, height = segments[segment]
            columns, rows = -(-width // 16), -(-height // 16)
            picture = pictures.setdefault(segment, np.zeros((rows * 16, columns * 16, 3), np.uint8))
            before, photo = picture.copy(), None
            kept, recalled = [], []
            following = 0
            for _ in range(frames.varint()):
                kind, length = kinds.take(1)[0], runs.varint()
                colour = fills.take(3) if kind == FILL else b""
                dx, dy = (copies.zigzag(), copies.zigzag()) if kind == COPY else (0, 0)
                if kind == RECALL:
                    expected += recalls.zigzag()
                for number in range(following, following + length):
                    y, x = number // columns * 16, number % columns * 16
                    tile = picture[y : y + 16, x : x + 16]
                    if kind == FILL:
                        tile[:] = tuple(colour)
                    elif kind == COPY:
                        tile[:] = before[y + dy : y + dy + 16, x + dx : x + dx + 16]
                    elif kind == RECALL:
                        recalled.append((tile, expected))
                        expected += 1
                    elif kind == INK:
                        for place, index in enumerate(indexes.take(256)):
                            tile[place % 16, place // 16] = tuple(escapes.take(3)) if index == 255 else palette[index]
                    elif kind == PHOTO:
                        photo = photo or next(canvases[segment].pictures)
                        tile[:] = canvases[segment].tile(photo, y // 16, x // 16)
                    if kind in (COPY, INK, PHOTO):
                        kept.append(tile)
                following += length
            remembered += [tile.copy() for tile in kept]
            for tile, slot in recalled:
                assert slot >= len(remembered) - 16384
                tile[:] = remembered[slot]
            yield t_ms, screen, picture[:height, :width].copy()
    assert data.at == len(section)


def agree(section: bytes) -> int:
    count = 0
    for frame, (t_ms, screen, pixels) in zip(decode_frames(section), slow_frames(section), strict=True):
        assert (frame.t_ms, frame.screen) == (t_ms, screen)
        assert np.array_equal(frame.pixels[..., :3], pixels)
        count += 1
    return count


@pytest.mark.parametrize("effort", Effort)
def test_both_readers_agree_on_a_painted_desktop(effort: Effort) -> None:
    encoder = ScreenEncoder(effort=effort)
    stored = 0
    for n, frame in enumerate(paint(width_px=330, height_px=250, frames=24)):
        stored += encoder.add(frame)
        if n % 5 == 0:
            stored += encoder.add(Frame(frame.t_ms, frame.pixels[40 + n : 140, 20:-90], 1))
    kinds = set(bytes(encoder._script._columns[1]))
    assert kinds == {KEEP, FILL, COPY, RECALL, INK, PHOTO}, "the painting should exercise them all"
    assert agree(encoder.finish()) == stored


def test_both_readers_agree_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codec.screen.HELD_BYTES", 20_000)
    encoder = ScreenEncoder(effort=Effort.FAST)
    for frame in paint(width_px=330, height_px=250, frames=12, seed=3):
        encoder.add(frame)
    assert len(encoder._batches) > 1
    agree(encoder.finish())


def test_the_example_of_the_document_is_read_as_it_says() -> None:
    lines = DOCUMENT.split("<!-- example -->")[1].split("```")[1].strip().splitlines()
    hexes = [re.split(r" {3,}", line.strip())[0] for line in lines]
    section = bytes.fromhex("".join(hexes).replace(" ", ""))
    assert agree(section) == 4
    frames = list(decode_frames(section))
    assert [frame.t_ms for frame in frames] == [1000, 3500, 6000, 8000]
    for n, frame in enumerate(frames):
        expected = np.full((20, 40, 4), 255, np.uint8)
        if n % 2:
            expected[4:8, 4:8, :3] = (0, 0, 200)
        assert np.array_equal(frame.pixels, expected)
