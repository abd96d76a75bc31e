"""Shell: the archive: every chunk once, by its id, in a store that only needs put-if-absent.

`Store` is what a collector and a reader need; `FolderStore` keeps it in a folder, `<device>/<epoch>/<block>/<seq>.chunk`, at
most 1024 chunks to a folder. Guarantees of FolderStore: when `put` returns, the chunk and its name are on the disk; a chunk
that is there is whole (it is written under another name and linked); two writers, also of different processes, never
replace each other's chunk; files are 0600, folders 0700. It does not look into chunks.

What a tombstone covers (transport/tombstones.py) is not stored, listed or given out, whichever came first, and whatever dies in
between: a chunk is linked, and after that the tombstones are looked at once more, before its temporary name goes; whoever
finds the temporary name of a dead writer looks at them again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from codec.model import DEVICE_PATTERN, ChunkId
from codec.tombstone import Range, Scope, Tombstone
from transport.errors import Missing, StorageFailed, TooLarge
from transport.expiry import ExpiryLog
from transport.fs import Files, Open, opened, read_exactly, read_file
from transport.incoming import Incoming
from transport.messages import NackCode
from transport.quarantine import Quarantine
from transport.tombstones import Tombstones

T = TypeVar("T")

CHUNKS_PER_FOLDER = 1024
MAX_OBJECT_BYTES = 64 << 20
"""What is read back at most; anything larger is not a chunk of ours."""

CACHED_FOLDERS = 4096
"""Folders' names in memory: making a path is dear."""

SUFFIX = ".chunk"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a put led to.

    Attributes:
        sha256: of what the archive holds under the id now. new: it was not there before.
        refused: why it holds nothing under the id, and never will (ERASED); None: it does.
    """

    chunk_id: ChunkId
    sha256: bytes
    new: bool
    refused: NackCode | None = None


class Store(Protocol):
    """What keeps chunks. May raise StorageFailed."""

    def put(self, chunks: Sequence[tuple[ChunkId, bytes]]) -> list[Stored]:
        """Store each chunk unless its id is taken or erased; all are durable on return."""

    def get(self, chunk_id: ChunkId) -> bytes:
        """Return a chunk. Raises Missing."""

    def contains(self, chunk_id: ChunkId) -> bool:
        """Tell whether the id is taken."""

    def iterate(self, device: str | None = None) -> Iterator[ChunkId]:
        """Yield the ids, by device, epoch and sequence; memory does not grow with the archive."""

    def gone(self, device: str) -> Iterable[Range]:
        """Return the ranges of a device's chunks that were erased or expired: their absence is no hole."""

    def quarantine(self, name: str, data: bytes) -> bool:
        """Keep bytes that are no chunk aside, within limits; tell whether they were kept."""


