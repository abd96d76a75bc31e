"""Shell: what the person can ask of a running agent: the commands behind the control socket."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from capture.control import Answer, Command
from capture.effects import sent_over
from capture.erase_requests import EraseRequests
from capture.errors import CaptureError
from capture.review.requests import ReviewRequests
from capture.status import Status

if TYPE_CHECKING:
    from capture.agent import Agent
    from capture.config import Config

UNLIMITED_BYTES = 1 << 62
"""What the budget calls left where nothing limits."""

OVERFLOW = "batch of input that came too fast: the X server may have dropped an event of it"


class Commands:
    """The commands of one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def by_name(self) -> dict[str, Command]:
        """Return them as the control socket knows them."""
        return {
            "ping": self.ping,
            "status": self.status,
            "pause": self.pause,
            "resume": self.resume,
            "stop": self.stop,
            "flush": self.flush,
            "forget": self.forget,
            "exempt": self.exempt,
            "withdraw": self.withdraw,
            **ReviewRequests(self._agent).by_name(),
            **EraseRequests(self._agent).by_name(),
        }

    async def ping(self, request: Mapping[str, Any]) -> Answer:
        """Answer."""
        return {}

    async def status(self, request: Mapping[str, Any]) -> Answer:
        """Return what the agent does now, and why."""
        self._agent.desktop.flush()
        await self._agent.refresh()
        return self.picture().to_answer()

    def picture(self) -> Status:
        """Return the agent's status."""
        agent = self._agent
        decision, sizes, progress = agent.steering.decision, agent.chunker.sizes, agent.progress
        spool, budget = agent.spool_usage, agent.budget
        if agent.conductor.is_paused:
            state = "paused"
        elif agent.gate.suspended:
            state = "suspended"
        else:
            state = "recording" if agent.gate.open else "waiting"
        conditions = agent.observe()
        month_end = datetime.fromtimestamp(budget.period_end_wall_ns / 1e9, ZoneInfo(agent.time_zone))
        return Status(
            state=state,
            state_reasons=agent.gate.reasons,
            plan=decision.value.in_words(),
            plan_reasons=decision.reasons,
            recorded=agent.conductor.counts | {"frames": agent.camera.frames},
            bytes={
                "raw": sizes.raw,
                "encoded": sizes.encoded,
                "sealed": sizes.sealed,
                "wire": progress.wire_bytes if progress else 0,
            },
            chunks={
                "open": agent.chunker.open,
                "closed": sizes.chunks,
                "sent": progress.archived_chunks if progress else 0,
                "waiting": spool.chunks,
            },
            spool_bytes=spool.disk_bytes,
            spool_limit_bytes=spool.limit_bytes,
            budget={
                "day_used": budget.day_used,
                "day_limit": budget.day_limit,
                "month_used": budget.month_used,
                "month_limit": budget.month_limit,
                "month_end": f"{month_end:%Y-%m-%d}",
                "forecast_month": budget.forecast_month,
            },
            links=links_of(budget, agent.config),
            kinds={"overhead" if kind == "other" else kind: count for kind, count in budget.by_kind.items()},
            pace=agent.governor.outlook(
                conditions.wall_ns,
                day=(budget.day_start_wall_ns, budget.day_end_wall_ns),
                month=(budget.period_start_wall_ns, budget.period_end_wall_ns),
            ),
            energy=agent.governor.energy(conditions) | {"rss_bytes": agent.usage.current().rss_bytes},
            refused=self._left_out(),
            warnings=(*agent.steward.wishes_in_words(), *agent.warnings.values(), *budget.notes),
            link=conditions.link,
            device=agent.device,
            since_wall_s=agent.started_wall_s,
            certificate=agent.publishing.renewing.in_words(),
            certificate_ends_s=agent.publishing.renewing.ends_s,
        )

    def _left_out(self) -> dict[str, int]:
        left_out = dict(self._agent.camera.refused) | self._agent.copies.skipped
        overflows = getattr(self._agent.desktop, "overflows", 0)
        if overflows:
            left_out[OVERFLOW] = overflows
        return left_out

    async def pause(self, request: Mapping[str, Any]) -> Answer:
        """Pause for `seconds`, or without limit."""
        seconds = _seconds_of(request)
        self._agent.steward.pause(None if seconds is None else time.time() + seconds)
        return {}

    async def resume(self, request: Mapping[str, Any]) -> Answer:
        """Go on."""
        self._agent.steward.resume()
        return {}

    async def exempt(self, request: Mapping[str, Any]) -> Answer:
        """Take the exemption `what` for `seconds` (or until it is ended) with a `reason`; with `end`, end it."""
        steward, what, reason = self._agent.steward, str(request.get("what", "")), str(request.get("reason", ""))
        if what and request.get("end"):
            return {"ended": steward.end_exemption(what), "exemptions": steward.to_answer()}
        if what:
            seconds = _seconds_of(request)
            steward.exempt(what, None if seconds is None else time.time() + seconds, reason)
        return {"exemptions": steward.to_answer()}

    async def stop(self, request: Mapping[str, Any]) -> Answer:
        """End in order."""
        self._agent.conductor.stopping.set()
        return {}

    async def flush(self, request: Mapping[str, Any]) -> Answer:
        """Close what is open now, for who cannot wait for a chunk's age (the demo, tests)."""
        self._agent.desktop.flush()
        await self._agent.chunker.close_all()
        self._agent.chunker.arm()
        return {}

    async def forget(self, request: Mapping[str, Any]) -> Answer:
        """Delete what has not left this machine: what is open, and the chunks closed in the last `seconds` (or all)."""
        agent, seconds = self._agent, _seconds_of(request)
        await agent.conductor.discard_open()
        await agent.chunker.settle()
        since_ns = 0 if seconds is None else time.time_ns() - int(seconds * 1e9)
        gaps = await agent.forget_since(since_ns)
        agent.steward.journal.note("forget", chunks=gaps)
        return {"chunks": gaps}

    async def withdraw(self, request: Mapping[str, Any]) -> Answer:
        """End for good: record nothing more, and delete what has not been sent."""
        agent = self._agent
        agent.conductor.suspend("withdrawn", "you have withdrawn your consent")
        agent.home.consent_file.unlink(missing_ok=True)
        answer = await self.forget({})
        agent.home.own_key_file.unlink(missing_ok=True)
        await agent.forgetting.copies()
        agent.steward.withdrawn(int(answer["chunks"]))
        agent.conductor.stopping.set()
        return answer


def links_of(budget: Any, config: Config) -> dict[str, dict[str, Any]]:
    """Return, by class of links, what was used of its budget and what is left of it now.

    Args:
        budget: transport.limits.Usage.
    """
    send = sent_over(config.budget)
    return {
        str(link): {
            "day_used": used.day_used,
            "day_limit": used.day_limit,
            "month_used": used.month_used,
            "month_limit": used.month_limit,
            "left_bytes": None if (left := budget.left_bytes[link]) >= UNLIMITED_BYTES else left,
            "send": str(send[str(link)]),
        }
        for link, used in budget.by_link.items()
    }


def _seconds_of(request: Mapping[str, Any]) -> float | None:
    seconds = request.get("seconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 3e9:
        raise CaptureError("a duration must be a positive number of seconds")
    return float(seconds)
