"""Shell: what is in the archive, checked and written in formats that others read: MP4 and JSON lines.

Guarantees: a chunk that does not decode, has expired or does not permit the stated purpose is reported and left out, never
guessed; memory stays within one chunk and one frame, whatever the archive's size. What JSON lines lose: nothing of events
and rows. What MP4 loses: pixels (it is encoded again), and frames of more than one size are scaled to the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

Progress = Callable[[int, int], None]
"""Called with (done, of) chunks."""
