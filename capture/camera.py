"""Shell: from "a frame is due" to an encoded screen section, with the policy's mask in between.

Guarantees: no pixel reaches the encoder before it was masked for the windows that were visible when it was grabbed;
where the stacking changed during the grab, or a window could not be identified, there is no frame (and a counter says
so). Grabbing and encoding happen in one owned thread, and at most one frame is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from capture.errors import CaptureError
from codec.model import Frame
from codec.screen import Effort, ScreenEncoder

if TYPE_CHECKING:
    from capture.sources.windows import Window

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class Grabber(Protocol):
    """Takes pictures of the display (capture/sources/screen.py)."""

    def grab(self) -> Pixels:
        """Return uint8 BGRA (H, W, 4), the caller's own. Raises CaptureError when this grab failed."""

    def reset(self) -> None:
        """Begin anew: the display's size changed."""


@dataclass(slots=True, eq=False)
class Reel:
    """Frames of one future chunk.

    Attributes:
        t0_ms: source clock (ms) of the first frame, which the frames' times count from.
        duration_ms: from there to the last frame.
        frames: how many. raw_bytes: their pixels in memory.
        cpu_ns: CPU time of comparing and encoding them so far.
        effort: the encoder's.
    """

    t0_ms: int
    effort: Effort
    encoder: ScreenEncoder
    duration_ms: int = 0
    frames: int = 0
    raw_bytes: int = 0
    cpu_ns: int = 0

    def add(self, t_ms: int, pixels: Pixels) -> bool:
        """Encode one frame; False when it shows nothing new."""
        began_ns = time.thread_time_ns()
        new = self.encoder.add(Frame(t_ms - self.t0_ms, pixels))
        self.cpu_ns += time.thread_time_ns() - began_ns
        if new:
            self.frames += 1
            self.raw_bytes += pixels.nbytes
            self.duration_ms = t_ms - self.t0_ms
        return new

    def develop(self) -> bytes:
        """Finish the encoding and return the screen section. This may take seconds: call it in a thread of its own."""
        began_ns = time.thread_time_ns()
        section = self.encoder.finish()
        self.cpu_ns += time.thread_time_ns() - began_ns
        return section


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
        mask: the policy: for these windows and this (width, height), True where a pixel must not be seen; None: no
            frame.
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
            try:
                pixels = await loop.run_in_executor(self._thread, self._grabber.grab)
                ended_ns = time.monotonic_ns()
            except CaptureError:
                self.refused["the grab failed"] += 1
                return None
            if self._windows() != before:
                self.refused["windows moved during the grab"] += 1
                return None
            height, width = pixels.shape[:2]
            mask = self._mask(before, width, height)
            if mask is None:
                self.refused["not allowed"] += 1
                return None
            new = await loop.run_in_executor(self._thread, self._store, t_ms, pixels, mask)
            self.frames += new
            reel = self.reel
            return None if reel is None else Taken(new, reel.t0_ms + reel.duration_ms, ended_ns)

    def _store(self, t_ms: int, pixels: Pixels, mask: Mask) -> bool:
        # A pixel as one number: 0.2 ms a frame, where indexing its four bytes by the mask took 7.
        np.copyto(pixels.view(np.uint32), np.uint32(0), where=mask[:, :, None])
        if self.reel is None:
            self.reel = Reel(t_ms, self.effort, ScreenEncoder(effort=self.effort))
        return self.reel.add(t_ms, pixels)

    async def resize(self) -> None:
        """The display's size changed: grab anew from the next frame on."""
        async with self._lock:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._grabber.reset)

    async def cut(self) -> Reel | None:
        """End the open reel and return it; None when it holds no frame."""
        async with self._lock:
            reel, self.reel = self.reel, None
            return reel if reel is not None and reel.frames else None
