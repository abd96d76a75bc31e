"""Pure: decode a screen section, frame by frame.

Guarantees: what it gives depends on the bytes alone; sizes, counts and lengths are checked against their limits before
anything is allocated; it holds one picture a screen, the remembered tiles (16 MiB) and one batch's script. Does not
guarantee that a section is whole before its last frame was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codec import tiles as tl
from codec.canvas import PhotoReader
from codec.errors import Corrupt, TooLarge, Unsupported
from codec.ink import InkReader
from codec.match import Shelf
from codec.model import Frame
from codec.packed import Cursor
from codec.script import (
    MAX_BATCHES,
    MAX_FRAMES,
    MAX_LIVE_PIXELS,
    MAX_SCREEN,
    MAX_SEGMENTS,
    MAX_SIDE_PX,
    VERSION,
    Kind,
    Step,
    check_size,
    read_script,
)


@dataclass(frozen=True, slots=True)
class _Head:
    screen: int
    raster: tl.Raster


@dataclass(frozen=True, slots=True)
class Listed:
    """A frame without its pixels. Attributes: as codec.model.Frame; width_px, height_px: its size."""

    t_ms: int
    width_px: int
    height_px: int
    screen: int


def decode_frames(section: bytes) -> Iterator[Frame]:
    """Decode a section, one frame for each one asked for.

    Raises:
        Truncated: the section ends early. Corrupt: it contradicts itself. TooLarge: it states more than the limits.
        Unsupported: it needs a newer reader, or PyAV for its photographs.
    """
    if not section:
        return
    cursor = Cursor(section)
    heads = _read_heads(cursor)
    desk = _Desk(heads)
    t_ms, left = 0, MAX_FRAMES
    for _ in range(cursor.varint(MAX_BATCHES, "the number of batches")):
        steps = read_script(cursor, segment_count=len(heads), max_frames=left)
        ink = InkReader(cursor)
        photos: dict[int, PhotoReader] = {}
        for _ in range(cursor.varint(len(heads), "the number of canvases")):
            segment = cursor.varint(len(heads) - 1, "a segment's number")
            photos[segment] = PhotoReader(cursor, heads[segment].raster)
        for step in steps:
            t_ms += step.elapsed_ms
            left -= 1
            yield Frame(t_ms, desk.draw(step, ink, photos.get(step.segment)), heads[step.segment].screen)
        ink.end()
    cursor.end()


def list_frames(section: bytes) -> Iterator[Listed]:
    """Return when frames were taken and how large they are, without decoding a pixel: some hundred times as fast.

    Raises:
        Truncated, Corrupt, TooLarge, Unsupported: as decode_frames, as far as the pictures are not concerned.
    """
    if not section:
        return
    cursor = Cursor(section)
    heads = _read_heads(cursor)
    t_ms, left = 0, MAX_FRAMES
    for _ in range(cursor.varint(MAX_BATCHES, "the number of batches")):
        steps = read_script(cursor, segment_count=len(heads), max_frames=left)
        InkReader(cursor)
        for _ in range(cursor.varint(len(heads), "the number of canvases")):
            PhotoReader(cursor, heads[cursor.varint(len(heads) - 1, "a segment's number")].raster)
        for step in steps:
            t_ms += step.elapsed_ms
            left -= 1
            head = heads[step.segment]
            yield Listed(t_ms, head.raster.width_px, head.raster.height_px, head.screen)
    cursor.end()


def _read_heads(cursor: Cursor) -> list[_Head]:
    version = cursor.varint()
    if version != VERSION:
        raise Unsupported(f"a screen section of version {version}, and this reader knows {VERSION}: upgrade it")
    heads = []
    for _ in range(cursor.varint(MAX_SEGMENTS, "the number of segments")):
        screen = cursor.varint(MAX_SCREEN, "a screen's number")
        width_px, height_px = cursor.varint(MAX_SIDE_PX, "a width"), cursor.varint(MAX_SIDE_PX, "a height")
        if not width_px or not height_px:
            raise Corrupt("a segment of no pixels", offset=cursor.at)
        check_size(width_px, height_px)
        heads.append(_Head(screen, tl.Raster(width_px, height_px)))
    return heads


class _Desk:
    """The pictures that a section's frames are drawn on, and the tiles remembered of them."""

    def __init__(self, heads: list[_Head]) -> None:
        self._heads = heads
        self._pictures: dict[int, tuple[int, tl.Picture]] = {}
        self._shelf = Shelf()

    def draw(self, step: Step, ink: InkReader, photos: PhotoReader | None) -> npt.NDArray[np.uint8]:
        """Draw a frame; return a copy of it."""
        raster = self._heads[step.segment].raster
        picture = self._picture(step.segment)
        total = int(step.lengths.sum())
        if total > raster.tile_count:
            raise Corrupt(f"a frame of {raster.tile_count} tiles has runs of {total}")
        kinds = np.repeat(step.kinds, step.lengths)
        starts = np.cumsum(step.lengths) - step.lengths

        def where(kind: Kind) -> tuple[tl.Numbers, npt.NDArray[np.int64]]:
            numbers = np.flatnonzero(kinds == kind)
            return numbers, np.searchsorted(starts, numbers, "right") - 1

        copied, run = where(Kind.COPY)
        sources = self._copied(picture, raster, copied, step.values[run]) if len(copied) else None
        filled, run = where(Kind.FILL)
        if len(filled):
            colours = step.values[run, 0].astype(np.uint32) | tl.OPAQUE
            tl.scatter(picture, raster, filled, colours[:, None, None])
        if sources is not None:
            tl.scatter(picture, raster, copied, sources)
        inked, _ = where(Kind.INK)
        if len(inked):
            tl.scatter(picture, raster, inked, ink.read(len(inked)))
        photographed, _ = where(Kind.PHOTO)
        if len(photographed):
            if photos is None:
                raise Corrupt("a frame shows a photograph, and its segment has no canvas")
            tl.scatter(picture, raster, photographed, photos.read(photographed))
        remembered = np.flatnonzero((kinds == Kind.COPY) | (kinds == Kind.INK) | (kinds == Kind.PHOTO))
        if len(remembered):
            self._shelf.remember(tl.gather(picture, raster, remembered))
        recalled, run = where(Kind.RECALL)
        if len(recalled):
            known = self._shelf.recall(step.values[run, 0] + recalled - starts[run])
            if known is None:
                raise Corrupt("a frame recalls a tile that is not remembered")
            tl.scatter(picture, raster, recalled, known)
        return tl.unload(picture, raster)

    def _picture(self, segment: int) -> tl.Picture:
        screen, raster = self._heads[segment].screen, self._heads[segment].raster
        current = self._pictures.get(screen)
        if current is not None and current[0] == segment:
            return current[1]
        if current is not None and current[0] > segment:
            raise Corrupt(f"a frame of segment {segment} comes after one of segment {current[0]}, which replaced it")
        live = sum(picture.size for one, (_, picture) in self._pictures.items() if one != screen)
        pixels = live + raster.tile_count * tl.TILE_PX**2
        if pixels > MAX_LIVE_PIXELS:
            raise TooLarge("the pixels of all screens", actual=pixels, limit=MAX_LIVE_PIXELS)
        self._pictures[screen] = segment, raster.blank()
        return self._pictures[screen][1]

    @staticmethod
    def _copied(picture: tl.Picture, raster: tl.Raster, numbers: tl.Numbers, moves: npt.NDArray[np.int64]) -> tl.Tiles:
        top, left = raster.corners(numbers)
        row, column = top + moves[:, 1], left + moves[:, 0]
        height_px, width_px = picture.shape
        if (
            row.min() < 0
            or column.min() < 0
            or row.max() > height_px - tl.TILE_PX
            or column.max() > width_px - tl.TILE_PX
        ):
            raise Corrupt("a frame copies from beside its picture")
        tiles: tl.Tiles = tl.windows(picture)[row, column]
        return tiles
