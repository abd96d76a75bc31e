"""Pure: a picture as a raster of 16x16 tiles: what differs, what is of one colour, what is a photograph.

Pictures here are uint32 (H, W), one BGRA pixel each with the fourth byte 255, padded with opaque black to whole tiles.
A tile's number counts in raster order from the top left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

TILE_PX = 16
"""Measured with 8, 16, 32 and 64: smaller costs more commands, taller breaks the repeats that the ink coder lives
on."""

STRIP_PX = 4 * TILE_PX
"""Height of the strips in which pictures are looked through."""

OPAQUE = np.uint32(0xFF000000)

Picture = npt.NDArray[np.uint32]
"""uint32 (H, W), H and W multiples of TILE_PX."""
Tiles = npt.NDArray[np.uint32]
"""uint32 (n, TILE_PX, TILE_PX): tile, row, column."""
Numbers = npt.NDArray[np.int64]
"""int64 (n,): numbers of tiles."""


@dataclass(frozen=True, slots=True)
class Raster:
    """The tiling of a display.

    Attributes:
        width_px, height_px: the display's size, 1 or more.
    """

    width_px: int
    height_px: int

    @property
    def columns(self) -> int:
        """How many tiles lie side by side."""
        return -(-self.width_px // TILE_PX)

    @property
    def rows(self) -> int:
        """How many tiles lie below each other."""
        return -(-self.height_px // TILE_PX)

    @property
    def tile_count(self) -> int:
        """How many tiles there are."""
        return self.columns * self.rows

    def blank(self) -> Picture:
        """Return the picture that every segment starts from: opaque black."""
        return np.full((self.rows * TILE_PX, self.columns * TILE_PX), OPAQUE, np.uint32)

    def corners(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Return the top rows and left columns (px) of tiles."""
        row, column = np.divmod(numbers, self.columns)
        return row * TILE_PX, column * TILE_PX


def renew(pixels: npt.NDArray[np.uint8], before: Picture, after: Picture) -> Numbers:
    """Copy a frame into a picture of its raster, made opaque; the padding stays.

    Both is done strip by strip, so that what was just written is compared while the processor still holds it, and nothing
    is allocated that is larger than a strip.

    Args:
        pixels: uint8 BGRA (H, W, 4), of any strides.
        before: the picture before it. after: written.

    Returns:
        The numbers of the tiles in which the two pictures differ.
    """
    height_px, width_px = pixels.shape[:2]
    packed = np.ascontiguousarray(pixels).reshape(height_px, width_px * 4).view(np.uint32)
    differ = []
    for top in range(0, len(after), STRIP_PX):
        old, new, part = (one[top : top + STRIP_PX] for one in (before, after, packed))
        np.bitwise_or(part, OPAQUE, out=new[: len(part), :width_px])
        differs = old.view(np.uint64) != new.view(np.uint64)
        eights = differs.view(np.uint64)  # one word per tile and row: 8 comparisons of 2 pixels
        differ.append(np.bitwise_or.reduce(eights.reshape(-1, TILE_PX, eights.shape[1]), axis=1))
    numbers: Numbers = np.flatnonzero(np.concatenate(differ))
    return numbers


def unload(picture: Picture, raster: Raster) -> npt.NDArray[np.uint8]:
    """Return a picture's frame: a new uint8 BGRA array (H, W, 4) without the padding."""
    cut = picture[: raster.height_px, : raster.width_px].copy()
    return cut.view(np.uint8).reshape(raster.height_px, raster.width_px, 4)


def by_tile(picture: Picture) -> npt.NDArray[np.uint32]:
    """Return a writable view (rows, columns, TILE_PX, TILE_PX) of a picture."""
    height_px, width_px = picture.shape
    split = picture.reshape(height_px // TILE_PX, TILE_PX, width_px // TILE_PX, TILE_PX)
    return split.transpose(0, 2, 1, 3)


def windows(picture: Picture) -> npt.NDArray[np.uint32]:
    """Return a read-only view (H - 15, W - 15, TILE_PX, TILE_PX): the tile-sized window at every pixel."""
    height_px, width_px = picture.shape
    down, across = picture.strides
    shape = (height_px - TILE_PX + 1, width_px - TILE_PX + 1, TILE_PX, TILE_PX)
    return as_strided(picture, shape, (down, across, down, across), writeable=False)


def gather(picture: Picture, raster: Raster, numbers: Numbers) -> Tiles:
    """Return copies of tiles."""
    row, column = np.divmod(numbers, raster.columns)
    return by_tile(picture)[row, column]


def scatter(picture: Picture, raster: Raster, numbers: Numbers, tiles: npt.NDArray[np.uint32]) -> None:
    """Write tiles (or anything that broadcasts to them) into a picture."""
    row, column = np.divmod(numbers, raster.columns)
    by_tile(picture)[row, column] = tiles


def is_fill(tiles: Tiles) -> npt.NDArray[np.bool_]:
    """Return for each tile whether it is of one colour."""
    flat = tiles.reshape(len(tiles), TILE_PX * TILE_PX)
    # Most tiles that are not of one colour show it in a few pixels: only the others are looked at whole.
    maybe: npt.NDArray[np.bool_] = (flat[:, 17::37] == flat[:, :1]).all(axis=1)
    where = np.flatnonzero(maybe)
    maybe[where] = (flat[where] == flat[where, :1]).all(axis=1)
    return maybe


PHOTO_COLOURS = 112
"""A tile with more colours costs more as ink than as video. Antialiased text has up to 60, charts up to 80."""
SMOOTH_COLOURS = 40
SMOOTH_RATIO = 0.35
"""So does one with this many when so few of its pixels equal the one to their left, and so few the one above: what is
drawn has runs of one colour, and so have the gradients of title bars, in one direction; skies and faces have none."""
PHOTO_TILES = 12
"""Fewer in a frame are icons: not worth a video encoder's memory."""
PHOTO_NEIGHBOURS = 2
"""A photograph is larger than a tile: fewer such neighbours make it ink after all."""


def is_photo(tiles: Tiles, raster: Raster, numbers: Numbers) -> npt.NDArray[np.bool_]:
    """Return for each tile whether it looks like a piece of a photograph: many colours, among others like it."""
    ordered = np.sort(tiles.reshape(len(tiles), TILE_PX * TILE_PX), axis=1)
    colours = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
    many: npt.NDArray[np.bool_] = colours > PHOTO_COLOURS
    maybe = np.flatnonzero(~many & (colours > SMOOTH_COLOURS))
    some = tiles[maybe]
    across = (some[:, :, 1:] == some[:, :, :-1]).mean(axis=(1, 2))
    down = (some[:, 1:] == some[:, :-1]).mean(axis=(1, 2))
    many[maybe] = np.maximum(across, down) < SMOOTH_RATIO
    if not many.any():
        return many
    row, column = np.divmod(numbers, raster.columns)
    grid = np.zeros((raster.rows + 2, raster.columns + 2), np.int64)
    grid[row + 1, column + 1] = many
    around = sum(
        grid[row + down, column + across] for down in range(3) for across in range(3) if (down, across) != (1, 1)
    )
    # What lies among photographs and is not plain belongs to them: a video encoder likes whole areas.
    photo: npt.NDArray[np.bool_] = (many & (around >= PHOTO_NEIGHBOURS)) | ((colours > SMOOTH_COLOURS) & (around >= 5))
    if photo.sum() < PHOTO_TILES:
        photo[:] = False
    return photo
