"""Shell: the archive: every chunk once, by its id, in a store that only needs put-if-absent.

`Store` is what a collector and a reader need; `FolderStore` keeps it in a folder, `<device>/<epoch>/<block>/<seq>.chunk`, at
most 1024 chunks to a folder. Guarantees of FolderStore: when `put` returns, the chunk and its name are on the disk; a chunk
that is there is whole (it is written under another name and linked); two writers, also of different processes, never
replace each other's chunk; files are 0600, folders 0700. It does not look into chunks.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codec.model import DEVICE_PATTERN, ChunkId
from transport.errors import Busy, Missing, StorageFailed, TooLarge
from transport.fs import Files, Handle, Open, opened, read_file, write_all

CHUNKS_PER_FOLDER = 1024
MAX_OBJECT_BYTES = 64 << 20
"""What is read back at most; anything larger is not a chunk of ours."""

WRITERS = 256
"""Processes that write at once, at most."""

SUFFIX = ".chunk"
INCOMING = ".incoming"
QUARANTINE = ".quarantine"
QUARANTINE_FILES = 256
QUARANTINE_BYTES = 64 << 20
"""Poison is kept for whoever wants to find out, up to these limits; then only counted."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a put led to. sha256: of what the archive holds under the id now. new: it was not there before."""

    chunk_id: ChunkId
    sha256: bytes
    new: bool


class Store(Protocol):
    """What keeps chunks. May raise StorageFailed."""

    def put(self, chunks: Sequence[tuple[ChunkId, bytes]]) -> list[Stored]:
        """Store each chunk unless its id is taken; all are durable on return."""

    def get(self, chunk_id: ChunkId) -> bytes:
        """Return a chunk. Raises Missing."""

    def contains(self, chunk_id: ChunkId) -> bool:
        """Tell whether the id is taken."""

    def iterate(self, device: str | None = None) -> Iterator[ChunkId]:
        """Yield the ids, by device, epoch and sequence; memory does not grow with the archive."""

    def quarantine(self, name: str, data: bytes) -> bool:
        """Keep bytes that are no chunk aside, within limits; tell whether they were kept."""


