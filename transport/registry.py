"""Shell: the registry: a folder with one record per enrolled device (transport/devices.py), read by collectors as they work.

Guarantees: a record is replaced in one step, durably; writers of one machine exclude each other; a change (a revocation, a new
key) counts from the next chunk on, without a restart; a registry that others may write is refused, since whoever writes it lets
devices in. Nothing in it is secret: collectors hold no private key. Memory does not grow with the number of devices.

`check` is what a collector asks of every chunk: is it signed by a key that counts for the device that it names?
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from codec.chunk import parse_header, verify_chunk
from codec.errors import Corrupt
from codec.model import DEVICE_PATTERN
from codec.seal import DeviceVerifyKey
from transport.devices import BadRecord, Device
from transport.errors import Busy, TransportError
from transport.fs import Files, Handle, read_file, replace_file
from transport.messages import NackCode

SUFFIX = ".json"
MAX_RECORD_BYTES = 1 << 20
CACHED = 4096
"""Records in memory, some 2 kB each."""

LOCK_WAIT_S = 10.0
LOCK_STEP_S = 0.05


class Untrusted(TransportError):
    """The registry could have been changed by others."""


Stamp = tuple[int, int, int]
"""Inode, time of change and size: another record has another."""


class Registry:
    """See the module."""

    def __init__(self, files: Files, folder: Path, *, now_s: Callable[[], int] = lambda: int(time.time())) -> None:
        """Open a registry; its folder is made.

        Args:
            files: where. folder: which. now_s: the wall clock.

        Raises:
            Untrusted: others may write it.
        """
        self._files = files
        self.folder = folder
        self._now_s = now_s
        self._cache: OrderedDict[str, tuple[Stamp, Device]] = OrderedDict()
        files.make_dir(folder)
        _refuse_if_others_write(folder)

    def get(self, device: str) -> Device | None:
        """Return a device's record, None when it is not enrolled.

        Raises:
            BadRecord: it is damaged. Untrusted: others may write it. OSError: it cannot be read.
        """
        if not DEVICE_PATTERN.fullmatch(device):
            return None
        path = self._path(device)
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._cache.get(device)
        if known is not None and known[0] == stamp:
            self._cache.move_to_end(device)
            return known[1]
        _refuse_if_others_write(path)
        record = Device.from_json(read_file(self._files, path, limit_bytes=MAX_RECORD_BYTES))
        if record.device != device:
            raise BadRecord(f"{path} holds the record of {record.device}: it was renamed or copied")
        self._cache[device] = (stamp, record)
        self._cache.move_to_end(device)
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return record

    def devices(self) -> Iterator[str]:
        """Yield the enrolled devices' pseudonyms, sorted."""
        for name in self._files.list_dir(self.folder):
            if name.endswith(SUFFIX) and DEVICE_PATTERN.fullmatch(name.removesuffix(SUFFIX)):
                yield name.removesuffix(SUFFIX)

    def key_of(self, device: str, key_id: bytes) -> DeviceVerifyKey | None:
        """Return a device's key by its id (8 bytes) when it counts now, else None (unknown, ended, revoked)."""
        record = self.get(device)
        entry, refusal = record.judge(key_id, self._now_s()) if record is not None else (None, None)
        return entry.key if entry is not None and refusal is None else None

    def check(self, device: str, chunk: bytes) -> NackCode | None:
        """Say why a chunk that arrives on a device's topic is refused, None when it is not.

        Raises:
            CodecError: it is no whole chunk. BadRecord, Untrusted, OSError: the record cannot be trusted or read now.
        """
        header = parse_header(chunk)
        if header.chunk_id.device != device:
            return NackCode.WRONG_DEVICE
        record = self.get(device)
        if record is None:
            return NackCode.UNKNOWN_KEY
        entry, refusal = record.judge(header.signer_id, self._now_s())
        if entry is None or refusal is not None:
            return refusal
        try:
            verify_chunk(chunk, entry.key)
        except Corrupt:
            return NackCode.BAD_SIGNATURE
        return None

    def signature(self, chunk: bytes) -> str:
        """Say what is wrong with an archived chunk's signature, "" when nothing is. Keys that have ended since count as well.

        Raises:
            CodecError: it is no whole chunk. BadRecord, Untrusted, OSError: as `check`.
        """
        header = parse_header(chunk)
        record = self.get(header.chunk_id.device)
        entry = record.find(header.signer_id) if record is not None else None
        if entry is None:
            return f"signed by key {header.signer_id.hex()}, which was never enrolled for this device"
        try:
            verify_chunk(chunk, entry.key)
        except Corrupt:
            return "its signature is false: it was put there by somebody else, or changed"
        return ""

    def change(self, device: str, edit: Callable[[Device | None], Device]) -> Device:
        """Change a record, excluding other writers; return the new one.

        Args:
            device: whose. edit: gets the present record (None: there is none), returns the new one; may raise.

        Raises:
            Busy: another writer does not let go. BadRecord, Untrusted: as `get`.
        """
        with self.locked():
            after = edit(self.get(device))
            self.store(after)
            return after

    def store(self, record: Device) -> None:
        """Write a record. To be called while `locked` holds."""
        if record != self.get(record.device):
            replace_file(self._files, self._path(record.device), record.to_json())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other writers for the length of a `with` block.

        Raises:
            Busy: one does not let go.
        """
        handle = self._lock()
        try:
            yield
        finally:
            handle.close()

    def _lock(self) -> Handle:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                return self._files.lock(self.folder / ".lock")
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOCK_STEP_S)

    def _path(self, device: str) -> Path:
        return self.folder / f"{device}{SUFFIX}"


def _refuse_if_others_write(path: Path) -> None:
    mode = stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode)
    if os.name == "posix" and mode & 0o022:
        raise Untrusted(
            f"{path} may be written by others (mode {mode:03o}), who could let devices in: `chmod go-w {path}`, and look "
            "through `modicum keys ls`"
        )
