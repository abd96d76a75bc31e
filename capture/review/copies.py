"""Shell: the person's own copies of what was recorded, so that they can look at it: sealed for their key, and bounded.

A chunk is sealed for the archive the moment it is made, and its writer cannot open it again. So, for as long as the
person's configuration says, a second one of the same content, sealed for a key of their own, lies in a folder of theirs. It
costs nothing on the wire, and it is deleted wherever its chunk is.

Guarantees: no more bytes and no older copies than allowed, after every `keep` and `prune`; recording never waits for a
copy or fails with it: where the disk is full or nearly so, copies are left out (and counted) and give their room back.
Does not guarantee that a power cut leaves the newest copies.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from capture.review.bounds import Bounds
from codec.chunk import MAX_CHUNK_BYTES, SECONDS_PER_DAY, parse_header, seal_chunk
from codec.errors import CodecError
from codec.model import ChunkId
from codec.seal import ArchivePublicKey, DeviceSigningKey

MIN_FREE_BYTES = 256 << 20
"""Below this the disk is for others: for the spool first."""

_NAME = re.compile(r"(\d{13})-([a-z0-9-]{4,32})-([0-9a-f]{8})-(\d{10})-(\d{3})\.chunk")
"""Closed at (wall ms), device, epoch, seq, value: what the folder's listing must tell, so that nothing is opened for it."""


class Folder(Protocol):
    """Whole files in one folder (transport/folder.py)."""

    def sizes(self) -> dict[str, int]: ...
    def read(self, name: str, *, limit_bytes: int) -> bytes: ...
    def write(self, name: str, content: bytes) -> None: ...
    def erase(self, names: Iterable[str]) -> None: ...
    def free_bytes(self) -> int: ...


class Packed(Protocol):
    """A chunk that was just made (capture/packer.py)."""

    @property
    def chunk_id(self) -> ChunkId: ...
    @property
    def chunk(self) -> bytes: ...
    @property
    def value(self) -> int: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy. closed_wall_ms: when its chunk was closed. value: as the chunk's. size_bytes: on the disk."""

    name: str
    chunk_id: ChunkId
    closed_wall_ms: int
    value: int
    size_bytes: int

    @classmethod
    def named(cls, name: str, size_bytes: int) -> Copy | None:
        """Return what a file's name says; None when it is no copy."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        closed, device, epoch, seq, value = found.groups()
        return cls(name, ChunkId(device, int(epoch, 16), int(seq)), int(closed), int(value), size_bytes)


class Copies:
    """The copies of one person. An instance may be used from several threads, a folder by several processes.

    Args:
        folder: where they lie.
        bounds: how long and how much.
        min_free_bytes: what copies leave free on the disk.
        wall_ns: the wall clock.
    """

    def __init__(
        self,
        folder: Folder,
        bounds: Bounds,
        *,
        min_free_bytes: int = MIN_FREE_BYTES,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.bounds = bounds
        self.skipped: Counter[str] = Counter()
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._wall_ns = wall_ns
        self._guard = threading.Lock()

    def entries(self) -> list[Copy]:
        """Return what there is, the oldest first.

        Raises:
            OSError: the folder cannot be read.
        """
        found = (Copy.named(name, size_bytes) for name, size_bytes in self._folder.sizes().items())
        return sorted((copy for copy in found if copy is not None), key=lambda copy: (copy.closed_wall_ms, copy.name))

    def read(self, copy: Copy) -> bytes:
        """Return a copy's bytes: a chunk that the person's key opens.

        Raises:
            FileNotFoundError: it was deleted since. OSError: the disk would not read.
        """
        return self._folder.read(copy.name, limit_bytes=MAX_CHUNK_BYTES)

    def keep(self, packed: Packed, recipient: ArchivePublicKey, signer: DeviceSigningKey) -> None:
        """Keep a copy of a chunk. Raises nothing: what cannot be copied is left out, and counted."""
        if not self.bounds.keeps:
            return
        try:
            content = seal_chunk(
                packed.chunk_id,
                packed.body,
                recipient=recipient,
                signer=signer,
                expires_s=parse_header(packed.chunk).expires_day * SECONDS_PER_DAY,
                value=packed.value,
            )
            with self._guard:
                if not self._make_room(len(content)):
                    self.skipped["copies for the review page: the disk is nearly full"] += 1
                    return
                self._folder.write(self._name_of(packed), content)
        except OSError as error:
            self.skipped[f"copies for the review page: {error.strerror or error}"] += 1
        except (CodecError, ValueError) as error:  # the chunk itself is in the spool, and counts
            self.skipped[f"copies for the review page: {error}"] += 1

    def prune(self) -> None:
        """Erase what is too old or too much.

        Raises:
            OSError: not all of it could be erased.
        """
        with self._guard:
            self._make_room(0)

    def forget(self, chosen: Callable[[Copy], bool]) -> list[Copy]:
        """Erase copies, and return them.

        Raises:
            OSError: some may still be there: ask again.
        """
        with self._guard:
            gone = [copy for copy in self.entries() if chosen(copy)]
            self._folder.erase(copy.name for copy in gone)
        return gone

    def next_due_s(self) -> float | None:
        """Return in how many seconds the oldest copy becomes too old; None when there is none."""
        oldest = next(iter(self.entries()), None)
        if oldest is None:
            return None
        return max(0.0, self.bounds.keep_s - (self._wall_ns() // 1_000_000 - oldest.closed_wall_ms) / 1000)

    def _name_of(self, packed: Packed) -> str:
        of = packed.chunk_id
        closed_ms = self._wall_ns() // 1_000_000
        return f"{closed_ms:013d}-{of.device}-{of.epoch:08x}-{of.seq:010d}-{packed.value:03d}.chunk"

    def _make_room(self, needed_bytes: int) -> bool:
        """Erase, the oldest first, what must go for `needed_bytes`; tell whether they may be written."""
        now_ms = self._wall_ns() // 1_000_000
        keep_ms = self.bounds.keep_s * 1000
        kept = self.entries()
        # A copy from the future was made while the clock was wrong: it would never become too old.
        old = [copy for copy in kept if not -keep_ms < now_ms - copy.closed_wall_ms < keep_ms]
        self._folder.erase([copy.name for copy in old])
        kept = [copy for copy in kept if copy not in old]
        total_bytes = sum(copy.size_bytes for copy in kept)
        missing_bytes = self._min_free_bytes + needed_bytes - self._folder.free_bytes()
        while kept and (total_bytes + needed_bytes > self.bounds.limit_bytes or missing_bytes > 0):
            oldest = kept.pop(0)
            self._folder.erase([oldest.name])
            total_bytes -= oldest.size_bytes
            missing_bytes -= oldest.size_bytes
        return needed_bytes <= self.bounds.limit_bytes and missing_bytes <= 0
