"""Shell: where an archive's writers put chunks before these have their names: written and synced whole, then linked, then forgotten.

Each writing process has a slot of its own, held by a lock. A file here is named after the slot and the chunk, so that what a
killed writer left can be told: its half-written bytes, and a chunk that it had linked, perhaps without having looked whether
it was erased meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path

from codec.model import ChunkId
from transport.errors import Busy
from transport.fs import Files, Handle, Open, opened, write_all

FOLDER = ".incoming"
WRITERS = 256
"""Processes that write at once, at most."""


class Incoming:
    """See the module. Every method may raise OSError.

    Args:
        files: the file system. root: the archive's folder.
        check: called with the chunk of every file that a killed writer left; removes it where it is not to be there.
    """

    def __init__(self, files: Files, root: Path, check: Callable[[ChunkId], None]) -> None:
        self._files = files
        self._folder = root / FOLDER
        self._check = check
        self._slot: tuple[int, Handle] | None = None
        files.make_dir(self._folder)

    def name(self, number: int, chunk_id: ChunkId) -> Path:
        """Return where to write the `number`th chunk of a batch."""
        return self._folder / f"{self._own_slot()}-{number}.{chunk_id.device}.{chunk_id.epoch:08x}.{chunk_id.seq}"

    def write(self, path: Path, data: bytes) -> None:
        """Write a chunk; it is on the disk on return. May be called by several threads, for different paths."""
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(path)
        with opened(self._files, path, Open.CREATE) as handle:
            write_all(handle, data, 0)
            handle.sync()

    def sweep(self) -> None:
        """Clear what killed writers left. Those that live are left alone."""
        slots = {name.partition("-")[0] for name in self._files.list_dir(self._folder) if "-" in name}
        for slot in sorted(slots):
            if slot.isdecimal() and int(slot) < WRITERS and (self._slot is None or self._slot[0] != int(slot)):
                with contextlib.suppress(Busy):
                    lock = self._files.lock(self._folder / f"{slot}.lock")
                    try:
                        self._clear(int(slot))
                    finally:
                        lock.close()

    def _own_slot(self) -> int:
        """Return a number that no other writer has, and clear what a killed one left under it."""
        if self._slot is None:
            for number in range(WRITERS):
                with contextlib.suppress(Busy):
                    self._slot = number, self._files.lock(self._folder / f"{number}.lock")
                    break
            else:
                raise OSError(errno.EMFILE, f"{WRITERS} writers are at work already")
            self._clear(self._slot[0])
        return self._slot[0]

    def _clear(self, slot: int) -> None:
        for name in self._files.list_dir(self._folder):
            if name.startswith(f"{slot}-"):
                chunk_id = _chunk_of(name)
                if chunk_id is not None:
                    self._check(chunk_id)
                self._files.unlink(self._folder / name)


def _chunk_of(name: str) -> ChunkId | None:
    try:
        _, device, epoch, seq = name.split(".")
        return ChunkId(device, int(epoch, 16), int(seq))
    except ValueError:
        return None
