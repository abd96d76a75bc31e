"""Pure: what of a new picture was on the screen before: somewhere in the picture before it, or in a tile seen earlier.

Guarantees: a match is exact, pixel by pixel, in what the source gave (by comparison for moves, by a 64-bit hash for
tiles seen earlier). So a decoder that copies its own, perhaps lossy, pixels is as far from the source as when it first
drew them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from codec.tiles import STRIP_PX, TILE_PX, Numbers, Picture, Raster, Tiles, windows

CACHE_TILES = 1 << 14
"""How many tiles are remembered (16 MiB in a decoder)."""

MAX_OFFSETS = 6
"""How many moves of one frame are followed. A scroll is one, a dragged window one, two panes two."""
MIN_VOTES = 4
"""Corners that must agree on a move before it is tried."""
MAX_TWINS = 4
"""A corner that occurs more often in a picture says little about where it went."""
MIN_TILES = 6
"""Fewer unexplained tiles than this cost less as ink than a search costs in CPU."""

ENOUGH_CORNERS = 12_000
"""With more, only those that content chooses are looked at: a share of them finds the same moves."""

SAMPLES = (
    *((0, 1), (1, 2), (0, 4), (3, 0), (3, 5), (6, 1), (6, 7), (10, 3)),
    *((0, 9), (2, 12), (5, 14), (9, 10), (13, 6), (14, 13)),
)
"""Where (down, right of a corner, px) a corner's surroundings are looked at: within a tile's size, so that small things
count, and often enough that text of two colours tells places apart."""
REACH_PX = 14
"""The farthest that SAMPLES reaches."""
FACTORS = tuple(np.uint64(0x9E3779B97F4A7C15 * (2 * n + 1) & (1 << 64) - 1) for n in range(1, len(SAMPLES) + 2))


def strips(raster: Raster, numbers: Numbers) -> Iterator[tuple[int, int, int, int]]:
    """Yield rectangles around tiles (top, bottom, left, right; px), one a strip of the picture.

    Args:
        numbers: of the tiles, one or more, in order.
    """
    top, left = raster.corners(numbers)
    starts = np.flatnonzero(np.diff(top // STRIP_PX, prepend=-1))
    tops, bottoms = top[starts], top[np.append(starts[1:], len(top)) - 1] + TILE_PX
    lefts, rights = np.minimum.reduceat(left, starts), np.maximum.reduceat(left, starts) + TILE_PX
    yield from zip(tops.tolist(), bottoms.tolist(), lefts.tolist(), rights.tolist(), strict=True)


def corners(picture: Picture, raster: Raster, numbers: Numbers) -> npt.NDArray[np.int64]:
    """Return the positions (row * width + column) of a picture's corners in tiles, and in what lies between them.

    A corner is a pixel that differs from its left and its upper neighbour: content decides, not position, so a thing
    that moved shows the same ones.
    """
    height_px, width_px = picture.shape
    found = []
    for top, bottom, left, right in strips(raster, numbers):
        rows = slice(max(top, 1), min(bottom, height_px - REACH_PX))
        columns = slice(max(left, 1), min(right, width_px - REACH_PX))
        inner = picture[rows, columns]
        edge = inner != picture[rows, columns.start - 1 : columns.stop - 1]
        edge &= inner != picture[rows.start - 1 : rows.stop - 1, columns]
        row, column = np.divmod(np.flatnonzero(edge), edge.shape[1])
        found.append((row + rows.start) * width_px + column + columns.start)
    return np.concatenate(found)


def hashes(
    picture: Picture, position: npt.NDArray[np.int64], thin: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return hashes of corners' surroundings, and their positions, of the one in 2**thin corners that content
    chooses."""
    width_px = picture.shape[1]
    flat = picture.reshape(-1)
    value = flat[position] * FACTORS[0]
    for n, (down, across) in enumerate(SAMPLES):
        value += flat[position + (down * width_px + across)] * FACTORS[n + 1]
        value ^= value >> np.uint64(29)
        if n == 1 and thin:
            kept = np.flatnonzero(value * FACTORS[0] >> np.uint64(64 - thin) == 0)
            value, position = value[kept], position[kept]
    return value, position


