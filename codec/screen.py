"""Pure: the screenshots of a chunk as one section of bytes; `docs/format-screen.md` specifies it.

Guarantees: every frame is reached by decoding its own section; times, sizes and screens come back exactly; so does
every pixel of text, lines and icons, within the effort's tolerance. Photographs are lossy. What is copied later is
copied from the decoder's own picture, so nothing drifts. Memory: two pictures a display, and at most HELD_BYTES of what
waits for the end.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from codec import tiles as tl
from codec.canvas import Photos
from codec.errors import TooLarge, Unsupported
from codec.ink import Ink
from codec.match import Memory, moves
from codec.model import Frame
from codec.packed import varint
from codec.picture import decode_frames, list_frames
from codec.script import (
    MAX_FRAMES,
    MAX_LIVE_PIXELS,
    MAX_SCREEN,
    MAX_SCRIPT_BYTES,
    MAX_SEGMENTS,
    VERSION,
    Kind,
    Op,
    ScriptWriter,
    check_size,
)
from codec.video import Bitstream

__all__ = ["Effort", "FrameWriter", "ScreenEncoder", "decode_frames", "list_frames"]

if TYPE_CHECKING:
    import numpy.typing as npt

    from codec.tiles import Numbers, Picture, Raster, Tiles

HELD_BYTES = 24 << 20
"""What waits (new tiles, lightly compressed) until it is encoded as a batch. An hour's text fits; video fills it in
seconds."""


class Effort(IntEnum):
    """How hard to try: the governor's choice between energy and bytes."""

    FAST = 0  # quick LZMA, x264 for photographs
    SMALL = 1  # LZMA at its most thorough, SVT-AV1 for photographs


@dataclass(frozen=True, slots=True)
class _Way:
    preset: int
    bitstream: Bitstream
    tolerance: int


_WAYS = {
    Effort.FAST: _Way(2, Bitstream.H264, 4),
    Effort.SMALL: _Way(9 | lzma.PRESET_EXTREME, Bitstream.AV1, 8),
}


@dataclass(slots=True)
class _Segment:
    number: int
    raster: Raster
    before: Picture
    after: Picture
    drawn: bool = False
    photos: Photos = field(init=False)

    def __post_init__(self) -> None:
        self.photos = Photos(self.raster)


