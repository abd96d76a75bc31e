"""Shell: the tombstones that an archive keeps: `.tombstones/<device>/<digest>.tombstone`, beside the chunks.

Guarantees: when `keep` returns, the tombstone is on the disk, and so is the note that it is being carried out, which only
`finish` removes: an erasure that was interrupted is found again by `unfinished`. `covers` sees what any process has kept,
at once. A tombstone that another covers wholly is given up for it, so that a device erased as a whole has just one.
It verifies no signature: what is kept was verified by whoever kept it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from codec.errors import CodecError
from codec.model import DEVICE_PATTERN, ChunkId
from codec.tombstone import MAX_TOMBSTONE_BYTES, Tombstone, parse_tombstone
from transport.errors import StorageFailed, TooLarge
from transport.fs import Files, Handle, read_file, replace_file

FOLDER = ".tombstones"
OPEN = ".open"
SUFFIX = ".tombstone"
MAX_PER_DEVICE = 1024
"""Each is looked at for every chunk of the device; more are an attack or a mistake, and the archive's owner is asked."""
DEVICES_IN_MEMORY = 4096


class Tombstones:
    """See the module.

    Args:
        files: the file system. root: the archive's folder, which exists.
    """

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._folder = root / FOLDER
        self._open = self._folder / OPEN
        self._folders: dict[str, Path] = {}
        self._cache: dict[str, tuple[tuple[str, ...], tuple[Tombstone, ...]]] = {}

    def lock(self) -> Handle:
        """Keep other processes from erasing until the handle is closed.

        Raises:
            Busy: another one is at it. OSError: the folder cannot be made.
        """
        self._files.make_dir(self._open)
        self._files.sync_dir(self._folder.parent)
        return self._files.lock(self._folder / ".lock")

    def keep(self, data: bytes, tombstone: Tombstone) -> str:
        """Keep a tombstone, and note that it is being carried out. Call it under `lock`.

        Args:
            data: its bytes. tombstone: what they say, verified.

        Returns:
            its name, for `finish`.

        Raises:
            TooLarge: the device has as many as an archive keeps. OSError: it may be kept or not: keep it again.
        """
        folder = self._folder / tombstone.device
        name = hashlib.sha256(data).hexdigest()[:32]
        kept = self._names(tombstone.device)
        if name + SUFFIX not in kept and len(kept) >= MAX_PER_DEVICE:
            covered = [old for old in self.of(tombstone.device) if tombstone.covers_all_of(old)]
            if not covered:
                raise TooLarge(f"the count of tombstones of {tombstone.device}", actual=len(kept), limit=MAX_PER_DEVICE)
        self._files.make_dir(folder)
        self._files.sync_dir(self._folder)
        note = f"{tombstone.device}.{name}"
        replace_file(self._files, self._open / note, b"")
        replace_file(self._files, folder / (name + SUFFIX), data)
        return note

    def finish(self, note: str) -> None:
        """Note that a tombstone was carried out, durably; give up those that it covers wholly. Call it under `lock`."""
        device, name = note.rsplit(".", 1)
        self._give_up_covered(device, name + SUFFIX)
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(self._open / note)
        self._files.sync_dir(self._open)

    def unfinished(self) -> Iterator[tuple[str, Tombstone | None]]:
        """Yield what was begun and not finished: the note's name and the tombstone; None: it was never kept."""
        with contextlib.suppress(FileNotFoundError):
            for note in self._files.list_dir(self._open):
                device, _, name = note.rpartition(".")
                if DEVICE_PATTERN.fullmatch(device):
                    path = self._folder / device / (name + SUFFIX)
                    yield note, self._read(path) if self._files.exists(path) else None

    def of(self, device: str) -> tuple[Tombstone, ...]:
        """Return a device's tombstones.

        Raises:
            StorageFailed: one of them is damaged, or cannot be read.
        """
        while True:
            names = self._names(device)
            if not names:
                self._cache.pop(device, None)
                return ()
            cached = self._cache.get(device)
            if cached is not None and cached[0] == names:
                return cached[1]
            try:
                found = tuple(self._read(self._folder / device / name) for name in names)
            except FileNotFoundError:  # given up for one that covers it, a moment ago
                continue
            if len(self._cache) >= DEVICES_IN_MEMORY:
                self._cache.clear()
            self._cache[device] = names, found
            return found

    def covers(self, chunk_id: ChunkId) -> bool:
        """Tell whether a chunk is to be no more. Raises: as `of`."""
        return any(tombstone.covers(chunk_id) for tombstone in self.of(chunk_id.device))

    def _names(self, device: str) -> tuple[str, ...]:
        folder = self._folders.get(device)
        if folder is None:
            if len(self._folders) >= DEVICES_IN_MEMORY:
                self._folders.clear()
            folder = self._folders[device] = self._folder / device  # kept: it is asked for twice a chunk
        try:
            found = self._files.list_dir(folder)
        except FileNotFoundError:
            return ()
        except OSError as error:
            what = f"the tombstones of {device} cannot be read: {error.strerror or error}"
            raise StorageFailed(what, str(self._folder), disk_full=False) from error
        return tuple(name for name in found if name.endswith(SUFFIX) and not name.startswith("."))

    def _read(self, path: Path) -> Tombstone:
        try:
            return parse_tombstone(read_file(self._files, path, limit_bytes=MAX_TOMBSTONE_BYTES))
        except FileNotFoundError:
            raise
        except OSError as error:
            what = f"a tombstone cannot be read: {error.strerror or error}"
            raise StorageFailed(what, str(path), disk_full=False) from error
        except CodecError as error:
            what = f"a tombstone is damaged ({error}), so that nobody knows what it erased: restore it from a copy"
            raise StorageFailed(what, str(path), disk_full=False) from error

    def _give_up_covered(self, device: str, name: str) -> None:
        folder = self._folder / device
        if not self._files.exists(folder / name):
            return
        newest = self._read(folder / name)
        begun = {note for note, _ in self.unfinished()}
        old = [
            other
            for other in self._names(device)
            if other != name
            and f"{device}.{other.removesuffix(SUFFIX)}" not in begun
            and newest.covers_all_of(self._read(folder / other))
        ]
        for other in old:
            self._files.unlink(folder / other)
        if old:
            self._files.sync_dir(folder)
