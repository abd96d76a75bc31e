"""Pure: new tiles of few colours (text, lines, icons), by their pixels.

They are read column by column: a glyph that comes again then repeats as one run of bytes wherever it stands in its
line, and LZMA finds it. A pixel is one byte, an index into the batch's palette; 255 escapes to a colour of its own.

Guarantees: with a tolerance of 0 every pixel comes back exactly; with more, no channel of a pixel is further off than
that.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import zstandard

from codec.errors import Corrupt
from codec.packed import Cursor, Unpacker, pack, varint
from codec.tiles import OPAQUE, TILE_PX, Tiles

ESCAPE = 255
BGR = np.uint32(0xFFFFFF)
TILE_PIXELS = TILE_PX * TILE_PX
PIECE_TILES = 1024
"""How many tiles are held as they are before they are compressed for the wait: 1 MiB."""
MAX_RAW_BYTES = 1 << 32
"""Of a batch's index stream: 16 M tiles. It is unpacked frame by frame, so this bounds time, not memory."""
EXACT_COLOURS = 160
"""The commonest colours (backgrounds, text) are never merged, whatever the tolerance: a background must not show
seams."""
MAX_MERGED_COLOURS = 1 << 16
TABLE_BITS = 18
"""Of the table of colours: 1.3 MB. With 17 a frame's bytes grow by 0.3 %, since more of the rare colours find their place taken."""


