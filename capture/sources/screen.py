"""Source: pictures of the whole display, and whether two differ. The only importer of mss.

Guarantees: a picture is grabbed only when asked for; comparing allocates nothing. Does not guarantee that a picture
shows one moment: other programs draw while the server copies. The pointer is not in the picture (its position is in the
events). mss's default backend copies through shared memory where the server lets it; on a remote display it is slower.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
from typing import Any

import numpy as np
import numpy.typing as npt

from capture.errors import CaptureError, NoDisplay
from capture.sources.windows import Monitor

Pixels = npt.NDArray[np.uint8]
"""uint8 BGRA, shape (H, W, 4), C-contiguous."""

STRIP_PX = 64
"""Height of the strips that are compared: a strip of a 4K picture is 1 MB, about what a core's cache holds."""


class Grabber:
    """Grabs the whole display. To be used by one thread at a time.

    Args:
        display: such as ":0"; None: the platform's own (Windows, macOS, or DISPLAY).
    """

    def __init__(self, display: str | None = None) -> None:
        self._display = display
        self._mss: Any = None

    def grab(self) -> Pixels:
        """Return what the display shows now.

        Returns:
            uint8 BGRA, shape (H, W, 4); the fourth byte is undefined. The array is the caller's own.

        Raises:
            NoDisplay: there is no display to grab from (any more).
            CaptureError: this grab failed; the next may succeed (the display was being changed).
        """
        if self._mss is None:
            self._mss = self._open()
        import mss  # a collector and `modicum status` never load it

        try:
            shot = self._mss.grab(self._mss.monitors[0])
        except (mss.ScreenShotError, OSError, AssertionError) as error:  # mss asserts that a dead server answers
            self.reset()
            raise CaptureError(f"The display could not be grabbed: {error}") from error
        return np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)

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


_libc = ctypes.CDLL(ctypes.util.find_library("c") or "msvcrt")
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_libc.memcmp.restype = ctypes.c_int


def changed(previous: Pixels | None, current: Pixels) -> list[tuple[int, int]]:
    """Return the rows that differ, as ranges [first, last) of whole strips (merged where they touch).

    Args:
        previous: an earlier picture, None = there is none. current: C-contiguous, as `grab` returns.

    Returns:
        [] when both are the same in every byte; [(0, H)] without a previous one or when the size differs.
    """
    height = current.shape[0]
    if previous is None or previous.shape != current.shape:
        return [(0, height)]
    if not (previous.flags.c_contiguous and current.flags.c_contiguous):
        raise ValueError("pictures to compare must be C-contiguous: pass them as they were grabbed")
    stride = current.strides[0]
    ranges: list[tuple[int, int]] = []
    for first in range(0, height, STRIP_PX):
        last = min(first + STRIP_PX, height)
        offset, length = first * stride, (last - first) * stride
        if _libc.memcmp(previous.ctypes.data + offset, current.ctypes.data + offset, length):
            if ranges and ranges[-1][1] == first:
                ranges[-1] = (ranges[-1][0], last)
            else:
                ranges.append((first, last))
    return ranges
