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

__all__ = ["Effort", "ScreenEncoder", "decode_frames", "list_frames"]

if TYPE_CHECKING:
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


class ScreenEncoder:
    """Takes frames one by one, gives one section.

    `add` costs some milliseconds, `finish` some hundred: run both in an executor. Frames are read during `add` only.
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

    @property
    def pending_bytes(self) -> int:
        """An estimate of the section's size so far."""
        photos = sum(segment.photos.expected_bytes for segment in self._photographed)
        return sum(map(len, self._batches)) + self._ink.held_bytes // 2 + photos + self._script.raw_bytes // 8

    def add(self, frame: Frame) -> bool:
        """Take a frame.

        Returns:
            False when it shows what the one before of its screen showed: then nothing is stored.

        Raises:
            TooLarge: it, or all screens together, have more pixels than the format carries, or the section has its most
            frames. Unsupported: it is no picture: not uint8 (H, W, 4) with H, W >= 1.
        """
        if self._finished:
            raise RuntimeError("add() after finish()")
        segment = self._segment_of(frame)
        before, after, raster = segment.before, segment.after, segment.raster
        numbers = tl.renew(frame.pixels, before, after)
        fresh = segment.number == len(self._heads)
        if not len(numbers) and not fresh:
            return False
        if self._frame_count >= MAX_FRAMES:
            raise TooLarge("the number of frames in a section", actual=self._frame_count + 1, limit=MAX_FRAMES)
        if fresh:
            self._heads.append((frame.screen, raster.width_px, raster.height_px))
            self._current[frame.screen] = segment
        op = self._explain(segment, numbers, tl.gather(after, raster, numbers))
        self._script.add(segment.number, frame.t_ms - self._latest_ms, op)
        self._latest_ms = frame.t_ms
        self._frame_count += 1
        segment.before, segment.after = after, before
        held = self._ink.held_bytes + sum(one.photos.held_bytes for one in self._photographed)
        if held > HELD_BYTES or self._script.raw_bytes > MAX_SCRIPT_BYTES // 2:
            self._close_batch()
        return True

    def finish(self) -> bytes:
        """Return the section; b"" when no frame was taken. The encoder is used up."""
        self._finished = True
        if not self._frame_count:
            return b""
        self._current.clear()  # the pictures, before the memory that encoding takes
        self._close_batch()
        head = [varint(VERSION), varint(len(self._heads))]
        head += [varint(number) for one in self._heads for number in one]
        head.append(varint(len(self._batches)))
        return b"".join(head + self._batches)

    def _segment_of(self, frame: Frame) -> _Segment:
        pixels = frame.pixels
        if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8 or not pixels.size:
            raise Unsupported(f"a frame is uint8 BGRA of (H, W, 4), not {pixels.dtype} {pixels.shape}")
        if not 0 <= frame.screen <= MAX_SCREEN:
            raise Unsupported(f"screen {frame.screen}: screens count from 0 to {MAX_SCREEN}")
        height_px, width_px = pixels.shape[:2]
        check_size(width_px, height_px)
        raster = tl.Raster(width_px, height_px)
        segment = self._current.get(frame.screen)
        if segment is not None and segment.raster == raster:
            return segment
        if len(self._heads) >= MAX_SEGMENTS:
            raise TooLarge("the number of display sizes in a section", actual=len(self._heads) + 1, limit=MAX_SEGMENTS)
        others = sum(one.before.size for screen, one in self._current.items() if screen != frame.screen)
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
