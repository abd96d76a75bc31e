"""Pure: the script of a batch: frame by frame, where each changed tile comes from; as columns, packed together.

A frame is a sequence of runs over the raster of its tiles: (kind, length, parameter). Runs that keep what was there are
written too, except the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from codec.errors import Corrupt, TooLarge, Unsupported
from codec.packed import Cursor, pack, varint, zigzag
from codec.tiles import Numbers
from codec.varint import pack_varints
from codec.varint import zigzag as zigzags

VERSION = 1
MAX_SIDE_PX = 16384
"""Of a frame: what X11 and H.264 reach."""
MAX_PIXELS = 7680 * 4320
"""Of a frame: 8K."""
MAX_LIVE_PIXELS = 2 * MAX_PIXELS
"""Of all screens' pictures together, which is what a decoder holds."""
MAX_SCREEN = 63
MAX_SEGMENTS = 256
"""Display sizes in a section: a person changes theirs a few times a day."""
MAX_FRAMES = 1 << 16
"""In a section: 18 hours of one a second."""
MAX_BATCHES = 1 << 12
MAX_SCRIPT_BYTES = 24 << 20
"""Of a batch, unpacked: it is held whole."""


class Kind(IntEnum):
    """Where a tile comes from."""

    KEEP = 0  # it did not change
    FILL = 1  # one colour
    COPY = 2  # from the picture before, at an offset
    RECALL = 3  # from a tile that was remembered
    INK = 4  # new, from the ink
    PHOTO = 5  # new, from the canvas


def check_size(width_px: int, height_px: int) -> None:
    """Check a frame's size.

    Raises:
        TooLarge: the format carries no such.
    """
    if max(width_px, height_px) > MAX_SIDE_PX:
        raise TooLarge("a frame's longer side (px)", actual=max(width_px, height_px), limit=MAX_SIDE_PX)
    if width_px * height_px > MAX_PIXELS:
        raise TooLarge("a frame's number of pixels", actual=width_px * height_px, limit=MAX_PIXELS)


class Op:
    """Where the tiles of one frame come from.

    Attributes:
        kind: uint8 (tiles,). value: int64 (tiles,), of equal values (of one kind) side by side a run is made.
    """

    def __init__(self, tile_count: int) -> None:
        self.kind = np.zeros(tile_count, np.uint8)
        self.value = np.zeros(tile_count, np.int64)

    def set(self, numbers: Numbers, kind: Kind, value: npt.NDArray[np.int64] | int = 0) -> None:
        """Give tiles a kind and a value."""
        self.kind[numbers] = kind
        self.value[numbers] = value

    def copy(self, numbers: Numbers, dx: npt.NDArray[np.int32], dy: npt.NDArray[np.int32]) -> None:
        """Copy tiles from dx px further right and dy px further down."""
        self.set(numbers, Kind.COPY, dx.astype(np.int64) << 32 | dy.astype(np.int64) & 0xFFFFFFFF)

    def recall(self, numbers: Numbers, slots: npt.NDArray[np.int64]) -> None:
        """Recall remembered tiles; consecutive ones form a run."""
        self.set(numbers, Kind.RECALL, slots - numbers)


