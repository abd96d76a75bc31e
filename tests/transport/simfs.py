"""A file system in memory that fails and forgets on command: the model that the spool is tested against.

It keeps two states. `now` is what a process sees (the page cache). `disk` is what a crash leaves: contents as of the file's
last sync, names as of the folder's last sync. At a crash each write since may have reached the disk or not, whole or in
part, and so may each change of a name: the dice decide, as on a real machine without barriers.
"""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, field
from pathlib import Path

from transport.errors import Busy
from transport.fs import Handle, Open

SECTOR_BYTES = 512
"""Written whole or not at all."""


@dataclass
class Inode:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)  # writes (offset, data) or truncations (size)


class SimHandle:
    def __init__(self, files: SimFiles, inode: Inode) -> None:
        self._files = files
        self._inode = inode

    def pread(self, size_bytes: int, offset: int) -> bytes:
        self._files.step("read")
        return bytes(self._inode.data[offset : offset + size_bytes])

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        piece = bytes(data)
        taken = self._files.admit(self._inode, piece, offset)
        piece = piece[:taken]
        if len(self._inode.data) < offset + len(piece):
            self._inode.data.extend(bytes(offset + len(piece) - len(self._inode.data)))
        self._inode.data[offset : offset + len(piece)] = piece
        self._inode.pending.append((offset, piece))
        return len(piece)

    def size_bytes(self) -> int:
        return len(self._inode.data)

    def truncate(self, size_bytes: int) -> None:
        self._files.step("truncate")
        del self._inode.data[size_bytes:]
        self._inode.data.extend(bytes(size_bytes - len(self._inode.data)))
        self._inode.pending.append(size_bytes)

    def allocate(self, size_bytes: int) -> None:
        if size_bytes > len(self._inode.data):
            self.truncate(size_bytes)

    def sync(self) -> None:
        try:
            self._files.step("sync")
        except OSError:
            # as Linux does it: the pages count as clean afterwards, whether or not they reached the disk
            self._inode.synced = bytes(self._files.survive(self._inode))
            self._inode.pending.clear()
            raise
        self._inode.synced = bytes(self._inode.data)
        self._inode.pending.clear()

    def close(self) -> None:
        pass


class LockHandle(SimHandle):
    def __init__(self, files: SimFiles, path: Path) -> None:
        super().__init__(files, Inode())
        self._path = path

    def close(self) -> None:
        self._files.locked.discard(self._path)