class Ink:
    """Collects a batch's tiles, compressed lightly, until the palette can be chosen for all of them."""

    def __init__(self) -> None:
        self.tile_count = 0
        self.held_bytes = 0
        self._pieces: list[bytes] = []
        self._loose: list[Tiles] = []
        self._loose_tiles = 0
        self._squeeze = zstandard.ZstdCompressor(level=1)

    def add(self, tiles: Tiles) -> None:
        """Take tiles; the decoder gives them back in this order."""
        if not len(tiles):
            return
        self.tile_count += len(tiles)
        self._loose.append(tiles)
        self._loose_tiles += len(tiles)
        self.held_bytes += len(tiles) * 128  # until the piece is compressed, about what it will be
        if self._loose_tiles >= PIECE_TILES:
            self._close_piece()

    def finish(self, *, preset: int, tolerance: int) -> bytes:
        """Return the batch's ink: a palette and two packed blocks. The collection is used up.

        Args:
            preset: LZMA's.
            tolerance: by how much a channel of a rare colour may be off, 0-255.
        """
        self._close_piece()
        colours, table = _palette(self._histogram(), tolerance)
        look_up = _Table(*table)
        escaped: list[bytes] = []

        def indexes() -> Iterator[bytes]:
            for piece in self._unsqueezed():
                index = look_up(piece & BGR)
                own = piece[index == ESCAPE]
                escaped.append(own.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
                yield index.tobytes()

        stream = pack(indexes(), preset=preset, most_bytes=self.tile_count * TILE_PX * TILE_PX)
        palette = colours.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        return varint(len(colours)) + palette + stream + pack(escaped, preset=preset, most_bytes=sum(map(len, escaped)))

    def _close_piece(self) -> None:
        if not self._loose:
            return
        columns = np.empty((self._loose_tiles, TILE_PX, TILE_PX), np.uint32)
        np.concatenate([tiles.transpose(0, 2, 1) for tiles in self._loose], out=columns)
        self.held_bytes -= len(columns) * 128
        self._pieces.append(self._squeeze.compress(columns.data))
        self.held_bytes += len(self._pieces[-1])
        self._loose, self._loose_tiles = [], 0

    def _unsqueezed(self) -> Iterator[npt.NDArray[np.uint32]]:
        unsqueeze = zstandard.ZstdDecompressor()
        for piece in self._pieces:
            yield np.frombuffer(unsqueeze.decompress(piece), np.uint32)

    def _histogram(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        colours, counts = np.empty(0, np.uint32), np.empty(0, np.int64)
        for piece in self._unsqueezed():
            some, number = np.unique(piece & BGR, return_counts=True)
            both = np.concatenate((colours, some))
            colours, where = np.unique(both, return_inverse=True)
            counts = np.bincount(where, weights=np.concatenate((counts, number)), minlength=len(colours)).astype(
                np.int64
            )
        return colours, counts


class _Table:
    """From colours to indexes, vectorised: a hash table with one place a hash. Who finds theirs taken is escaped."""

    def __init__(self, colours: npt.NDArray[np.uint32], indexes: npt.NDArray[np.uint8]) -> None:
        self._colours = np.full(1 << TABLE_BITS, 1 << 24, np.uint32)  # no colour has 25 bits
        self._indexes = np.full(1 << TABLE_BITS, ESCAPE, np.uint8)
        place = self._place(colours[::-1])  # the commonest last, so that it keeps its place
        self._colours[place] = colours[::-1]
        self._indexes[place] = indexes[::-1]

    def __call__(self, colours: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
        place = self._place(colours)
        index = self._indexes[place]
        index[self._colours[place] != colours] = ESCAPE
        return index

    @staticmethod
    def _place(colours: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        return colours * np.uint32(0x9E3779B1) >> np.uint32(32 - TABLE_BITS)


def _palette(
    histogram: tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]], tolerance: int
) -> tuple[npt.NDArray[np.uint32], tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]]:
    """Choose at most 255 colours; return them, and which colours go to which index."""
    colours, counts = histogram
    order = np.argsort(-counts, kind="stable")
    ranked = colours[order]
    chosen = ranked[:ESCAPE]
    if not tolerance or len(ranked) <= ESCAPE:
        return chosen, (chosen, np.arange(len(chosen), dtype=np.uint8))
    channels = ranked[:MAX_MERGED_COLOURS].view(np.uint8).reshape(-1, 4)[:, :3].astype(np.int16).T.copy()
    index = np.full(channels.shape[1], ESCAPE, np.uint8)
    picked = list(range(EXACT_COLOURS))
    index[:EXACT_COLOURS] = picked
    free = np.arange(EXACT_COLOURS, len(index))
    while len(free) and len(picked) < ESCAPE:
        near = _distance(channels[:, free], channels[:, free[:1]]) <= tolerance
        index[free[near]] = len(picked)
        picked.append(int(free[0]))
        free = free[~near]
    # What no later pick took may lie near one of the exact colours, or nearer to another pick than to its own.
    chosen = ranked[picked]
    palette = channels[:, picked]
    for start in range(EXACT_COLOURS, len(index), 2048):
        some = np.arange(start, min(start + 2048, len(index)))
        distance = _distance(channels[:, some, None], palette[:, None])
        best = distance.argmin(axis=1)
        index[some] = np.where(distance[np.arange(len(some)), best] <= tolerance, best, ESCAPE)
    kept = index != ESCAPE
    return chosen, (ranked[: len(index)][kept], index[kept])


def _distance(one: npt.NDArray[np.int16], other: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Return by how much colours (channel first) differ in the channel that differs most."""
    # Channel by channel: over an axis of three a maximum takes ten times as long.
    blue, green, red = (np.abs(a - b) for a, b in zip(one, other, strict=True))
    distance: npt.NDArray[np.int16] = np.maximum(np.maximum(blue, green), red)
    return distance


class InkReader:
    """Gives a batch's tiles back."""

    def __init__(self, cursor: Cursor) -> None:
        count = cursor.varint(ESCAPE, "the number of colours")
        palette = np.frombuffer(cursor.take(3 * count), np.uint8).reshape(-1, 3).astype(np.uint32)
        self._known = count
        self._colours = np.full(256, OPAQUE, np.uint32)
        self._colours[:count] |= palette[:, 0] | palette[:, 1] << 8 | palette[:, 2] << 16
        self._indexes: Unpacker = cursor.block(MAX_RAW_BYTES, "the ink")
        self._escaped: Unpacker = cursor.block(3 * MAX_RAW_BYTES, "the ink's own colours")

    def read(self, count: int) -> Tiles:
        """Return the next tiles."""
        index = np.frombuffer(self._indexes.read(count * TILE_PIXELS), np.uint8)
        pixels = self._colours[index]
        own = np.flatnonzero(index == ESCAPE)
        if self._known < ESCAPE and bool(((index >= self._known) & (index != ESCAPE)).any()):
            raise Corrupt("the ink uses a colour that its palette does not have")
        if len(own):
            colour = np.frombuffer(self._escaped.read(3 * len(own)), np.uint8).reshape(-1, 3).astype(np.uint32)
            pixels[own] = OPAQUE | colour[:, 0] | colour[:, 1] << 8 | colour[:, 2] << 16
        return pixels.reshape(count, TILE_PX, TILE_PX).transpose(0, 2, 1)

    def end(self) -> None:
        """Check that every tile was used."""
        if self._indexes.left_bytes or self._escaped.left_bytes:
            raise Corrupt("the ink holds more tiles than the frames use")
