"""Source: pictures of the whole display, strip by strip. The only importer of mss.

Guarantees: a picture is grabbed only when asked for; no more of it than a strip is in memory here. Does not guarantee that
a picture shows one moment: other programs draw between two strips, as they do while a server copies. The pointer is not in
the picture (its position is in the events). mss's default backend copies through shared memory where the server lets it; on
a remote display it is slower.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.errors import CaptureError, NoDisplay
from capture.sources.windows import Monitor
from codec.tiles import STRIP_PX

Pixels = npt.NDArray[np.uint8]
"""uint8 BGRA, shape (h, W, 4), C-contiguous."""

STRIP_BYTES = 1 << 20
"""About so large is a strip: what is worked out from it is still in the processor's cache, and its memory is used again
instead of being had from the system. A picture of 1920x1080 at once costs 7.8 ms of CPU time and 2,000 page faults, in such
strips 1.5 ms and none."""


class Grabber:
    """Grabs the whole display. To be used by one thread at a time.

    Args:
        display: such as ":0"; None: the platform's own (Windows, macOS, or DISPLAY).
    """

    def __init__(self, display: str | None = None) -> None:
        self._display = display
        self._mss: Any = None

    def strips(self, width_px: int, height_px: int) -> Iterator[Pixels]:
        """Grab what the display shows now, from the top down.

        Args:
            width_px, height_px: the display's size.

        Yields:
            uint8 BGRA, shape (h, W, 4), h a multiple of codec.tiles.STRIP_PX but for the last; the fourth byte is undefined.
            A strip is the caller's own.

        Raises:
            NoDisplay: there is no display to grab from (any more).
            CaptureError: this grab failed; the next may succeed (the display was being changed).
        """
        if self._mss is None:
            self._mss = self._open()
        import mss  # a collector and `modicum status` never load it

        rows = max(1, STRIP_BYTES // (4 * width_px * STRIP_PX)) * STRIP_PX
        try:
            whole = self._mss.monitors[0]
            if (whole["width"], whole["height"]) != (width_px, height_px):
                raise mss.ScreenShotError("it is being changed")
            for top in range(0, height_px, rows):
                strip = {**whole, "top": whole["top"] + top, "height": min(rows, height_px - top)}
                shot = self._mss.grab(strip)
                yield np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)
        except (mss.ScreenShotError, OSError, AssertionError) as error:  # mss asserts that a dead server answers
            self.reset()
            raise CaptureError(f"The display could not be grabbed: {error}") from error

    def places(self) -> list[Monitor]:
        """Return the whole display and then each monitor."""
        if self._mss is None:
            self._mss = self._open()
        return [
            Monitor(str(number), one["left"], one["top"], one["width"], one["height"])
            for number, one in enumerate(self._mss.monitors)
        ]

    def _open(self) -> Any:
        import mss

        try:
            return mss.MSS(display=self._display) if self._display else mss.MSS()
        except (mss.ScreenShotError, OSError, AssertionError) as error:
            raise NoDisplay(f"There is no display to take pictures of: {error}") from error

    def reset(self) -> None:
        """Begin anew: to be called when the display's size changed (mss sizes its buffer once)."""
        old, self._mss = self._mss, None
        if old is not None:
            with contextlib.suppress(Exception):  # of a connection that broke: what it held is gone anyway
                old.close()

    close = reset


def monitors_of(display: str | None = None) -> tuple[int, int, tuple[Monitor, ...]]:
    """Return the display's width and height (px) and its monitors, where nothing else tells of them.

    Raises:
        NoDisplay: there is none.
    """
    grabber = Grabber(display)
    whole, *each = grabber.places()
    grabber.close()
    return whole.width, whole.height, tuple(each)
