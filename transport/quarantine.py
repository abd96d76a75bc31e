"""Shell: where an archive keeps payloads that were no chunks of its, for whoever wants to find out: within limits, then only counted.

Guarantees: files are 0600; no more than the limits; what is dropped is gone durably. Keeping is best effort: a payload
that the disk does not take is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from transport.fs import Files, Open, opened, read_exactly, write_all

FOLDER = ".quarantine"
MAX_FILES = 256
MAX_BYTES = 64 << 20
START_BYTES = 256
"""What `drop` shows of a payload: more than any header has."""


class Quarantine:
    """See the module. Raises OSError when the folder cannot be made or read.

    Args:
        files: the file system. root: the archive's folder.
    """

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._folder = root / FOLDER
        files.make_dir(self._folder)
        names = files.list_dir(self._folder)
        self._count = len(names)
        self._bytes = sum(self._size_of(self._folder / name) for name in names)

    def keep(self, name: str, data: bytes) -> bool:
        """Keep a payload aside; tell whether it was kept.

        Args:
            name: what is wrong with it, and whose topic it came on; becomes part of the file's name.
        """
        if self._count >= MAX_FILES or self._bytes + len(data) > MAX_BYTES:
            return False
        path = self._folder / f"{hashlib.sha256(data).hexdigest()[:32]}.{name}"
        try:
            with opened(self._files, path, Open.CREATE) as handle:
                write_all(handle, data, 0)
        except FileExistsError:
            return True
        except OSError:
            return False
        self._count += 1
        self._bytes += len(data)
        return True

    def drop(self, matches: Callable[[str, bytes], bool]) -> int:
        """Remove the payloads of which `matches` says so, given the file's name and the first bytes; return how many.

        Raises:
            OSError: some may be left.
        """
        dropped = 0
        for name in self._files.list_dir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                with opened(self._files, self._folder / name, Open.READ) as handle:
                    start, size_bytes = read_exactly(handle, START_BYTES, 0), handle.size_bytes()
                if matches(name, start):
                    self._files.unlink(self._folder / name)
                    dropped += 1
                    self._count -= 1
                    self._bytes -= size_bytes
        if dropped:
            self._files.sync_dir(self._folder)
        return dropped

    def _size_of(self, path: Path) -> int:
        with opened(self._files, path, Open.READ) as handle:
            return handle.size_bytes()
