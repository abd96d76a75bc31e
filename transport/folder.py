"""Shell: whole small files in one private folder: written in one step, and erased so that they do not come back.

Guarantees: a reader sees a file whole or not at all while the machine runs; `erase` overwrites, syncs and removes before it
returns, and needs no space. Does not guarantee that a file written shortly before a power cut is there afterwards, or
is whole: whoever reads it checks it (a chunk has its CRC).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from transport.fs import Files, Open, opened, read_file, write_all

ERASE_STEP_BYTES = 1 << 20


class Folder:
    """A folder of files; it is made when the first is written.

    Args:
        files: the file system. path: the folder; nothing else may be in it.
    """

    def __init__(self, files: Files, path: Path) -> None:
        self.path = path
        self._files = files

    def sizes(self) -> dict[str, int]:
        """Return the size (bytes) of every file by its name, sorted by name; what is half written is left out.

        Raises:
            OSError: the folder cannot be read.
        """
        try:
            names = self._files.list_dir(self.path)
        except FileNotFoundError:
            return {}
        found = {}
        for name in names:
            if not name.startswith("."):
                with contextlib.suppress(FileNotFoundError), opened(self._files, self.path / name, Open.READ) as handle:
                    found[name] = handle.size_bytes()
        return found

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        """Return a file's content, cut to `limit_bytes + 1` where it is longer.

        Raises:
            FileNotFoundError: it is gone. OSError: it cannot be read.
        """
        return read_file(self._files, self.path / name, limit_bytes=limit_bytes)

    def write(self, name: str, content: bytes) -> None:
        """Write a new file.

        Raises:
            OSError: it is not there.
        """
        self._files.make_dir(self.path)
        temporary = self.path / f".{name}.new"
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(temporary)
        try:
            with opened(self._files, temporary, Open.CREATE) as handle:
                write_all(handle, content, 0)
            self._files.rename(temporary, self.path / name)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.unlink(temporary)
            raise

    def erase(self, names: Iterable[str]) -> None:
        """Overwrite and remove files; what is gone already is no error. Half-written files go with them.

        Raises:
            OSError: some of them may still be there: ask again.
        """
        leftovers = [name for name in self._names() if name.startswith(".")]
        for name in [*names, *leftovers]:
            path = self.path / name
            try:
                with opened(self._files, path, Open.WRITE) as handle:
                    size_bytes = handle.size_bytes()
                    for at in range(0, size_bytes, ERASE_STEP_BYTES):
                        write_all(handle, bytes(min(ERASE_STEP_BYTES, size_bytes - at)), at)
                    handle.sync()
                self._files.unlink(path)
            except FileNotFoundError:
                continue
        with contextlib.suppress(FileNotFoundError):
            self._files.sync_dir(self.path)

    def free_bytes(self) -> int:
        """Return what the disk has left; 0 where nobody can say.

        The nearest folder that exists is asked.
        """
        for folder in (self.path, *self.path.parents):
            with contextlib.suppress(OSError):
                return self._files.free_bytes(folder)
        return 0

    def _names(self) -> list[str]:
        try:
            return self._files.list_dir(self.path)
        except FileNotFoundError:
            return []
