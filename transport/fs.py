"""Shell: the file system as the transport sees it: one seam, where tests put a simulated disk that fails and forgets.

This is the only module that calls `os.fsync` and `os.fdatasync`. Guarantees of `RealFiles`: files are made with mode
0600 and folders with 0700 (whatever the umask), symbolic links are not followed when a file is opened, and `sync`
returns only when the kernel has reported the data as stored. It does not retry, and it hides no error: after a failed
`sync` the kernel may have dropped the data while a later `sync` succeeds, so the caller must write it again elsewhere.

The functions below the protocols are the recipes that every user needs (write all of it, replace a file as a whole);
they work over any `Files`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Protocol

from transport.errors import Busy

READ_STEP_BYTES = 1 << 20
"""Files are read in steps of this size, so that a stated length never takes memory by itself."""


class Open(Enum):
    """How a file is opened."""

    READ = "read"  # it must exist
    WRITE = "write"  # it must exist; read and written
    CREATE = "create"  # it must not exist; read and written


class Handle(Protocol):
    """An open file. Every method may raise OSError."""

    def pread(self, size_bytes: int, offset: int) -> bytes:
        """Return up to `size_bytes` from `offset`; fewer only at the end or when the system feels like it."""

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write at `offset`; return how many bytes were taken, which may be fewer than given."""

    def size_bytes(self) -> int:
        """Return the file's size."""

    def truncate(self, size_bytes: int) -> None:
        """Cut or zero-extend the file to `size_bytes`."""

    def allocate(self, size_bytes: int) -> None:
        """Take the disk space of the first `size_bytes` now, so that writing them cannot fail for lack of it."""

    def sync(self) -> None:
        """Return when the data (and the size needed to read it) is on the disk."""

    def close(self) -> None:
        """Close; further closes do nothing."""


class Files(Protocol):
    """A file system. Every method may raise OSError."""

    def open(self, path: Path, how: Open) -> Handle:
        """Open a file. Raises FileNotFoundError (READ, WRITE) or FileExistsError (CREATE)."""

    def make_dir(self, path: Path) -> None:
        """Make a folder and its parents, mode 0700; nothing happens where it exists."""

    def list_dir(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted."""

    def exists(self, path: Path) -> bool:
        """Tell whether something has this name."""

    def rename(self, source: Path, target: Path) -> None:
        """Give `source` the name `target`, replacing what had it, in one step."""

    def link(self, source: Path, target: Path) -> None:
        """Give the file a second name. Raises FileExistsError when it is taken: the put-if-absent of a folder."""

    def unlink(self, path: Path) -> None:
        """Remove a name. Raises FileNotFoundError."""

    def remove_dir(self, path: Path) -> None:
        """Remove an empty folder. Raises FileNotFoundError, or OSError (ENOTEMPTY) when something is in it."""

    def sync_dir(self, path: Path) -> None:
        """Return when the names in this folder (made, renamed, removed) are on the disk."""

    def free_bytes(self, path: Path) -> int:
        """Return how many bytes the disk below `path` has left for us."""

    def lock(self, path: Path) -> Handle:
        """Hold an exclusive lock on a file (made if need be) until the handle is closed or the process ends.

        Raises:
            Busy: another process holds it.
        """


class RealHandle:
    """A file of the operating system."""

    __slots__ = ("_fd", "path")

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self.path = path

    def pread(self, size_bytes: int, offset: int) -> bytes:
        return os.pread(self._fd, size_bytes, offset)

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        return os.pwrite(self._fd, data, offset)

    def size_bytes(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._fd, size_bytes)

    def allocate(self, size_bytes: int) -> None:
        try:
            os.posix_fallocate(self._fd, 0, size_bytes)
        except AttributeError:  # macOS has no such call: writing zeros comes nearest
            missing = size_bytes - self.size_bytes()
            if missing > 0:
                write_all(self, bytes(missing), self.size_bytes())

    def sync(self) -> None:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone leaves the data in the drive's cache
            fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.close()


class RealFiles:
    """The operating system's files."""

    __slots__ = ()

    def open(self, path: Path, how: Open) -> Handle:
        flags = {
            Open.READ: os.O_RDONLY,
            Open.WRITE: os.O_RDWR,
            Open.CREATE: os.O_RDWR | os.O_CREAT | os.O_EXCL,
        }[how]
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return RealHandle(fd, path)

    def make_dir(self, path: Path) -> None:
        for folder in reversed([path, *path.parents]):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)

    def list_dir(self, path: Path) -> list[str]:
        return sorted(os.listdir(path))

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def remove_dir(self, path: Path) -> None:
        os.rmdir(path)

    def sync_dir(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize

    def lock(self, path: Path) -> Handle:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise Busy(str(path)) from error
            raise
        return RealHandle(fd, path)


def write_all(handle: Handle, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`, however many steps the system makes of it.

    Raises:
        OSError: some of it may be written.
    """
    rest = memoryview(data)
    while rest:
        taken = handle.pwrite(rest, offset)
        if taken <= 0:
            raise OSError(errno.EIO, "the file system takes no bytes and gives no error")
        rest = rest[taken:]
        offset += taken


def read_exactly(handle: Handle, size_bytes: int, offset: int) -> bytes:
    """Return the bytes from `offset` on, `size_bytes` of them, fewer only where the file ends.

    Raises:
        OSError: the disk would not read.
    """
    pieces: list[bytes] = []
    while size_bytes > 0:
        piece = handle.pread(min(size_bytes, READ_STEP_BYTES), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        size_bytes -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextlib.contextmanager
def opened(files: Files, path: Path, how: Open) -> Iterator[Handle]:
    """Open a file for the length of a `with` block."""
    handle = files.open(path, how)
    try:
        yield handle
    finally:
        handle.close()


def read_file(files: Files, path: Path, *, limit_bytes: int) -> bytes:
    """Return a whole small file.

    Args:
        files: where. path: which.
        limit_bytes: the most that is read; a longer file comes back cut to `limit_bytes + 1`, so that it shows.

    Raises:
        FileNotFoundError, OSError: as they say.
    """
    with opened(files, path, Open.READ) as handle:
        return read_exactly(handle, limit_bytes + 1, 0)


def replace_file(files: Files, path: Path, data: bytes) -> None:
    """Make `path` hold `data` and nothing else, durably and in one step: after a crash it is the old or the new.

    Raises:
        OSError: `path` is as it was, unless only the last step (the folder's sync) failed: then it is either.
    """
    temporary = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        files.unlink(temporary)
    try:
        with opened(files, temporary, Open.CREATE) as handle:
            write_all(handle, data, 0)
            handle.sync()
        files.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            files.unlink(temporary)
        raise
    files.sync_dir(path.parent)
