"""Shell: enforces retention: what may no longer be kept is removed from an archive, and stands there as a gap.

Each chunk's header names the day from whose start on it may not be kept. Write order, and what a crash after each step
leaves: the gap is recorded, synced (crash: the chunk is there, and expired: nobody takes it out, and the next run removes
it) → the chunk is removed, synced (a power cut before: the same).

Guarantees: no chunk is removed before its day, nor one whose header cannot be relied on (its CRC is looked at first): that
one is counted as damaged. Memory does not grow with the archive. Does not guarantee that anybody runs it: make it a daily timer.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from codec.chunk import PEEKED_BYTES, parse_header, peek_header
from codec.errors import CodecError
from codec.model import ChunkId
from codec.tombstone import Range, merged
from transport.errors import Missing, StorageFailed
from transport.fs import Files, Handle, read_file, replace_file
from transport.messages import NackCode

Check = Callable[[str, bytes], NackCode | None]
"""See transport/intake.py."""

FOLDER = ".expired"
SUFFIX = ".json"
VERSION = 1
MAX_RECORD_BYTES = 8 << 20
"""A device's record holds a range or two per epoch; this is thousands of holes."""
BATCH = 1024


class ExpiryLog:
    """What an archive has let expire: `.expired/<device>.json`, ranges of sequence numbers by epoch.

    Args:
        files: the file system. root: the archive's folder.
    """

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._folder = root / FOLDER

    def of(self, device: str) -> tuple[Range, ...]:
        """Return the ranges of a device that expired.

        Raises:
            StorageFailed: the record is damaged or cannot be read.
        """
        path = self._folder / f"{device}{SUFFIX}"
        try:
            fields = json.loads(read_file(self._files, path, limit_bytes=MAX_RECORD_BYTES))
            if fields["version"] != VERSION:
                raise ValueError(f"version {fields['version']!r}, this build reads {VERSION}")
            return merged(
                Range(int(epoch, 16), int(first), int(last))
                for epoch, ranges in fields["epochs"].items()
                for first, last in ranges
            )
        except FileNotFoundError:
            return ()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"a record of what expired is damaged ({error}): remove it, then its gaps count as unexplained"
            raise StorageFailed(what, str(path), disk_full=False) from error
        except OSError as error:
            raise StorageFailed("a record of what expired cannot be read", str(path), disk_full=False) from error

    def add(self, device: str, ranges: Iterable[Range]) -> None:
        """Record what expires now, durably. Raises: as `of`, and OSError."""
        epochs: dict[str, list[list[int]]] = {}
        for range_ in merged([*self.of(device), *ranges]):
            epochs.setdefault(f"{range_.epoch:08x}", []).append([range_.first, range_.last])
        self._files.make_dir(self._folder)
        self._files.sync_dir(self._folder.parent)
        data = json.dumps({"version": VERSION, "epochs": epochs}).encode()
        replace_file(self._files, self._folder / f"{device}{SUFFIX}", data)

    def lock(self) -> Handle:
        """Keep other processes from it until the handle is closed. Raises: Busy, OSError."""
        self._files.make_dir(self._folder)
        return self._files.lock(self._folder / ".lock")


class Archive(Protocol):
    """What is looked through (transport/archive.py)."""

    @property
    def expired(self) -> ExpiryLog: ...
    def iterate(self, device: str | None = None) -> Iterator[ChunkId]: ...
    def head(self, chunk_id: ChunkId, size_bytes: int) -> bytes: ...
    def get(self, chunk_id: ChunkId) -> bytes: ...
    def remove(self, ids: Iterable[ChunkId]) -> int: ...


@dataclass(slots=True)
class Expired:
    """What a run found.

    Attributes:
        looked_at, expired, removed: chunks. bytes: of those that expired. devices: how many had such.
        damaged: chunks whose header cannot be relied on; they stay.
    """

    looked_at: int = 0
    expired: int = 0
    removed: int = 0
    bytes: int = 0
    devices: set[str] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"devices": len(self.devices)}


def expire(
    archive: Archive,
    now_s: int,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Expired:
    """Remove every chunk that may no longer be kept.

    Args:
        archive: which. now_s: wall seconds since 1970. dry_run: only say what would be removed.
        progress: called with (chunks looked at, chunks in all).

    Raises:
        Busy: another process does so. StorageFailed: the disk would not; run it again.
    """
    found = Expired()
    with contextlib.ExitStack() as stack:
        try:
            if not dry_run:
                stack.enter_context(contextlib.closing(archive.expired.lock()))
        except OSError as error:
            raise StorageFailed("the record of what expired cannot be made", "", disk_full=False) from error
        of = sum(1 for _ in archive.iterate())
        batch: list[ChunkId] = []
        for chunk_id in archive.iterate():
            if batch and (batch[-1].device != chunk_id.device or len(batch) >= BATCH):
                _remove(archive, batch, found, dry_run)
                batch = []
            if _has_expired(archive, chunk_id, now_s, found):
                batch.append(chunk_id)
            progress(found.looked_at, of)
        _remove(archive, batch, found, dry_run)
    return found


def _has_expired(archive: Archive, chunk_id: ChunkId, now_s: int, found: Expired) -> bool:
    found.looked_at += 1
    try:
        header = peek_header(archive.head(chunk_id, PEEKED_BYTES))
        if header is not None and not header.has_expired(now_s):
            return False
        header = parse_header(archive.get(chunk_id))
    except Missing:  # erased a moment ago
        return False
    except CodecError as error:
        found.damaged.append(f"{chunk_id}: {error}")
        return False
    if header.chunk_id != chunk_id:
        found.damaged.append(f"{chunk_id}: holds chunk {header.chunk_id}")
        return False
    if not header.has_expired(now_s):
        return False
    found.expired += 1
    found.bytes += header.chunk_bytes
    found.devices.add(chunk_id.device)
    return True


def _remove(archive: Archive, batch: list[ChunkId], found: Expired, dry_run: bool) -> None:
    if not batch or dry_run:
        return
    try:
        archive.expired.add(batch[0].device, (Range(c.epoch, c.seq, c.seq) for c in batch))
    except OSError as error:
        raise StorageFailed("what expired could not be recorded", batch[0].device, disk_full=False) from error
    found.removed += archive.remove(batch)


def refusal(chunk: bytes, now_s: int) -> NackCode | None:
    """Say whether a chunk that arrives may not be kept any more: EXPIRED, or None. Its wholeness is the caller's to check."""
    header = peek_header(chunk)
    return NackCode.EXPIRED if header is not None and header.has_expired(now_s) else None


def before(check: Check | None, now_s: Callable[[], int]) -> Check:
    """Return a collector's check that refuses what has expired, and asks `check` of all else."""

    def judge(device: str, chunk: bytes) -> NackCode | None:
        refused = refusal(chunk, now_s())
        return refused if refused is not None or check is None else check(device, chunk)

    return judge


def describe(found: Expired, *, dry_run: bool) -> str:
    """Return a run's outcome as lines for a person."""
    done = "would be removed" if dry_run else "removed"
    count = found.expired if dry_run else found.removed
    lines = [
        f"{found.looked_at:,} chunks looked at, {count:,} of {len(found.devices):,} devices {done} ({found.bytes:,} bytes)"
    ]
    lines += [f"damaged, and left as it is: {what}" for what in found.damaged]
    return "\n".join(lines)
