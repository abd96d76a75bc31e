"""Source: memory: the C library's heap, kept small for a process that seldom needs much, for a moment; and what Python's collector
looks through.

Encoding a chunk takes some tens of megabytes for a second. Left alone, glibc keeps them: a heap per thread, and, once a
large block was freed, a threshold below which blocks of that size come from the heap and stay there. Here large blocks go
back to the system when they are freed, all threads share one heap, which keeps no more free than what is worked out from a
frame, and what lies free inside it is returned on request.

Guarantees: nothing where the C library is another one (musl, macOS, Windows): then memory is as the system keeps it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""mallopt(3)."""

LARGE_BYTES = 4 << 20
"""From here on a block is mapped on its own, and so are its pages each time, at 1 to 2 µs a page. What is worked out from a
frame is smaller, and comes from the heap again and again; the encoder's pictures of 8 MB are larger, and stay."""

KEEP_FREE_BYTES = 3 << 20
"""What may lie free at the heap's end before it is returned."""

HEAPS = 1
"""For all threads: they seldom work at the same time, and the end of a second one is never returned."""


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


def settle() -> None:
    """Let the garbage collector look through what is made from now on, and no more through what is there: to be called when all
    that stays has been made. A look through all of an agent costs 30 ms of CPU time."""
    gc.unfreeze()  # what an earlier agent of this process left, after its configuration was reloaded
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Return to the system what lies free. This takes some milliseconds and lets other threads run."""
    if _library is not None:
        _library.malloc_trim(0)
