"""Shell: erasing, as the person asks it of the running agent: also what has been sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capture.control import Answer, Command
from capture.errors import CaptureError
from capture.review.requests import ids_of, open_since_ms

if TYPE_CHECKING:
    from capture.agent import Agent

MAX_MS = 1 << 50


class EraseRequests:
    """The commands of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def by_name(self) -> dict[str, Command]:
        """Return them as the control socket knows them."""
        return {"erase": self.erase}

    async def erase(self, request: Mapping[str, Any]) -> Answer:
        """Erase chunks (`ids`), or what overlaps `since_ms` to `until_ms` (wall ms), here and in the archive.

        Returns:
            See transport/orders.py, `Erased`: here, orders, ordered, already, uncertain, from_ms, until_ms.
        """
        agent = self._agent
        wanted: dict[str, Any]
        if "ids" in request:
            wanted = {"ids": frozenset(ids_of(request))}
        else:
            wanted = {name: _ms(request, name) for name in ("since_ms", "until_ms") if request.get(name) is not None}
            since_ms = open_since_ms(agent)
            if since_ms is not None and wanted.get("until_ms", since_ms) >= since_ms:
                await agent.conductor.discard_open()
            await agent.chunker.settle()
        answer = (await agent.erase(**wanted)).to_answer()
        agent.steward.journal.note(
            "erase", **{name: answer[name] for name in ("here", "ordered", "already") if name in answer}
        )
        return answer


def _ms(request: Mapping[str, Any], name: str) -> int:
    value = request[name]
    if type(value) is not int or not 0 <= value < MAX_MS:
        raise CaptureError(f"`{name}` must be a time in milliseconds since 1970")
    return value
