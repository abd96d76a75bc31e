"""Pure: new tiles that are pieces of photographs, as video on a canvas.

The canvas is the smallest rectangle of tiles around all of a batch's photographs. Only tiles that are new change on it,
each where it stands on the screen, so that the video encoder sees a picture that mostly stands still; and only frames
that have such tiles become pictures of the stream.

Colour: full-range BT.709 4:2:0, converted here in integers, so that every decoder gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from codec.errors import Corrupt
from codec.packed import Cursor, varint
from codec.tiles import OPAQUE, TILE_PX, Numbers, Raster, Tiles
from codec.video import Bitstream, Planes, VideoDecoder, VideoEncoder

MIN_SIDE_TILES = 4
"""SVT-AV1 encodes nothing smaller than 64 px."""
MAX_PACKETS = 1 << 16
CRFS = {Bitstream.H264: (26, 38, 51), Bitstream.AV1: (26, 44, 63)}
"""The quality, and what is tried when a stream comes out larger than ENOUGH_BYTES: only noise does."""
ENOUGH_BYTES = 3 << 20
SLICE_TILES = 4096
"""How many tiles are converted at once: 4 MiB a channel."""


class Photos:
    """Collects the photographs of a segment's batch, in 4:2:0 and compressed lightly, until their rectangle is
    known."""

    def __init__(self, raster: Raster) -> None:
        self.held_bytes = 0
        self.expected_bytes = 0
        self._raster = raster
        self._pictures: list[tuple[Numbers, bytes]] = []
        self._squeeze = zstandard.ZstdCompressor(level=1)

    def __len__(self) -> int:
        return len(self._pictures)

    def add(self, numbers: Numbers, tiles: Tiles) -> None:
        """Take the photograph tiles of one frame."""
        raw = b"".join(plane.tobytes() for plane in to_yuv(tiles))
        squeezed = self._squeeze.compress(raw)
        # What even zstd cannot shrink is noise, and a video encoder shrinks it little.
        self.expected_bytes += len(squeezed) // (2 if len(squeezed) > len(raw) * 9 // 10 else 12)
        self._pictures.append((numbers, squeezed))
        self.held_bytes += len(squeezed) + numbers.nbytes

    def finish(self, *, bitstream: Bitstream) -> bytes:
        """Return the canvas: its rectangle and its stream. The collection is used up."""
        every = np.concatenate([numbers for numbers, _ in self._pictures])
        row, column = np.divmod(every, self._raster.columns)
        top, left = int(row.min()), int(column.min())
        rows, columns = int(row.max()) - top + 1, int(column.max()) - left + 1
        for crf in CRFS[bitstream]:
            packets = self._encode(bitstream, crf, top, left, rows, columns)
            if sum(map(len, packets)) <= ENOUGH_BYTES:
                break
        head = [varint(number) for number in (bitstream, left, top, columns, rows, len(packets), *map(len, packets))]
        return b"".join(head + packets)

    def _encode(self, bitstream: Bitstream, crf: int, top: int, left: int, rows: int, columns: int) -> list[bytes]:
        planes = blank(rows, columns)
        encoder = VideoEncoder(bitstream, planes[0].shape[1], planes[0].shape[0], crf=crf)
        unsqueeze = zstandard.ZstdDecompressor()
        packets: list[bytes] = []
        for numbers, squeezed in self._pictures:
            raw = np.frombuffer(unsqueeze.decompress(squeezed), np.uint8)
            row, column = np.divmod(numbers, self._raster.columns)
            count, luma, chroma = len(numbers), TILE_PX * TILE_PX, TILE_PX * TILE_PX // 4
            cuts = np.split(raw, [count * luma, count * (luma + chroma)])
            for plane, cut, side in zip(planes, cuts, (TILE_PX, TILE_PX // 2, TILE_PX // 2), strict=True):
                _split(plane, side)[row - top, column - left] = cut.reshape(count, side, side)
            packets += encoder.encode(planes)
        return packets + encoder.finish()


class PhotoReader:
    """Gives a segment's photographs back, one picture of the canvas after the other."""

    def __init__(self, cursor: Cursor, raster: Raster) -> None:
        self._raster = raster
        bitstream = Bitstream.known(cursor.varint())
        self._left, self._top = (
            cursor.varint(raster.columns - 1, "the canvas's left"),
            cursor.varint(raster.rows - 1, "its top"),
        )
        self._columns = cursor.varint(raster.columns - self._left, "the canvas's width")
        self._rows = cursor.varint(raster.rows - self._top, "the canvas's height")
        if not self._columns or not self._rows:
            raise Corrupt("a canvas of no tiles", offset=cursor.at)
        lengths = [cursor.varint() for _ in range(cursor.varint(MAX_PACKETS, "the number of packets"))]
        packets = [bytes(cursor.take(length)) for length in lengths]
        width_px, height_px = size_px(self._rows, self._columns)
        self._pictures: Iterator[tuple[npt.NDArray[np.uint8], ...]] = VideoDecoder(
            bitstream, width_px, height_px
        ).decode(packets)

    def read(self, numbers: Numbers) -> Tiles:
        """Return tiles of the next picture."""
        row, column = np.divmod(numbers, self._raster.columns)
        row, column = row - self._top, column - self._left
        if row.min() < 0 or column.min() < 0 or row.max() >= self._rows or column.max() >= self._columns:
            raise Corrupt("a photograph lies beside its canvas")
        planes = next(self._pictures, None)
        if planes is None:
            raise Corrupt("a canvas has fewer pictures than its frames need")
        sides = (TILE_PX, TILE_PX // 2, TILE_PX // 2)
        return from_yuv(*(_split(plane, side)[row, column] for plane, side in zip(planes, sides, strict=True)))


def size_px(rows: int, columns: int) -> tuple[int, int]:
    """Return the width and height of a canvas of so many tiles."""
    return max(MIN_SIDE_TILES, columns) * TILE_PX, max(MIN_SIDE_TILES, rows) * TILE_PX


def blank(rows: int, columns: int) -> tuple[npt.NDArray[np.uint8], ...]:
    """Return a grey canvas's three planes."""
    width_px, height_px = size_px(rows, columns)
    luma = np.full((height_px, width_px), 128, np.uint8)
    return (
        luma,
        np.full((height_px // 2, width_px // 2), 128, np.uint8),
        np.full((height_px // 2, width_px // 2), 128, np.uint8),
    )


def _split(plane: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    height_px, width_px = plane.shape
    return plane.reshape(height_px // side, side, width_px // side, side).transpose(0, 2, 1, 3)


def to_yuv(tiles: Tiles) -> Planes:
    """Convert tiles to luma (n, 16, 16) and two chromas (n, 8, 8), each of these the mean of four pixels."""
    return _by_slices(_to_yuv, tiles)


def from_yuv(luma: npt.NDArray[np.uint8], cb: npt.NDArray[np.uint8], cr: npt.NDArray[np.uint8]) -> Tiles:
    """Convert luma and chroma tiles to pixels; a chroma sample serves four of them."""
    tiles: Tiles = _by_slices(_from_yuv, luma, cb, cr)[0]
    return tiles


def _by_slices(convert: Callable[..., tuple[Any, ...]], *tiles: npt.NDArray[Any]) -> tuple[Any, ...]:
    if len(tiles[0]) <= SLICE_TILES:
        return convert(*tiles)
    starts = range(0, len(tiles[0]), SLICE_TILES)
    parts = [convert(*(one[start : start + SLICE_TILES] for one in tiles)) for start in starts]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _to_yuv(tiles: Tiles) -> Planes:
    blue, green, red = (tiles >> shift & 0xFF for shift in (0, 8, 16))
    luma = (13933 * red + 46871 * green + 4732 * blue + 32768 >> 16).astype(np.uint8)
    mean = [
        channel.reshape(len(tiles), 8, 2, 8, 2).sum(axis=(2, 4), dtype=np.int32) for channel in (blue, green, red)
    ]  # of four pixels: two bits more
    grey = 13933 * mean[2] + 46871 * mean[1] + 4732 * mean[0] >> 16
    cb = ((mean[0] - grey) * 35318 + (1 << 17) >> 18) + 128
    cr = ((mean[2] - grey) * 41615 + (1 << 17) >> 18) + 128
    return luma, cb.clip(0, 255).astype(np.uint8), cr.clip(0, 255).astype(np.uint8)


def _from_yuv(
    luma: npt.NDArray[np.uint8], cb: npt.NDArray[np.uint8], cr: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint32]]:
    u, v = (plane.astype(np.int32) - 128 for plane in (cb, cr))
    parts = (121609 * u, -12276 * u - 30679 * v, 103206 * v)  # 1.8556, -.1873 and -.4681, 1.5748, times 2**16
    pixels = np.full(luma.shape, OPAQUE, np.uint32)
    for part, shift in zip(parts, (0, 8, 16), strict=True):
        wide = (part + 32768 >> 16).repeat(2, axis=1).repeat(2, axis=2)
        pixels |= (luma + wide).clip(0, 255).astype(np.uint32) << np.uint32(shift)
    return (pixels,)