class ScriptWriter:
    """Collects a batch's frames."""

    def __init__(self) -> None:
        self._columns = tuple(bytearray() for _ in range(6))
        self._frame_count = 0
        self._expected = 0

    @property
    def raw_bytes(self) -> int:
        """The size so far, unpacked."""
        return sum(map(len, self._columns))

    def add(self, segment: int, elapsed_ms: int, op: Op) -> None:
        """Take a frame.

        Args:
            segment: its segment's number. elapsed_ms: since the section's frame before, whichever its screen; the
            first: since 0.
        """
        frames, kinds, lengths, fills, copies, recalls = self._columns
        kind, value = op.kind, op.value
        starts = np.flatnonzero((kind[1:] != kind[:-1]) | (value[1:] != value[:-1])) + 1
        starts = np.concatenate((np.zeros(1, np.int64), starts))
        ends = np.append(starts[1:], len(kind))
        if kind[-1] == Kind.KEEP:
            starts, ends = starts[:-1], ends[:-1]
        frames += varint(segment) + varint(zigzag(elapsed_ms)) + varint(len(starts))
        self._frame_count += 1
        run, number = kind[starts], value[starts]
        kinds += run.tobytes()
        lengths += pack_varints((ends - starts).view(np.uint64))
        colours = number[run == Kind.FILL].astype("<u4").view(np.uint8)
        fills += colours.reshape(-1, 4)[:, :3].tobytes()
        moves = number[run == Kind.COPY]
        across, down = moves >> 32, moves.astype(np.int32).astype(np.int64)
        copies += pack_varints(zigzags(np.stack((across, down), axis=1).reshape(-1)))
        recalled = run == Kind.RECALL
        firsts, after = (number[recalled] + edge[recalled] for edge in (starts, ends))
        expected = np.concatenate((np.array([self._expected], np.int64), after))
        recalls += pack_varints(zigzags(firsts - expected[:-1]))
        self._expected = int(expected[-1])

    def finish(self, *, preset: int) -> bytes:
        """Return the script as a packed block."""
        lengths = [varint(len(column)) for column in self._columns]
        pieces = [varint(self._frame_count), *lengths, *map(bytes, self._columns)]
        return pack(pieces, preset=preset, most_bytes=sum(map(len, pieces)))


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of a script: runs, not yet checked against the frame's raster.

    Attributes:
        segment: its segment's number. elapsed_ms: see ScriptWriter.add.
        kinds: uint8 (runs,). lengths: int64 (runs,), 1 or more.
        values: int64 (runs, 2): a fill's colour; a copy's dx, dy; a recall's first slot.
    """

    segment: int
    elapsed_ms: int
    kinds: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]
    values: npt.NDArray[np.int64]


def read_script(cursor: Cursor, *, segment_count: int, max_frames: int) -> Iterator[Step]:
    """Read a batch's script, which the cursor stands before, and give its frames one by one.

    The script is unpacked at once and the cursor left after it.

    Raises:
        Corrupt, TooLarge, Unsupported: it contradicts itself, or the limits.
    """
    script = Cursor(cursor.block(MAX_SCRIPT_BYTES, "the script").rest(), "a script", whole=True)
    frame_count = script.varint(max_frames, "the number of frames")
    lengths = [script.varint(MAX_SCRIPT_BYTES, "a column's length") for _ in range(6)]
    columns = [Cursor(bytes(script.take(length)), "a column of a script", whole=True) for length in lengths]
    script.end()
    return _steps(frame_count, columns, segment_count)


def _steps(frame_count: int, columns: list[Cursor], segment_count: int) -> Iterator[Step]:
    frames, kinds, lengths, fills, copies, recalls = columns
    expected = 0
    for _ in range(frame_count):
        segment = frames.varint(segment_count - 1, "a segment's number")
        elapsed_ms = frames.signed()
        kind = np.frombuffer(kinds.take(frames.varint()), np.uint8)
        if len(kind) and kind.max() > max(Kind):
            raise Unsupported(f"a run of kind {kind.max()}: upgrade the reader")
        length = np.array([lengths.varint(MAX_PIXELS, "a run's length") for _ in range(len(kind))], np.int64)
        if len(length) and not length.min():
            raise Corrupt("a run of no tiles")
        values = np.zeros((len(kind), 2), np.int64)
        for place in np.flatnonzero((kind == Kind.FILL) | (kind == Kind.COPY) | (kind == Kind.RECALL)).tolist():
            run = kind[place]
            if run == Kind.FILL:
                values[place, 0] = int.from_bytes(fills.take(3), "little")
            elif run == Kind.COPY:
                values[place] = copies.signed(), copies.signed()
            else:
                values[place, 0] = expected + recalls.signed()
                expected = int(values[place, 0] + length[place])
        yield Step(segment, elapsed_ms, kind, length, values)
    for column in columns:
        column.end()