class FolderStore:
    """The archive in a folder."""

    def __init__(
        self,
        files: Files,
        root: Path,
        *,
        syncers: Executor | None = None,
        on_stored: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Open an archive, making it when there is none.

        Args:
            files: the file system. root: the folder.
            syncers: threads that wait for the disk, several at once; by default the caller's own, one file after another.
            on_stored: told after every batch how many seconds the disk took to have it.

        Raises:
            StorageFailed: it cannot be made or read.
        """
        self._files = files
        self.root = root
        self.tombstones = Tombstones(files, root)
        self.expired = ExpiryLog(files, root)
        self._syncers = syncers
        self._on_stored = on_stored
        self._known: set[Path] = set()
        self._folders: dict[tuple[str, int, int], Path] = {}
        try:
            self._incoming = Incoming(files, root, self._remove_if_erased)
            self._quarantine = Quarantine(files, root)
            files.sync_dir(root)
        except OSError as error:
            raise _failed("the archive cannot be opened", root, error) from error

    def path_of(self, chunk_id: ChunkId) -> Path:
        """Return where a chunk lies."""
        key = chunk_id.device, chunk_id.epoch, chunk_id.seq // CHUNKS_PER_FOLDER
        folder = self._folders.get(key)
        if folder is None:
            folder = self.root / chunk_id.device / f"{chunk_id.epoch:08x}" / f"{key[2]:07d}"
            if len(self._folders) >= CACHED_FOLDERS:
                self._folders.clear()
            self._folders[key] = folder
        return folder / f"{chunk_id.seq:010d}{SUFFIX}"

    def put(self, chunks: Sequence[tuple[ChunkId, bytes]]) -> list[Stored]:
        """Store each chunk unless its id is taken or erased; all are durable on return.

        Raises:
            StorageFailed: some may be stored, none is lost that was there: put them all again.
        """
        written: dict[Path, tuple[ChunkId, bytes]] = {}
        try:
            stored = self._put(chunks, written)
        except OSError as error:
            raise _failed("chunks could not be archived", self.root, error) from error
        finally:
            for incoming in written:
                with contextlib.suppress(OSError):
                    self._files.unlink(incoming)
        return stored

    def get(self, chunk_id: ChunkId) -> bytes:
        """Return a chunk.

        Raises:
            Missing: there is none. StorageFailed: it is there and cannot be read. TooLarge: what lies there is no chunk.
        """
        path = self.path_of(chunk_id)
        try:
            if self.tombstones.covers(chunk_id):
                raise Missing(f"chunk {chunk_id} was erased from the archive {self.root}")
            data = read_file(self._files, path, limit_bytes=MAX_OBJECT_BYTES)
        except FileNotFoundError:
            raise Missing(f"the archive {self.root} has no chunk {chunk_id}") from None
        except OSError as error:
            raise _failed("a chunk could not be read", path, error) from error
        if len(data) > MAX_OBJECT_BYTES:
            raise TooLarge(f"the file {path}", actual=len(data), limit=MAX_OBJECT_BYTES)
        return data

    def contains(self, chunk_id: ChunkId) -> bool:
        """Tell whether the id is taken."""
        return self._files.exists(self.path_of(chunk_id))

    def iterate(self, device: str | None = None) -> Iterator[ChunkId]:
        """Yield the ids, by device, epoch and sequence. One folder's names are in memory at a time."""
        devices = [device] if device is not None else self._names(self.root)
        for name in devices:
            if not DEVICE_PATTERN.fullmatch(name):
                continue
            tombstones = self.tombstones.of(name)
            for chunk_id in self._of_device(name):
                if not any(tombstone.covers(chunk_id) for tombstone in tombstones):
                    yield chunk_id

    def gone(self, device: str) -> Iterable[Range]:
        """Return the ranges of a device's chunks that were erased or expired: their absence is no hole.

        Raises:
            StorageFailed: a record of it is damaged.
        """
        erased = (range_ for tombstone in self.tombstones.of(device) for range_ in tombstone.ranges)
        return [*erased, *self.expired.of(device)]

    def head(self, chunk_id: ChunkId, size_bytes: int) -> bytes:
        """Return the first bytes of a chunk. Raises: as `get`."""
        path = self.path_of(chunk_id)
        try:
            with opened(self._files, path, Open.READ) as handle:
                return read_exactly(handle, size_bytes, 0)
        except FileNotFoundError:
            raise Missing(f"the archive {self.root} has no chunk {chunk_id}") from None
        except OSError as error:
            raise _failed("a chunk could not be read", path, error) from error

    def erase(self, tombstone: Tombstone) -> int:
        """Remove what a tombstone covers; on return it is gone durably, also what an earlier attempt had removed and not synced.

        Returns:
            how many chunks there were.

        Raises:
            StorageFailed: some may be left: erase again.
        """
        device = self.root / tombstone.device
        removed, folders = 0, {self.root, device}
        try:
            for epoch in self._names(device):
                folders.add(device / epoch)
                for block in self._names(device / epoch):
                    if not _may_hold(tombstone, epoch, block):
                        continue
                    folders.add(device / epoch / block)
                    for chunk_id in self._of_block(tombstone.device, epoch, block):
                        if tombstone.covers(chunk_id):
                            with contextlib.suppress(FileNotFoundError):
                                self._files.unlink(self.path_of(chunk_id))
                                removed += 1
            self._tidy(folders)
        except OSError as error:
            raise _failed("chunks could not be erased", self.root, error) from error
        return removed

    def remove(self, ids: Iterable[ChunkId]) -> int:
        """Remove chunks; on return they are gone durably, and so are the folders that became empty. What is not there is no error.

        Returns:
            how many there were.

        Raises:
            StorageFailed: some may be left: remove them again.
        """
        removed = 0
        touched: set[Path] = set()
        try:
            for chunk_id in ids:
                path = self.path_of(chunk_id)
                touched.add(path.parent)
                with contextlib.suppress(FileNotFoundError):
                    self._files.unlink(path)
                    removed += 1
                if len(touched) > CHUNKS_PER_FOLDER:
                    self._tidy(touched)
                    touched.clear()
            self._tidy(touched)
        except OSError as error:
            raise _failed("chunks could not be removed", self.root, error) from error
        return removed

    def drop_quarantined(self, matches: Callable[[str, bytes], bool]) -> int:
        """Remove quarantined payloads of which `matches` says so, given the file's name and its first bytes.

        Returns:
            how many.

        Raises:
            StorageFailed: some may be left.
        """
        try:
            return self._quarantine.drop(matches)
        except OSError as error:
            raise _failed("the quarantine could not be cleared", self.root, error) from error

    def sweep(self) -> None:
        """Clear what killed writers left under their temporary names, and what they had linked although it was erased.

        Raises:
            StorageFailed: something is left.
        """
        try:
            self._incoming.sweep()
        except OSError as error:
            raise _failed("what killed writers left could not be cleared", self.root, error) from error

    def quarantine(self, name: str, data: bytes) -> bool:
        """Keep bytes that are no chunk aside, within limits; tell whether they were kept."""
        return self._quarantine.keep(name, data)

    def _put(self, chunks: Sequence[tuple[ChunkId, bytes]], written: dict[Path, tuple[ChunkId, bytes]]) -> list[Stored]:
        """Write under other names, sync, link: a name appears with the whole chunk, or another's was first."""
        plans: list[Path | NackCode | None] = []  # written there; refused; already stored
        places = [self.path_of(chunk_id) for chunk_id, _ in chunks]  # once: making a path is dear
        new_folders: set[Path] = set()
        for number, ((chunk_id, data), path) in enumerate(zip(chunks, places, strict=True)):
            if self.tombstones.covers(chunk_id):
                plans.append(NackCode.ERASED)
            elif self._files.exists(path):
                plans.append(None)
            else:
                incoming = self._incoming.name(number, chunk_id)
                written[incoming] = chunk_id, data
                plans.append(incoming)
                new_folders.add(path.parent)
        started_s = time.monotonic()
        self._each(lambda incoming: self._incoming.write(incoming, written[incoming][1]), list(written))
        self._make_folders(new_folders)
        touched: dict[Path, None] = {}
        stored: list[Stored] = []
        for (chunk_id, data), path, plan in zip(chunks, places, plans, strict=True):
            if isinstance(plan, NackCode):
                stored.append(Stored(chunk_id, b"", False, plan))
                continue
            new = plan is not None and self._link(plan, path)
            known = data if new else read_file(self._files, path, limit_bytes=MAX_OBJECT_BYTES)
            touched[path.parent] = None  # also for one that was there: its writer may have died before this step
            stored.append(Stored(chunk_id, hashlib.sha256(known).digest(), new))
        self._each(self._files.sync_dir, list(touched))
        if touched:
            self._on_stored(time.monotonic() - started_s)
        return self._without_erased(stored)

    def _link(self, incoming: Path, path: Path) -> bool:
        for again in (False, True):
            try:
                self._files.link(incoming, path)
            except FileExistsError:
                return False
            except FileNotFoundError:  # the folder is gone: everything in it was erased
                if again:
                    raise
                self._known.discard(path.parent)
                self._make_folders([path.parent])
            else:
                break
        return True

    def _without_erased(self, stored: list[Stored]) -> list[Stored]:
        """Take back what was erased while it was being stored."""
        late = {s.chunk_id for s in stored if s.refused is None and self.tombstones.covers(s.chunk_id)}
        if not late:
            return stored
        self.remove(late)
        return [Stored(s.chunk_id, b"", False, NackCode.ERASED) if s.chunk_id in late else s for s in stored]

    def _each(self, work: Callable[[T], None], items: Sequence[T]) -> None:
        """Do something to each item, at once where there are threads for it; raise the first failure after all are done."""
        if self._syncers is None or len(items) < 2:
            for item in items:
                work(item)
            return
        done = [self._syncers.submit(work, item) for item in items]
        for future in wait(done).done:
            future.result()

    def _tidy(self, folders: Iterable[Path]) -> None:
        """Sync folders, and remove them, and those above them, where nothing is left in them."""
        for folder in sorted(folders, reverse=True):
            with contextlib.suppress(FileNotFoundError):
                self._files.sync_dir(folder)
            self._known.discard(folder)
            while folder != self.root:
                try:
                    self._files.remove_dir(folder)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    break
                folder = folder.parent
                with contextlib.suppress(FileNotFoundError):
                    self._files.sync_dir(folder)

    def _remove_if_erased(self, chunk_id: ChunkId) -> None:
        if self.tombstones.covers(chunk_id):
            self.remove([chunk_id])

    def _make_folders(self, folders: Iterable[Path]) -> None:
        """Make chunks' folders durably, once; what they have in common is synced once."""
        missing = [folder for folder in folders if folder not in self._known]
        for folder in missing:
            self._files.make_dir(folder)
        above = {parent for folder in missing for parent in (folder.parent, folder.parent.parent, self.root)}
        self._each(self._files.sync_dir, sorted(above, reverse=True))
        if len(self._known) + len(missing) > CACHED_FOLDERS:
            self._known.clear()
        self._known.update(missing)

    def _of_device(self, device: str) -> Iterator[ChunkId]:
        for epoch in self._names(self.root / device):
            for block in self._names(self.root / device / epoch):
                yield from self._of_block(device, epoch, block)

    def _of_block(self, device: str, epoch: str, block: str) -> Iterator[ChunkId]:
        for file in self._names(self.root / device / epoch / block):
            chunk_id = _id_of(device, epoch, file)
            if chunk_id is not None:
                yield chunk_id

    def _names(self, folder: Path) -> Iterable[str]:
        try:
            return [name for name in self._files.list_dir(folder) if not name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _failed("a folder of the archive could not be read", folder, error) from error


def _id_of(device: str, epoch: str, file: str) -> ChunkId | None:
    try:
        return ChunkId(device, int(epoch, 16), int(file.removesuffix(SUFFIX))) if file.endswith(SUFFIX) else None
    except ValueError:
        return None


def _may_hold(tombstone: Tombstone, epoch: str, block: str) -> bool:
    """Tell whether a folder may hold what a tombstone covers."""
    if tombstone.scope is Scope.DEVICE:
        return True
    try:
        first = int(block) * CHUNKS_PER_FOLDER
        ranges = [range_ for range_ in tombstone.ranges if range_.epoch == int(epoch, 16)]
    except ValueError:
        return False
    return any(range_.first < first + CHUNKS_PER_FOLDER and range_.last >= first for range_ in ranges)


def _failed(what: str, path: Path, error: OSError) -> StorageFailed:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageFailed(f"{what}: {error.strerror or error}", str(path), disk_full=full)
