"""Shell: what is where, and deleting it: through the running agent, or without one on the disk itself.

While an agent runs, the spool is its own. Without one, the disk is looked at for the length of one request; what is deleted
then is told to the next agent, which records the gap and has the archive erase what had left.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from capture.control import ask
from capture.errors import CaptureError, NotRunning

Id = tuple[int, int]
MAX_IDS = 2000
"""In one request to the agent, which reads 64 KiB."""
WAIT_S = 20.0
"""For the agent; a flush encodes what is open."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is where.

    Attributes:
        agent: its status, None when none runs. waiting: (ready at (wall ms), bytes) by id, of chunks that have not left.
        states: by id, what became of chunks: a transport.chunk_index.State in lower case; only where asked for.
        known: whether all that could be told. open_ms: wall ms since when something is open, None: nothing is.
        cost: see ReviewRequests.holdings. erasures: see transport.orders.listing.
    """

    agent: dict[str, Any] | None
    waiting: dict[Id, tuple[int, int]] = field(default_factory=dict)
    states: dict[Id, str] = field(default_factory=dict)
    known: bool = True
    open_ms: int | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    erasures: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, agent: dict[str, Any] | None, found: Mapping[str, Any]) -> Holdings:
        """Read what `found_of` gave, with what an agent adds."""
        return cls(
            agent,
            {(epoch, seq): (ready_ms, size) for epoch, seq, ready_ms, size in found["waiting"]},
            {(epoch, seq): state for epoch, seq, state in found["states"]},
            open_ms=found.get("open_wall_ms"),
            cost=found.get("cost", {}),
            erasures=tuple(found["erasures"]),
        )

    def place_of(self, one: Id) -> str:
        """Return where a chunk is: "here", "sent", "archived", "erasing", "dropped" (never sent, given up) or "unknown"."""
        if one in self.waiting:
            return "here"
        if not self.known:
            return "unknown"
        # What the index does not know may have left.
        state = self.states.get(one, "sent")
        return {"made": "dropped", "gone": "dropped"}.get(state, state)


class Look(Protocol):
    """Tells what is where without an agent (capture/reviewing.py)."""

    def __call__(self, *, states: bool) -> dict[str, Any]: ...


class Holder:
    """Asks the agent, or looks itself.

    Args:
        control: the agent's socket. look, erase: used when no agent runs; both may raise CaptureError.
    """

    def __init__(self, control: Path, *, look: Look, erase: Callable[[frozenset[Id]], dict[str, Any]]) -> None:
        self._control = control
        self._look = look
        self._erase = erase

    async def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """Send the agent a command. Raises: as capture.control.ask."""
        return await asyncio.to_thread(ask, self._control, command, wait_s=WAIT_S, **fields)

    async def look(self, *, states: bool = False) -> Holdings:
        """Return what is where now.

        Args:
            states: also what became of chunks that have left, which takes a look at a longer list.
        """
        try:
            return Holdings.of(await self.ask("status"), await self.ask("holdings", states=states))
        except NotRunning:
            pass
        try:
            return Holdings.of(None, await asyncio.to_thread(self._look, states=states))
        except CaptureError:  # the page shows what it has
            return Holdings(None, known=False)

    async def delete(self, ids: set[Id], *, open_too: bool) -> dict[str, Any]:
        """Delete chunks wherever they are; return what `Erased.to_answer` says, and whether an agent sends the order now.

        Raises:
            CaptureError: it was not all deleted; the text says why.
        """
        named = sorted(map(list, ids))
        total: Counter[str] = Counter()
        try:
            for start in range(0, max(1, len(named)), MAX_IDS):
                some = named[start : start + MAX_IDS]
                total.update(await self.ask("delete", ids=some, open=open_too and start == 0))
            return {**total, "now": True}
        except NotRunning:
            return {**await asyncio.to_thread(self._erase, frozenset(ids)), "now": False}