class FolderStore:
    """The archive in a folder."""

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self.root = root
        self._known: set[Path] = set()
        self._slot: tuple[int, Handle] | None = None
        try:
            for folder in (root, root / INCOMING, root / QUARANTINE):
                files.make_dir(folder)
            files.sync_dir(root)
            kept = files.list_dir(root / QUARANTINE)
            sizes = [self._size_of(root / QUARANTINE / name) for name in kept]
        except OSError as error:
            raise _failed("the archive cannot be opened", root, error) from error
        self._quarantined = len(kept)
        self._quarantined_bytes = sum(sizes)

    def path_of(self, chunk_id: ChunkId) -> Path:
        """Return where a chunk lies."""
        block = chunk_id.seq // CHUNKS_PER_FOLDER
        name = f"{chunk_id.seq:010d}{SUFFIX}"
        return self.root / chunk_id.device / f"{chunk_id.epoch:08x}" / f"{block:07d}" / name

    def put(self, chunks: Sequence[tuple[ChunkId, bytes]]) -> list[Stored]:
        """Store each chunk unless its id is taken; all are durable on return.

        Raises:
            StorageFailed: some may be stored, none is lost that was there: put them all again.
        """
        stored: list[Stored] = []
        touched: dict[Path, None] = {}
        for number, (chunk_id, data) in enumerate(chunks):
            path = self.path_of(chunk_id)
            try:
                new = self._put(path, data, number)
                if new:
                    digest = hashlib.sha256(data).digest()
                else:
                    digest = hashlib.sha256(read_file(self._files, path, limit_bytes=MAX_OBJECT_BYTES)).digest()
                touched[path.parent] = None  # also for one that was there: its writer may have died before this step
            except OSError as error:
                raise _failed("a chunk could not be archived", path, error) from error
            stored.append(Stored(chunk_id, digest, new))
        try:
            for folder in touched:
                self._files.sync_dir(folder)
        except OSError as error:
            raise _failed("the archive's folder could not be stored", self.root, error) from error
        return stored

    def get(self, chunk_id: ChunkId) -> bytes:
        """Return a chunk.

        Raises:
            Missing: there is none. StorageFailed: it is there and cannot be read. TooLarge: what lies there is no chunk.
        """
        path = self.path_of(chunk_id)
        try:
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
            for epoch in self._names(self.root / name):
                for block in self._names(self.root / name / epoch):
                    for file in self._names(self.root / name / epoch / block):
                        chunk_id = _id_of(name, epoch, file)
                        if chunk_id is not None:
                            yield chunk_id

    def quarantine(self, name: str, data: bytes) -> bool:
        """Keep bytes that are no chunk aside, within limits; tell whether they were kept."""
        if self._quarantined >= QUARANTINE_FILES or self._quarantined_bytes + len(data) > QUARANTINE_BYTES:
            return False
        path = self.root / QUARANTINE / f"{hashlib.sha256(data).hexdigest()[:32]}.{name}"
        try:
            with opened(self._files, path, Open.CREATE) as handle:
                write_all(handle, data, 0)
        except FileExistsError:
            return True
        except OSError:
            return False
        self._quarantined += 1
        self._quarantined_bytes += len(data)
        return True

    def _put(self, path: Path, data: bytes, number: int) -> bool:
        """Write under another name, then link: the name appears with the whole chunk, or another's was first."""
        if self._files.exists(path):
            return False
        self._make_folders(path.parent)
        try:
            return self._write_and_link(path, data, number)
        except FileNotFoundError:  # the folder is gone: everything in it was erased
            self._known.discard(path.parent)
            self._make_folders(path.parent)
            return self._write_and_link(path, data, number)

    def _write_and_link(self, path: Path, data: bytes, number: int) -> bool:
        incoming = self.root / INCOMING / f"{self._own_slot()}-{number}"
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(incoming)
        try:
            with opened(self._files, incoming, Open.CREATE) as handle:
                write_all(handle, data, 0)
                handle.sync()
            try:
                self._files.link(incoming, path)
            except FileExistsError:
                return False
            return True
        finally:
            with contextlib.suppress(OSError):
                self._files.unlink(incoming)

    def _own_slot(self) -> int:
        """Return a number that no other writer has, and clear what a killed one left under it."""
        if self._slot is None:
            folder = self.root / INCOMING
            for number in range(WRITERS):
                with contextlib.suppress(Busy):
                    self._slot = number, self._files.lock(folder / f"{number}.lock")
                    break
            else:
                raise OSError(errno.EMFILE, f"{WRITERS} writers are at work already")
            for name in self._files.list_dir(folder):
                if name.startswith(f"{self._slot[0]}-"):
                    self._files.unlink(folder / name)
        return self._slot[0]

    def _make_folders(self, folder: Path) -> None:
        """Make a chunk's folders durably, once."""
        if folder in self._known:
            return
        self._files.make_dir(folder)
        for parent in (folder.parent, folder.parent.parent, self.root):
            self._files.sync_dir(parent)
        if len(self._known) >= CHUNKS_PER_FOLDER:
            self._known.clear()
        self._known.add(folder)

    def _size_of(self, path: Path) -> int:
        with opened(self._files, path, Open.READ) as handle:
            return handle.size_bytes()

    def _names(self, folder: Path) -> Iterable[str]:
        try:
            return [name for name in self._files.list_dir(folder) if not name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []


def _id_of(device: str, epoch: str, file: str) -> ChunkId | None:
    try:
        return ChunkId(device, int(epoch, 16), int(file.removesuffix(SUFFIX))) if file.endswith(SUFFIX) else None
    except ValueError:
        return None


def _failed(what: str, path: Path, error: OSError) -> StorageFailed:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageFailed(f"{what}: {error.strerror or error}", str(path), disk_full=full)