class SimFiles:
    """See the module.

    Attributes:
        fail_at: steps until the next failure (None = none). failure: its errno. fail_for: so many steps in a row fail.
        crash_at: steps until the process is killed. capacity_bytes: of the disk. short_writes: writes take a part only.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.now: dict[Path, Inode] = {}
        self.folders: dict[Path, dict[str, Inode]] = {}  # names as on the disk
        self.dirs: set[Path] = set()
        self.synced_dirs: set[Path] = set()
        self.removed_dirs: set[Path] = set()  # whose end is not on the disk yet
        self.locked: set[Path] = set()
        self.steps = 0
        self.fail_at: int | None = None
        self.failure: int = errno.EIO
        self.fail_for = 1
        self.crash_at: int | None = None
        self.capacity_bytes = 1 << 40
        self.short_writes = False

    class Killed(BaseException):
        """The process ends here."""

    # -- faults

    def step(self, what: str) -> None:
        self.steps += 1
        if self.crash_at is not None:
            self.crash_at -= 1
            if self.crash_at <= 0:
                raise SimFiles.Killed
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at <= 0:
                self.fail_for -= 1
                if self.fail_for <= 0:
                    self.fail_at = None
                raise OSError(self.failure, f"simulated at {what}")

    def used_bytes(self) -> int:
        return sum(-(-len(inode.data) // 4096) * 4096 for inode in self.now.values())

    def admit(self, inode: Inode, piece: bytes, offset: int) -> int:
        """Return how much of a write is taken."""
        self.step("write")
        grown = max(0, offset + len(piece) - len(inode.data))
        room = self.capacity_bytes - self.used_bytes() + (-len(inode.data)) % 4096
        if grown > room:
            taken = len(piece) - (grown - max(0, room))
            if taken <= 0:
                raise OSError(errno.ENOSPC, "simulated: no space")
            return taken
        if self.short_writes and len(piece) > 1:
            return self.rng.randint(1, len(piece))
        return len(piece)

    def survive(self, inode: Inode) -> bytearray:
        """Return what of an inode's unsynced changes reached the disk."""
        data = bytearray(inode.synced)
        for change in inode.pending:
            fate = self.rng.random()
            if fate < 0.35:
                continue
            if isinstance(change, int):
                del data[change:]
                data.extend(bytes(change - len(data)))
                continue
            offset, piece = change
            if len(data) < offset + len(piece):
                data.extend(bytes(offset + len(piece) - len(data)))
            if fate < 0.7:
                data[offset : offset + len(piece)] = piece
                continue
            for start in range(offset - offset % SECTOR_BYTES, offset + len(piece), SECTOR_BYTES):  # some sectors of it
                if self.rng.random() < 0.5:
                    first, last = max(start, offset), min(start + SECTOR_BYTES, offset + len(piece))
                    data[first:last] = piece[first - offset : last - offset]
        return data

    def kill(self) -> None:
        """End the process, not the machine: the page cache stays."""
        self.locked.clear()
        self.crash_at = self.fail_at = None

    def cut_power(self) -> None:
        """End the machine: what was not synced is at the mercy of the dice."""
        self.kill()
        self.dirs |= {path for path in self.removed_dirs if path.parent in self.dirs and self.rng.random() < 0.5}
        self.synced_dirs |= self.removed_dirs & self.dirs
        self.removed_dirs.clear()
        lost = {path for path in self.dirs - self.synced_dirs if self.rng.random() < 0.5}
        self.dirs = {path for path in self.dirs if not lost & {path, *path.parents}}
        self.synced_dirs = set(self.dirs)
        names: dict[Path, Inode] = {}
        for folder in self.dirs:
            on_disk = self.folders.get(folder, {})
            seen = {path.name: inode for path, inode in self.now.items() if path.parent == folder}
            for name in set(on_disk) | set(seen):
                if on_disk.get(name) is seen.get(name):
                    inode = seen.get(name)
                else:
                    inode = on_disk.get(name) if self.rng.random() < 0.5 else seen.get(name)
                if inode is not None:
                    names[folder / name] = inode
        for inode in {id(inode): inode for inode in names.values()}.values():
            inode.data = self.survive(inode)
            inode.synced = bytes(inode.data)
            inode.pending.clear()
        self.now = names
        for folder in self.dirs:
            self.folders[folder] = {path.name: inode for path, inode in names.items() if path.parent == folder}

    def damage(self, path: Path, offset: int, data: bytes) -> None:
        """Change bytes behind everybody's back."""
        inode = self.now[path]
        end = min(len(inode.data), offset + len(data))
        inode.data[offset:end] = data[: max(0, end - offset)]
        inode.synced = bytes(inode.data)
        inode.pending.clear()

    # -- transport.fs.Files

    def open(self, path: Path, how: Open) -> Handle:
        self.step("open")
        if how is Open.CREATE:
            if path in self.now:
                raise FileExistsError(errno.EEXIST, str(path))
            if path.parent not in self.dirs:
                raise FileNotFoundError(errno.ENOENT, str(path))
            self.now[path] = Inode()
        elif path not in self.now:
            raise FileNotFoundError(errno.ENOENT, str(path))
        return SimHandle(self, self.now[path])

    def make_dir(self, path: Path) -> None:
        self.step("make_dir")
        self.dirs |= {path, *path.parents}
        self.removed_dirs -= self.dirs

    def list_dir(self, path: Path) -> list[str]:
        self.step("list")
        if path not in self.dirs:
            raise FileNotFoundError(errno.ENOENT, str(path))
        return sorted(name.name for name in [*self.now, *self.dirs] if name.parent == path and name != path)

    def exists(self, path: Path) -> bool:
        return path in self.now or path in self.dirs

    def rename(self, source: Path, target: Path) -> None:
        self.step("rename")
        self.now[target] = self.now.pop(source)

    def link(self, source: Path, target: Path) -> None:
        self.step("link")
        if target in self.now:
            raise FileExistsError(errno.EEXIST, str(target))
        if target.parent not in self.dirs:
            raise FileNotFoundError(errno.ENOENT, str(target))
        self.now[target] = self.now[source]

    def unlink(self, path: Path) -> None:
        self.step("unlink")
        if path not in self.now:
            raise FileNotFoundError(errno.ENOENT, str(path))
        del self.now[path]

    def remove_dir(self, path: Path) -> None:
        self.step("remove_dir")
        if path not in self.dirs:
            raise FileNotFoundError(errno.ENOENT, str(path))
        if any(name.parent == path for name in [*self.now, *self.dirs]):
            raise OSError(errno.ENOTEMPTY, str(path))
        self.dirs.discard(path)
        if path in self.synced_dirs:
            self.synced_dirs.discard(path)
            self.removed_dirs.add(path)

    def sync_dir(self, path: Path) -> None:
        self.step("sync_dir")
        for gone in [folder for folder in self.removed_dirs if folder.parent == path]:
            self.removed_dirs.discard(gone)
            self.folders.pop(gone, None)
        self.folders[path] = {name.name: inode for name, inode in self.now.items() if name.parent == path}
        self.synced_dirs |= {folder for folder in self.dirs if folder.parent == path}

    def free_bytes(self, path: Path) -> int:
        return max(0, self.capacity_bytes - self.used_bytes())

    def lock(self, path: Path) -> Handle:
        if path in self.locked:
            raise Busy(str(path))
        self.locked.add(path)
        return LockHandle(self, path)
