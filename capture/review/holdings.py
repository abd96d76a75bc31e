"""Shell: what still waits on this machine, and deleting it: through the running agent, or without one in the spool itself.

While an agent runs, the spool is its own, and it alone can ask the archive to erase. Without one, the spool is opened
for the length of one request; what is deleted then is told to the next agent, so that the archive learns of the gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from capture.control import ask
from capture.errors import CaptureError, NotRunning
from capture.forgetting import Spool, leave_note
from capture.review.copies import Copies

Id = tuple[int, int]
WAIT_S = 20.0
"""For the agent; a flush encodes what is open."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is where.

    Attributes:
        agent: its status, None when none runs. waiting: (ready at (wall ms), bytes) by id, of chunks that have not left.
        known: whether `waiting` could be told. open_ms: wall ms since when something is open, None: nothing is.
        cost: see ReviewRequests.holdings.
    """

    agent: dict[str, Any] | None
    waiting: dict[Id, tuple[int, int]]
    known: bool = True
    open_ms: int | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    erasures: Sequence[dict[str, Any]] = ()


class OpenSpool(Protocol):
    """Opens the spool of this machine for the length of a `with`."""

    def __call__(self) -> AbstractContextManager[Spool]: ...


class Holder:
    """Asks the agent, or looks itself.

    Args:
        control: the agent's socket. open_spool: used when no agent runs. It may raise OSError or the transport's errors.
        copies: the person's own. note: where the next agent finds what was deleted without it.
    """

    def __init__(self, control: Path, open_spool: OpenSpool, copies: Copies, *, note: Path) -> None:
        self._control = control
        self._open_spool = open_spool
        self._copies = copies
        self._note = note

    async def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """Send the agent a command. Raises: as capture.control.ask."""
        return await asyncio.to_thread(ask, self._control, command, wait_s=WAIT_S, **fields)

    async def look(self) -> Holdings:
        """Return what is where now."""
        try:
            status, found = await self.ask("status"), await self.ask("holdings")
        except NotRunning:
            return await asyncio.to_thread(self._look_without)
        waiting = {(epoch, seq): (ready_ms, size) for epoch, seq, ready_ms, size in found["waiting"]}
        return Holdings(
            status, waiting, open_ms=found["open_wall_ms"], cost=found["cost"], erasures=found.get("erasures", ())
        )

    def _look_without(self) -> Holdings:
        try:
            with self._open_spool() as spool:
                entries = list(spool.entries())
        except Exception:  # whatever a disk or another process says: the page shows what it has
            return Holdings(None, {}, known=False)
        waiting = {
            (entry.chunk_id.epoch, entry.chunk_id.seq): (entry.ready_wall_ns // 1_000_000, entry.size_bytes)
            for entry in entries
        }
        return Holdings(None, waiting)

    async def delete(self, ids: set[Id], *, open_too: bool) -> dict[str, Any]:
        """Delete chunks wherever they are.

        Returns:
            gone: ids that had not left this machine. sent: those that had; asked: whether the archive is being asked to erase them.

        Raises:
            CaptureError: it was not all deleted; the text says why.
        """
        try:
            return await self.ask("delete", ids=sorted(map(list, ids)), open=open_too)
        except NotRunning:
            return await asyncio.to_thread(self._delete_without, ids)

    def _delete_without(self, ids: set[Id]) -> dict[str, Any]:
        def chosen(entry: Any) -> bool:
            return (entry.chunk_id.epoch, entry.chunk_id.seq) in ids

        try:
            self._copies.forget(chosen)
            with self._open_spool() as spool:
                gaps = spool.forget(chosen)
        except Exception as error:
            raise CaptureError(f"not everything could be deleted: {error}; try again") from error
        leave_note(self._note, gaps)
        gone = {(gap.chunk_id.epoch, gap.chunk_id.seq) for gap in gaps}
        return {"gone": sorted(gone), "sent": sorted(ids - gone), "asked": False}
