"""Pure: the screenshots of a chunk as one section of bytes.

Guarantees: every frame is reached by decoding its own section; times, sizes and screens come back exactly; decoding holds
one picture a display, whatever the section's length. Does not guarantee exact pixels: what is new is lossy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from codec.errors import Corrupt, TooLarge, Truncated, Unsupported
from codec.model import Frame
from codec.video import Bitstream, VideoEncoder, decode_stream

VERSION = 0
MAX_SIDE_PX = 16384
MAX_PIXELS = 7680 * 4320
MAX_FRAMES = 4096
MAX_SEGMENTS = 256


class Effort(IntEnum):
    """How hard to try: the governor's choice between energy and bytes."""

    FAST = 0  # x264
    SMALL = 1  # SVT-AV1


@dataclass(slots=True)
class _Segment:
    screen: int
    width_px: int
    height_px: int
    encoder: VideoEncoder | None
    previous: npt.NDArray[np.uint8]
    packets: list[bytes] = field(default_factory=list)


class ScreenEncoder:
    """Takes frames one by one, gives one section."""

    def __init__(self, *, effort: Effort) -> None:
        self._bitstream = Bitstream.AV1 if effort == Effort.SMALL else Bitstream.H264
        self._segments: list[_Segment] = []
        self._current: dict[int, int] = {}
        self._order: list[tuple[int, int]] = []
        self._bytes = 0

    @property
    def pending_bytes(self) -> int:
        """An estimate of the section's size so far."""
        return self._bytes

    def add(self, frame: Frame) -> bool:
        """Take a frame.

        Returns:
            False when it shows what the one before of its screen showed: then nothing is stored.

        Raises:
            TooLarge: it has more pixels than the format carries.
            Unsupported: it is no picture: not uint8 (H, W, 4) with H, W >= 1.
        """
        pixels = frame.pixels
        if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8 or not pixels.size:
            raise Unsupported(f"a frame is uint8 BGRA of (H, W, 4), not {pixels.dtype} {pixels.shape}")
        height_px, width_px = pixels.shape[:2]
        _check_size(width_px, height_px)
        index = self._current.get(frame.screen)
        segment = None if index is None else self._segments[index]
        if segment is None or (segment.width_px, segment.height_px) != (width_px, height_px):
            if segment is not None and segment.encoder is not None:
                self._keep(segment, segment.encoder.finish())
                segment.encoder = None
            index = self._current[frame.screen] = len(self._segments)
            encoder = VideoEncoder(self._bitstream, *_padded(width_px, height_px))
            segment = _Segment(frame.screen, width_px, height_px, encoder, pixels.copy())
            self._segments.append(segment)
        elif np.array_equal(segment.previous[..., :3], pixels[..., :3]):
            return False
        else:
            segment.previous[...] = pixels
        if index is None or segment.encoder is None:
            raise RuntimeError("add() after finish()")
        padded_width_px, padded_height_px = _padded(width_px, height_px)
        canvas = np.pad(
            pixels, ((0, padded_height_px - height_px), (0, padded_width_px - width_px), (0, 0)), mode="edge"
        )
        self._keep(segment, segment.encoder.encode(canvas))
        self._order.append((frame.t_ms, index))
        return True

    def finish(self) -> bytes:
        """Return the section; b"" when no frame was taken. The encoder is used up."""
        if not self._order:
            return b""
        for segment in self._segments:
            if segment.encoder is not None:
                self._keep(segment, segment.encoder.finish())
                segment.encoder = None
        parts = [struct.pack("<BBHI", VERSION, self._bitstream, len(self._segments), len(self._order))]
        for segment in self._segments:
            parts.append(
                struct.pack("<BHHI", segment.screen, segment.width_px, segment.height_px, len(segment.packets))
            )
            parts.append(struct.pack(f"<{len(segment.packets)}I", *map(len, segment.packets)))
        parts += [struct.pack("<qH", t_ms, index) for t_ms, index in self._order]
        parts += [packet for segment in self._segments for packet in segment.packets]
        return b"".join(parts)

    def _keep(self, segment: _Segment, packets: list[bytes]) -> None:
        segment.packets += packets
        self._bytes += sum(map(len, packets)) + 16


def _check_size(width_px: int, height_px: int) -> None:
    if max(width_px, height_px) > MAX_SIDE_PX:
        raise TooLarge("a frame's longer side (px)", actual=max(width_px, height_px), limit=MAX_SIDE_PX)
    if width_px * height_px > MAX_PIXELS:
        raise TooLarge("a frame's number of pixels", actual=width_px * height_px, limit=MAX_PIXELS)


def _padded(width_px: int, height_px: int) -> tuple[int, int]:
    return max(64, -(-width_px // 16) * 16), max(64, -(-height_px // 16) * 16)


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count_bytes: int) -> bytes:
        if self.at + count_bytes > len(self.data):
            missing = self.at + count_bytes - len(self.data)
            raise Truncated("a screen section", offset=len(self.data), wanted_bytes=missing)
        self.at += count_bytes
        return self.data[self.at - count_bytes : self.at]

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))


def decode_frames(section: bytes) -> Iterator[Frame]:
    """Decode a section frame by frame, holding one picture per segment.

    Raises:
        Truncated, Corrupt, Unsupported, TooLarge: see codec.errors; nothing is allocated before its size was checked.
    """
    if not section:
        return
    cursor = _Cursor(section)
    version, bitstream, segment_count, frame_count = cursor.unpack("<BBHI")
    if version != VERSION or bitstream not in set(Bitstream):
        raise Unsupported(f"a screen section of version {version}, bitstream {bitstream}: upgrade the reader")
    if segment_count > MAX_SEGMENTS:
        raise TooLarge("the number of segments", actual=segment_count, limit=MAX_SEGMENTS)
    if frame_count > MAX_FRAMES:
        raise TooLarge("the number of frames", actual=frame_count, limit=MAX_FRAMES)
    heads = []
    for _ in range(segment_count):
        screen, width_px, height_px, packet_count = cursor.unpack("<BHHI")
        if not width_px or not height_px:
            raise Corrupt("a segment of no pixels", offset=cursor.at)
        _check_size(width_px, height_px)
        if packet_count > 2 * MAX_FRAMES:
            raise TooLarge("the number of packets", actual=packet_count, limit=2 * MAX_FRAMES)
        heads.append((screen, width_px, height_px, cursor.unpack(f"<{packet_count}I")))
    order = [cursor.unpack("<qH") for _ in range(frame_count)]
    streams = []
    for _, width_px, height_px, lengths in heads:
        packets = [cursor.take(length) for length in lengths]
        streams.append(decode_stream(Bitstream(bitstream), packets, *_padded(width_px, height_px)))
    if cursor.at != len(section):
        raise Corrupt("bytes follow the last packet", offset=cursor.at)
    for t_ms, index in order:
        if index >= len(heads):
            raise Corrupt(f"a frame of segment {index}, which does not exist")
        screen, width_px, height_px, _ = heads[index]
        picture = next(streams[index], None)
        if picture is None:
            raise Corrupt("a stream has fewer pictures than frames")
        pixels = picture[:height_px, :width_px].copy()
        pixels[..., 3] = 255
        yield Frame(t_ms, pixels, screen)