class FrameWriter:
    """A frame that comes in strips. It is no part of the section until `ScreenEncoder.keep`; until then it may be dropped.

    Made by `ScreenEncoder.write`.
    """

    def __init__(self, segment: _Segment, screen: int) -> None:
        self._segment, self._screen = segment, screen
        self._filled_px = 0
        self._changed: list[Numbers] = []

    def strip(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Take the next rows.

        Args:
            pixels: uint8 BGRA (h, W, 4), of any strides; h a multiple of TILE_PX but for the last strip. Not kept.

        Raises:
            Unsupported: it does not fit.
        """
        raster, top = self._segment.raster, self._filled_px
        if pixels.ndim != 3 or pixels.shape[1:] != (raster.width_px, 4) or pixels.dtype != np.uint8:
            raise Unsupported(f"a strip is uint8 BGRA of (h, {raster.width_px}, 4), not {pixels.dtype} {pixels.shape}")
        bottom = top + len(pixels)
        if top % tl.TILE_PX or not top < bottom <= raster.height_px:
            raise Unsupported(f"rows {top} to {bottom} of a frame of {raster.height_px}: strips are of whole tiles")
        rows = slice(top, -(-bottom // tl.TILE_PX) * tl.TILE_PX)
        numbers = tl.renew(pixels, self._segment.before[rows], self._segment.after[rows])
        self._changed.append(numbers + top // tl.TILE_PX * raster.columns)
        self._filled_px = bottom

    @property
    def raw_bytes(self) -> int:
        """The frame's pixels in memory, as BGRA."""
        return 4 * self._segment.raster.width_px * self._segment.raster.height_px

    def changed(self) -> tuple[_Segment, int, Numbers]:
        """Return the frame's segment, its screen, and the tiles in which it differs from the one before."""
        if self._filled_px != self._segment.raster.height_px:
            raise ValueError(f"{self._filled_px} of {self._segment.raster.height_px} rows of the frame have come")
        return self._segment, self._screen, np.concatenate(self._changed)


class ScreenEncoder:
    """Takes frames one by one, gives one section.

    A frame costs some milliseconds, `finish` some hundred: run both in an executor. Pixels are read when they are given.
    """

    def __init__(self, *, effort: Effort) -> None:
        self._way = _WAYS[effort]
        self._heads: list[tuple[int, int, int]] = []
        self._current: dict[int, _Segment] = {}
        self._memory = Memory()
        self._frame_count = 0
        self._latest_ms = 0
        self._batches: list[bytes] = []
        self._script = ScriptWriter()
        self._ink = Ink()
        self._photographed: list[_Segment] = []
        self._finished = False
        self._writer: FrameWriter | None = None

    @property
    def pending_bytes(self) -> int:
        """An estimate of the section's size so far."""
        photos = sum(segment.photos.expected_bytes for segment in self._photographed)
        return sum(map(len, self._batches)) + self._ink.held_bytes // 2 + photos + self._script.raw_bytes // 8

    def add(self, frame: Frame) -> bool:
        """Take a frame.

        Returns, Raises:
            as `keep` does; TooLarge, Unsupported: also as `write` does.
        """
        pixels = frame.pixels
        if pixels.ndim != 3:
            raise Unsupported(f"a frame is uint8 BGRA of (H, W, 4), not {pixels.dtype} {pixels.shape}")
        height_px, width_px = pixels.shape[:2]
        writer = self.write(width_px, height_px, screen=frame.screen)
        writer.strip(pixels)
        return self.keep(writer, frame.t_ms)

    def write(self, width_px: int, height_px: int, *, screen: int = 0) -> FrameWriter:
        """Begin a frame; one that was begun before and not kept is dropped by that.

        Raises:
            TooLarge: it, or all screens together, have more pixels than the format carries. Unsupported: it has no pixels,
            or there is no such screen.
        """
        if self._finished:
            raise RuntimeError("a frame after finish()")
        self._writer = FrameWriter(self._segment_of(width_px, height_px, screen), screen)
        return self._writer

    def keep(self, writer: FrameWriter, t_ms: int) -> bool:
        """Add the frame that has been written.

        Args:
            writer: from the last `write`, with all rows. t_ms: when the frame was grabbed.

        Returns:
            False when it shows what the one before of its screen showed: then nothing is stored.

        Raises:
            TooLarge: the section has its most frames. ValueError: rows are missing, or another frame was begun since.
        """
        if writer is not self._writer:
            raise ValueError("another frame was begun since")
        segment, screen, numbers = writer.changed()
        self._writer = None
        before, after, raster = segment.before, segment.after, segment.raster
        fresh = segment.number == len(self._heads)
        if not len(numbers) and not fresh:
            return False
        if self._frame_count >= MAX_FRAMES:
            raise TooLarge("the number of frames in a section", actual=self._frame_count + 1, limit=MAX_FRAMES)
        if fresh:
            self._heads.append((screen, raster.width_px, raster.height_px))
            self._current[screen] = segment
        op = self._explain(segment, numbers, tl.gather(after, raster, numbers))
        self._script.add(segment.number, t_ms - self._latest_ms, op)
        self._latest_ms = t_ms
        self._frame_count += 1
        segment.before, segment.after = after, before
        held = self._ink.held_bytes + sum(one.photos.held_bytes for one in self._photographed)
        if held > HELD_BYTES or self._script.raw_bytes > MAX_SCRIPT_BYTES // 2:
            self._close_batch()
        return True

    def finish(self) -> bytes:
        """Return the section; b"" when no frame was taken. The encoder is used up."""
        self._finished, self._writer = True, None
        if not self._frame_count:
            return b""
        self._current.clear()  # the pictures, before the memory that encoding takes
        self._close_batch()
        head = [varint(VERSION), varint(len(self._heads))]
        head += [varint(number) for one in self._heads for number in one]
        head.append(varint(len(self._batches)))
        return b"".join(head + self._batches)

    def _segment_of(self, width_px: int, height_px: int, screen: int) -> _Segment:
        if not 0 <= screen <= MAX_SCREEN:
            raise Unsupported(f"screen {screen}: screens count from 0 to {MAX_SCREEN}")
        if min(width_px, height_px) < 1:
            raise Unsupported(f"a frame of {width_px} x {height_px} pixels")
        check_size(width_px, height_px)
        raster = tl.Raster(width_px, height_px)
        segment = self._current.get(screen)
        if segment is not None and segment.raster == raster:
            return segment
        if len(self._heads) >= MAX_SEGMENTS:
            raise TooLarge("the number of display sizes in a section", actual=len(self._heads) + 1, limit=MAX_SEGMENTS)
        others = sum(one.before.size for number, one in self._current.items() if number != screen)
        blank = raster.blank()
        if others + blank.size > MAX_LIVE_PIXELS:
            raise TooLarge("the pixels of all screens", actual=others + blank.size, limit=MAX_LIVE_PIXELS)
        return _Segment(len(self._heads), raster, blank, blank.copy())

    def _explain(self, segment: _Segment, numbers: Numbers, tiles: Tiles) -> Op:
        """Say of every changed tile where a decoder gets it from; keep what is new."""
        raster = segment.raster
        op = Op(raster.tile_count)
        fill = tl.is_fill(tiles)
        op.set(numbers[fill], Kind.FILL, tiles[fill, 0, 0].astype(np.int64) & 0xFFFFFF)

        drawn = np.flatnonzero(~fill)
        hashes = _hashes(tiles, drawn)
        # Slots that this frame's own tiles may push out are not referred to.
        oldest = self._memory.count + len(drawn) - self._memory.capacity
        known = [self._memory.find(one, oldest) for one in hashes]
        recalled = [n for n, slot in enumerate(known) if slot is not None]
        slots = np.array([known[n] for n in recalled], np.int64)
        op.recall(numbers[drawn[recalled]], slots)

        unknown = np.array([n for n, slot in enumerate(known) if slot is None], np.int64)
        left = drawn[unknown]
        # Before a segment's first frame nothing stood there.
        sought = left if segment.drawn else left[:0]
        segment.drawn = True
        moved = np.zeros(len(left), np.bool_)
        moved[: len(sought)], dx, dy = moves(segment.before, segment.after, raster, numbers[sought], tiles[sought])
        found = moved[: len(sought)]
        op.copy(numbers[left[moved]], dx[found], dy[found])

        # Twins within the frame: the first is drawn, the others are recalled.
        firsts: dict[int, int] = {hashes[n]: n for n in reversed(unknown[moved].tolist())}
        new: list[int] = []
        twins: list[int] = []
        for n in unknown[~moved].tolist():
            if firsts.setdefault(hashes[n], n) == n:
                new.append(n)
            else:
                twins.append(n)
        fresh = numbers[drawn[new]]
        looks = tiles[drawn[new]]
        photo = tl.is_photo(looks, raster, fresh)
        op.set(fresh, Kind.INK)
        if photo.any():
            op.set(fresh[photo], Kind.PHOTO)
            if not len(segment.photos):
                self._photographed.append(segment)
            segment.photos.add(fresh[photo], looks[photo])
            looks = looks[~photo]
        self._ink.add(looks)

        number_of = {}
        for n in sorted([*unknown[moved].tolist(), *new]):
            number_of[n] = self._memory.remember(hashes[n])
        op.recall(numbers[drawn[twins]], np.array([number_of[firsts[hashes[n]]] for n in twins], np.int64))
        return op

    def _close_batch(self) -> None:
        """Encode what waits."""
        way = self._way
        photos = [varint(len(self._photographed))]
        for segment in sorted(self._photographed, key=lambda one: one.number):
            photos += [varint(segment.number), segment.photos.finish(bitstream=way.bitstream)]
            segment.photos = Photos(segment.raster)
        ink = self._ink.finish(preset=way.preset, tolerance=way.tolerance)
        self._batches.append(b"".join([self._script.finish(preset=way.preset), ink, *photos]))
        self._script, self._ink, self._photographed = ScriptWriter(), Ink(), []


def _hashes(tiles: Tiles, places: Numbers) -> list[int]:
    try:
        from xxhash import xxh3_64_intdigest as digest
    except ImportError as error:
        raise Unsupported("recording screenshots needs xxhash: install modicum[agent]") from error
    return [digest(tiles[place]) for place in places.tolist()]
