"""Shell: what the review page asks of the running agent beyond status, pause and resume: what waits here, and deletion.

One request's answer is one moment's truth: ids are (epoch, seq) pairs of this device.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capture.control import Answer, Command
from capture.errors import CaptureError

if TYPE_CHECKING:
    from capture.agent import Agent

MAX_IDS = 4000
"""In one request, which has 64 KiB."""


class ReviewRequests:
    """The commands of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def by_name(self) -> dict[str, Command]:
        """Return them as the control socket knows them."""
        return {"holdings": self.holdings, "delete": self.delete}

    async def holdings(self, request: Mapping[str, Any]) -> Answer:
        """Return what waits on this machine (epoch, seq, ready at (wall ms), bytes), and what recording has cost."""
        agent = self._agent
        waiting = await asyncio.get_running_loop().run_in_executor(
            agent._pack_thread, lambda: list(agent.spool.entries())
        )
        usage, power = agent.usage.current(), agent.power.current()
        reel = agent.camera.reel
        opened_ms = [t_ms for t_ms in (agent.recorder.opened_ms, reel.t0_ms if reel else None) if t_ms is not None]
        return {
            "device": agent.device,
            "waiting": [
                [entry.chunk_id.epoch, entry.chunk_id.seq, entry.ready_wall_ns // 1_000_000, entry.size_bytes]
                for entry in waiting
            ],
            "open_wall_ms": _wall_ms(agent, min(opened_ms)) if opened_ms else None,
            "cost": {
                "cpu_s": time.process_time(),
                "running_s": time.time() - agent.started_wall_s,
                "cpu_ratio": usage.cpu_ratio,
                "wakeups_s": usage.wakeups_s,
                "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "on_battery": power.on_battery,
                "battery_ratio": power.battery_ratio,
            },
            "copies_skipped": dict(agent.copies.skipped),
        }

    async def delete(self, request: Mapping[str, Any]) -> Answer:
        """Delete chunks (`ids`), and what is open if `open` is true.

        Returns:
            gone: those that had not left this machine, and now never will. sent: those that had left.
        """
        agent, ids = self._agent, ids_of(request)
        if request.get("open") is True:
            await agent.conductor.discard_open()
        gone = await agent.forgetting.ids(ids)
        return {"gone": sorted(gone), "sent": sorted(ids - gone)}


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


def _wall_ms(agent: Agent, t_ms: int) -> int:
    return time.time_ns() // 1_000_000 - (agent.desktop.server_ms(time.monotonic_ns()) - t_ms)
