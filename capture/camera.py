"""Shell: from "a frame is due" to an encoded screen section, with the policy's mask in between.

Guarantees: a picture is masked strip by strip while it is grabbed, so that what must not be seen is never there whole, and
reaches no encoder; where the windows, or what the policy says of them, changed during the grab, or a window could not be
identified, there is no frame (and a counter says so). Grabbing and encoding happen in one owned thread, and at most one
frame is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from capture.errors import CaptureError
from codec.screen import Effort, FrameWriter, ScreenEncoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from capture.mask import Mask
    from capture.sources.windows import Window


class Grabber(Protocol):
    """Takes pictures of the display (capture/sources/screen.py)."""

    def strips(self, width_px: int, height_px: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Grab a picture: uint8 BGRA (h, W, 4) from the top down. Raises CaptureError when this grab failed."""

    def reset(self) -> None:
        """Begin anew: the display's size changed."""


@dataclass(slots=True, eq=False)
class Reel:
    """Frames of one future chunk.

    Attributes:
        t0_ms: source clock (ms) of the first frame, which the frames' times count from.
        duration_ms: from there to the last frame.
        frames: how many. raw_bytes: their pixels in memory.
        effort: the encoder's.
    """

    t0_ms: int
    effort: Effort
    encoder: ScreenEncoder
    duration_ms: int = 0
    frames: int = 0
    raw_bytes: int = 0

    def expose(self, mask: Mask, strips: Iterator[npt.NDArray[np.uint8]]) -> FrameWriter:
        """Write a frame as it is grabbed; it is not part of the reel until `keep`."""
        writer = self.encoder.write(mask.width_px, mask.height_px)
        for strip in mask.over(strips):
            writer.strip(strip)
        return writer

    def keep(self, t_ms: int, frame: FrameWriter) -> bool:
        """Encode the frame that was exposed last; False when it shows nothing new."""
        new = self.encoder.keep(frame, t_ms - self.t0_ms)
        if new:
            self.frames += 1
            self.raw_bytes += frame.raw_bytes
            self.duration_ms = t_ms - self.t0_ms
        return new

    def develop(self) -> bytes:
        """Finish the encoding and return the screen section. This may take seconds: call it in a thread of its own."""
        return self.encoder.finish()


@dataclass(frozen=True, slots=True)
class Taken:
    """What taking a frame led to.

    Attributes:
        new: it was added; False: it shows what the one before it did, which stands for it.
        frame_ms: the time of the frame in the reel that shows it. ended_ns: the monotonic clock after the grab.
    """

    new: bool
    frame_ms: int
    ended_ns: int


class Camera:
    """Grabs, masks and encodes.

    Args:
        grabber: the display's pictures.
        windows: the visible windows bottom to top, or None when that cannot be told for certain; called in the loop's
            thread before and after the grab.
        mask: the policy: what must not be seen of these windows on a display of this width and height (px); None: no frame.
            Called likewise.
        thread: the one owned thread.
    """

    def __init__(
        self,
        grabber: Grabber,
        *,
        windows: Callable[[], Sequence[Window] | None],
        mask: Callable[[Sequence[Window], int, int], Mask | None],
        thread: Executor,
    ) -> None:
        self._grabber = grabber
        self._windows = windows
        self._mask = mask
        self._thread = thread
        self._lock = asyncio.Lock()
        self.reel: Reel | None = None
        self.effort = Effort.FAST
        self.refused: Counter[str] = Counter()
        self.frames = 0
        self._size_px = (0, 0)

    async def take(self, t_ms: int) -> Taken | None:
        """Take one frame.

        Args:
            t_ms: the source clock now.

        Returns:
            None when the policy forbids it, or it could not be grabbed.
        """
        async with self._lock:
            loop = asyncio.get_running_loop()
            before = self._windows()
            if before is None:
                self.refused["windows not identified"] += 1
                return None
            mask = self._mask(before, *self._size_px)
            if mask is None:
                self.refused["not allowed"] += 1
                return None
            reel = self.reel or Reel(t_ms, self.effort, ScreenEncoder(effort=self.effort))
            strips = self._grabber.strips(*self._size_px)
            try:
                frame = await loop.run_in_executor(self._thread, reel.expose, mask, strips)
                ended_ns = time.monotonic_ns()
            except CaptureError:
                self.refused["the grab failed"] += 1
                return None
            if self._windows() != before:
                self.refused["windows moved during the grab"] += 1
                return None
            if self._mask(before, *self._size_px) != mask:  # a field for a secret, a pause, a new site
                self.refused["not allowed"] += 1
                return None
            self.reel = reel
            new = await loop.run_in_executor(self._thread, reel.keep, t_ms, frame)
            self.frames += new
            return Taken(new, reel.t0_ms + reel.duration_ms, ended_ns)

    async def resize(self, width_px: int, height_px: int) -> None:
        """The display has this size now: grab so from the next frame on."""
        async with self._lock:
            self._size_px = width_px, height_px
            await asyncio.get_running_loop().run_in_executor(self._thread, self._grabber.reset)

    async def cut(self) -> Reel | None:
        """End the open reel and return it; None when it holds no frame."""
        async with self._lock:
            reel, self.reel = self.reel, None
            return reel if reel is not None and reel.frames else None
