"""Shell: what the review page asks of the running agent beyond status, pause and resume: what is where, and deletion.

One request's answer is one moment's truth: ids are (epoch, seq) pairs of this device.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from capture.control import Answer, Command
from capture.errors import CaptureError
from capture.forgetting import Entry
from codec.model import ChunkId

if TYPE_CHECKING:
    from capture.agent import Agent

MAX_IDS = 2500
"""In one request, which has 64 KiB."""


class Indexed(Protocol):
    """A chunk in the index (transport/chunk_index.py)."""

    @property
    def chunk_id(self) -> ChunkId: ...
    @property
    def state(self) -> IntEnum: ...


class ReviewRequests:
    """The commands of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def by_name(self) -> dict[str, Command]:
        """Return them as the control socket knows them."""
        return {"holdings": self.holdings, "delete": self.delete}

    async def holdings(self, request: Mapping[str, Any]) -> Answer:
        """Return what is where (see `found_of`; states only if `states` is true), and what recording has cost."""
        agent = self._agent
        states = request.get("states") is True

        def look() -> dict[str, Any]:
            entries = agent.index.entries() if states else ()
            kept = {copy.chunk_id for copy in agent.copies.entries()} if states else set()
            return found_of(agent.spool.entries(), entries, kept, agent.orders.listed())

        try:
            found = await asyncio.to_thread(look)
        except Exception as error:  # the disk's and the transport's
            raise CaptureError(f"what waits on this machine cannot be told: {error}") from error
        usage, power = agent.usage.current(), agent.power.current()
        return found | {
            "device": agent.device,
            "open_wall_ms": open_since_ms(agent),
            "cost": {
                "cpu_s": time.process_time(),
                "running_s": time.time() - agent.started_wall_s,
                "cpu_ratio": usage.cpu_ratio,
                "wakeups_s": usage.wakeups_s,
                "rss_bytes": usage.rss_bytes,
                "on_battery": power.on_battery,
                "battery_ratio": power.battery_ratio,
            },
        }

    async def delete(self, request: Mapping[str, Any]) -> Answer:
        """Delete chunks (`ids`) here and in the archive, and what is open if `open` is true.

        Returns:
            See transport/orders.py, `Erased.to_answer`.
        """
        agent, ids = self._agent, ids_of(request)
        if request.get("open") is True:
            await agent.conductor.discard_open()
        if not ids:
            return {}
        try:
            answer = (await agent.erase(ids=frozenset(ids))).to_answer()
            # Copies of what an earlier device's name made, which no order of this one can name.
            await agent.forgetting.copies(lambda chunk_id: (chunk_id.epoch, chunk_id.seq) in ids)
        except Exception as error:  # the disk's and the transport's
            raise CaptureError(f"not everything could be deleted: {error}; try again") from error
        return answer


def found_of(
    waiting: Iterable[Entry], index: Iterable[Indexed], kept: Collection[ChunkId], orders: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what is where, as plain values.

    Args:
        waiting: in the spool. index: where chunks are. kept: of which there are copies. orders: see transport.orders.listing.

    Returns:
        waiting: [epoch, seq, ready at (wall ms), bytes]; states: [epoch, seq, name] of what is kept; erasures: the orders.
    """
    return {
        "waiting": [
            [entry.chunk_id.epoch, entry.chunk_id.seq, entry.ready_wall_ns // 1_000_000, entry.size_bytes]
            for entry in waiting
        ],
        "states": [
            [one.chunk_id.epoch, one.chunk_id.seq, one.state.name.lower()] for one in index if one.chunk_id in kept
        ],
        "erasures": orders[:MAX_ORDERS],
    }


MAX_ORDERS = 50
"""The newest, for the page."""


def ids_of(request: Mapping[str, Any]) -> set[tuple[int, int]]:
    """Return the ids that a request names.

    Raises:
        CaptureError: they are none.
    """
    given = request.get("ids")
    if not isinstance(given, list) or len(given) > MAX_IDS:
        raise CaptureError(f"`ids` must be a list of at most {MAX_IDS} pairs of epoch and sequence")
    ids = set()
    for pair in given:
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and 0 <= n < 1 << 32 for n in pair)):
            raise CaptureError(f"{pair!r} is no pair of epoch and sequence")
        ids.add((pair[0], pair[1]))
    return ids


def open_since_ms(agent: Agent) -> int | None:
    """Return since when (wall ms) something is open that is in no chunk yet; None: nothing is."""
    reel = agent.camera.reel
    opened_ms = [t_ms for t_ms in (agent.recorder.opened_ms, reel.t0_ms if reel else None) if t_ms is not None]
    return _wall_ms(agent, min(opened_ms)) if opened_ms else None


def _wall_ms(agent: Agent, t_ms: int) -> int:
    return time.time_ns() // 1_000_000 - (agent.desktop.server_ms(time.monotonic_ns()) - t_ms)
