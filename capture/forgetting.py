"""Shell: deletes what has not left this machine: chunks in the spool, and the person's own copies of them.

Guarantees: copies go first, so that a chunk is never gone while its copy stays; what the disk refused is still there to be
asked for again. Everything happens in the thread that stores chunks, so that none is copied after it was forgotten.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from capture.errors import CaptureError
from capture.keyfiles import read_private, write_private
from capture.review.copies import Copies
from codec.model import ChunkId

if TYPE_CHECKING:
    from capture.chunker import Gap


class Entry(Protocol):
    """A chunk in the spool."""

    @property
    def chunk_id(self) -> ChunkId: ...
    @property
    def ready_wall_ns(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...


class Spool(Protocol):
    """Where chunks wait (transport/spool.py)."""

    def entries(self) -> Iterable[Entry]: ...
    def forget(self, which: Collection[ChunkId] | Callable[[Entry], bool]) -> Sequence[Gap]: ...


Result = TypeVar("Result")


class Forgetting:
    """Deletes from the spool and the copies.

    Args:
        spool, copies: what is deleted from. thread: in which chunks are stored.
        noted: called in the loop's thread with the chunks that will not arrive.
    """

    def __init__(
        self, spool: Spool, copies: Copies, thread: Executor, *, noted: Callable[[Sequence[Gap]], None]
    ) -> None:
        self._spool = spool
        self._copies = copies
        self._thread = thread
        self._noted = noted

    async def copies(self, which: Callable[[ChunkId], bool] = lambda chunk_id: True) -> None:
        """Delete copies, whether or not their chunk has left; without an argument all."""
        await self._run(lambda: self._copies.forget(lambda copy: which(copy.chunk_id)))

    async def where(self, which: Callable[[Entry], bool]) -> Sequence[Gap]:
        """Delete the chunks that a predicate chooses from the spool, with their copies; return those that had waited."""

        def forget() -> Sequence[Gap]:
            waiting = {entry.chunk_id for entry in self._spool.entries() if which(entry)}
            self._copies.forget(lambda copy: copy.chunk_id in waiting)
            return self._spool.forget(which)

        gaps = await self._run(forget)
        self._noted(gaps)
        return gaps

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A chunk that was deleted while no agent ran."""

    chunk_id: ChunkId
    reason: str = "forgotten"


def leave_note(path: Path, gaps: Sequence[Gap]) -> None:
    """Tell the next agent which chunks will not arrive, so that it can say so in what it records."""
    if not gaps:
        return
    told = [*_noted(path), *([gap.chunk_id.device, gap.chunk_id.epoch, gap.chunk_id.seq] for gap in gaps)]
    write_private(path, json.dumps(told).encode())


def take_note(path: Path) -> list[Forgotten]:
    """Return, once, what was deleted while no agent ran."""
    found = [Forgotten(ChunkId(*names)) for names in _noted(path)]
    path.unlink(missing_ok=True)
    return found


def _noted(path: Path) -> list[list[Any]]:
    if not path.exists():
        return []
    try:
        told = json.loads(read_private(path, what="the note of what was deleted"))
        return [[str(device), int(epoch), int(seq)] for device, epoch, seq in told]
    except (CaptureError, ValueError, TypeError):
        return []  # damaged: the archive will show a hole that nobody explains
