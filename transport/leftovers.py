"""Shell: files of the spool that are of no use any more and may still take space: what the disk would not remove for sure.

Guarantees: what is noted here counts until its name is known to be gone from the disk. A power cut brings back what was removed and
not synced; a disk that fails leaves what was begun. Both would push the spool over its limit if nobody counted them.
Files that are set aside (`*.bad`) count as well, and are given up before anything that waits is.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from transport.fs import Files, Open, opened

BAD_SUFFIX = ".bad"
BAD_FILES_KEPT = 4
"""Segments without a readable record are set aside, at most this many."""


class Leftovers:
    """See the module. Not for several threads at once.

    Attributes:
        disk_bytes: what they may take.
    """

    def __init__(self, files: Files, directory: Path) -> None:
        """Count what an earlier run set aside; what cannot be looked at counts nothing. Raises OSError: no such folder."""
        self._files = files
        self._directory = directory
        self._going: dict[Path, int] = {}
        self._bad = {
            directory / name: self._size(directory / name)
            for name in files.list_dir(directory)
            if name.endswith(BAD_SUFFIX)
        }

    @property
    def disk_bytes(self) -> int:
        """Return what they may take."""
        return sum(self._going.values()) + sum(self._bad.values())

    def remove(self, path: Path, size_bytes: int) -> None:
        """Remove a file of so many bytes (at most); on return its name is gone from the disk.

        Raises:
            OSError: it may be there, and counts; `sweep` tries again.
        """
        self._going[path] = size_bytes
        self.sweep()

    def note(self, path: Path, size_bytes: int) -> None:
        """Count a file of at most so many bytes, that should not be there, until `sweep` has removed it."""
        self._going[path] = size_bytes

    def sweep(self) -> bool:
        """Remove what should be gone; tell whether there was anything.

        Raises:
            OSError: some of it may be there, and counts.
        """
        going = list(self._going)
        for path in going:
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(path)
        if going:
            self._files.sync_dir(self._directory)
            self._going.clear()
        return bool(going)

    def set_aside(self, path: Path, size_bytes: int) -> None:
        """Keep a segment without a readable record under another name, a few of them. Raises OSError: under this one."""
        self._bad[path] = size_bytes
        self._files.rename(path, path.with_suffix(BAD_SUFFIX))
        self._bad[path.with_suffix(BAD_SUFFIX)] = self._bad.pop(path)
        while len(self._bad) > BAD_FILES_KEPT and self.give_up_bad():
            pass

    def give_up_bad(self) -> bool:
        """Remove the oldest file that is set aside; tell whether there was one. Raises OSError: it may be there, and counts."""
        oldest = min(self._bad, default=None)
        if oldest is not None:
            self.remove(oldest, self._bad.pop(oldest))
        return oldest is not None

    def _size(self, path: Path) -> int:
        with contextlib.suppress(OSError), opened(self._files, path, Open.READ) as handle:
            return handle.size_bytes()
        return 0
