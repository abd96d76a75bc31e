"""Source: the C library's heap: keep it small for a process that seldom needs much, for a moment.

Encoding a chunk takes some tens of megabytes for a second. Left alone, glibc keeps them: a heap per thread, and, once a
large block was freed, a threshold below which blocks of that size come from the heap and stay there. Here very large blocks
go back to the system when they are freed, all threads share few heaps, which keep no more free than a frame needs, and what
lies free inside them is returned on request.

Guarantees: nothing where the C library is another one (musl, macOS, Windows): then memory is as the system keeps it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""mallopt(3)."""

LARGE_BYTES = 10 << 20
"""From here on a block is mapped on its own. What one frame takes for a moment (a picture of 8 MB, and what is worked out
from it) is smaller: a fresh page costs 1 to 2 µs, and to take 5,000 of them anew doubled what a frame cost."""

KEEP_FREE_BYTES = 10 << 20
"""What may lie free at a heap's end before it is returned. The next frame takes it again; so this stays even when nothing is
recorded, for `give_back` returns the end of the first heap only."""

HEAPS = 2
"""One for the loop, one for the threads that encode: they seldom work at the same time."""


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6")
        library.mallopt.argtypes, library.mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
        library.malloc_trim.argtypes, library.malloc_trim.restype = (ctypes.c_size_t,), ctypes.c_int
    except (OSError, AttributeError):
        return None
    return library


_library = _glibc()


def keep_small() -> bool:
    """Set the heap up; to be called before there are threads. Return whether the C library obeys."""
    if _library is None:
        return False
    settings = ((M_ARENA_MAX, HEAPS), (M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, KEEP_FREE_BYTES))
    done = [_library.mallopt(name, value) for name, value in settings]  # all of them, also after one that fails
    return all(done)


def give_back() -> None:
    """Return to the system what lies free. This takes some milliseconds and lets other threads run."""
    if _library is not None:
        _library.malloc_trim(0)