def offsets(before: Picture, after: Picture, raster: Raster, numbers: Numbers) -> list[tuple[int, int]]:
    """Return the moves (dx, dy) from a place in `after` to where its content lay in `before`, likeliest first.

    Args:
        before, after: two pictures. numbers: the tiles, in order, that are looked at in both.
    """
    old_at, new_at = corners(before, raster, numbers), corners(after, raster, numbers)
    thin = max(0, (max(len(old_at), len(new_at)) // ENOUGH_CORNERS).bit_length())
    old, old_at = hashes(before, old_at, thin)
    new, new_at = hashes(after, new_at, thin)
    if not len(old) or not len(new):
        return []
    order = np.argsort(old)
    old, old_at = old[order], old_at[order]
    low = np.searchsorted(old, new, "left")
    twins = np.searchsorted(old, new, "right") - low
    width_px = before.shape[1]
    votes = []
    for twin in range(MAX_TWINS):
        has = (twins > twin) & (twins <= MAX_TWINS)
        source, target = old_at[low[has] + twin], new_at[has]
        across = source % width_px - target % width_px
        down = source // width_px - target // width_px
        votes.append(down * (4 * width_px) + across)  # one number per move: |across| < width_px
    keys, counts = np.unique(np.concatenate(votes), return_counts=True)
    best = np.argsort(-counts, kind="stable")[: MAX_OFFSETS + 1]
    found = []
    for key, count in zip(keys[best].tolist(), counts[best].tolist(), strict=True):
        down = (key + 2 * width_px) // (4 * width_px)
        across = key - down * 4 * width_px
        if count >= MIN_VOTES and (across or down):
            found.append((across, down))
    return found[:MAX_OFFSETS]


def moves(
    before: Picture, after: Picture, raster: Raster, numbers: Numbers, tiles: Tiles
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Find tiles of a picture somewhere in the picture before it.

    Args:
        before, after: the pictures.
        numbers, tiles: the tiles of `after` that are looked for, n of them.

    Returns:
        found (n,), dx (n,), dy (n,): tile i is what `before` shows dx px further right and dy px further down.
    """
    count = len(numbers)
    found = np.zeros(count, np.bool_)
    dx, dy = np.zeros(count, np.int32), np.zeros(count, np.int32)
    if count < MIN_TILES:
        return found, dx, dy
    top, left = raster.corners(numbers)
    height_px, width_px = before.shape
    everywhere = windows(before)
    for across, down in offsets(before, after, raster, numbers):
        inside = ~found & (top + down >= 0) & (top + down <= height_px - TILE_PX)
        inside &= (left + across >= 0) & (left + across <= width_px - TILE_PX)
        maybe = np.flatnonzero(inside)
        # A diagonal first: most that fail, fail there.
        for step in (slice(5, 6), slice(None)):
            row = everywhere[top[maybe] + down, left[maybe] + across, step]
            maybe = maybe[(row == tiles[maybe, step]).all(axis=(1, 2))]
        found[maybe], dx[maybe], dy[maybe] = True, across, down
        if count - int(found.sum()) < MIN_TILES:
            break
    return found, dx, dy


class Memory:
    """Which tiles a decoder remembers: the encoder's half, hashes for its pixels.

    State: `slots` maps a hash to the number under which the tile was remembered last; `hashes` is the ring; `count`
    numbers the next.
    """

    def __init__(self, capacity: int = CACHE_TILES) -> None:
        self.capacity = capacity
        self.count = 0
        self.slots: dict[int, int] = {}
        self.hashes: list[int] = []

    def find(self, tile_hash: int, oldest: int) -> int | None:
        """Return the number of a tile that is still remembered when `oldest` is the oldest that is."""
        slot = self.slots.get(tile_hash)
        return slot if slot is not None and slot >= oldest else None

    def remember(self, tile_hash: int) -> int:
        """Remember a tile; return its number."""
        slot = self.count
        place = slot % self.capacity
        if place < len(self.hashes):
            forgotten = self.hashes[place]
            if self.slots.get(forgotten) == slot - self.capacity:
                del self.slots[forgotten]
            self.hashes[place] = tile_hash
        else:
            self.hashes.append(tile_hash)
        self.slots[tile_hash] = slot
        self.count += 1
        return slot


class Shelf:
    """The tiles a decoder remembers: its half, pixels by number."""

    def __init__(self, capacity: int = CACHE_TILES) -> None:
        self.capacity = capacity
        self.count = 0
        self._tiles = np.empty((0, TILE_PX, TILE_PX), np.uint32)

    def remember(self, tiles: Tiles) -> None:
        """Remember tiles under the next numbers. More than the capacity at once: only the last of them stay."""
        numbers = np.arange(self.count, self.count + len(tiles))
        self.count += len(tiles)
        wanted = min(self.count, self.capacity)
        if wanted > len(self._tiles):
            grown = np.empty((min(self.capacity, max(wanted, 2 * len(self._tiles))), TILE_PX, TILE_PX), np.uint32)
            grown[: len(self._tiles)] = self._tiles
            self._tiles = grown
        kept = slice(max(0, len(tiles) - self.capacity), None)
        self._tiles[numbers[kept] % self.capacity] = tiles[kept]

    def recall(self, numbers: Numbers) -> Tiles | None:
        """Return remembered tiles by number, or None when one of them is not remembered (any more)."""
        if len(numbers) and (numbers.min() < max(0, self.count - self.capacity) or numbers.max() >= self.count):
            return None
        return self._tiles[numbers % self.capacity]
