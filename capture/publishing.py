"""Shell: the composition root of what the running agent sends: its publisher, and the renewal of what the broker lets it in by.

Guarantees: what a renewal costs is charged to the same ledger as everything else, and it is asked for only while something may be
sent and the person's consent stands. What they agreed to is not changed by an answer: a new archive key, reader or broker is told, and
waits for `modicum enrol --renew`, after which the next start asks them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from capture.agreement import answer_keys, archive_key
from capture.enrolling import Enrolling
from capture.ladder import Upload
from capture.packer import VALUE_MOTION
from capture.parts import broker_of
from capture.renewing import PutOff, Renewed, Renewing
from capture.sources import clock

if TYPE_CHECKING:
    from capture.agent import Agent
    from transport.enrolment import Reply
    from transport.exchange import Permit
    from transport.publisher import Publisher

T = TypeVar("T")

CANCEL_AGAIN_S = 0.5


class Publishing:
    """See the module.

    State: the publisher, once it runs, and the tasks.

    Args:
        agent: whose parts it works with; they may still be in the making.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.publisher: Publisher | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.renewing = Renewing(
            agent.config,
            agent.home,
            self,
            warnings=agent.warnings,
            renewed=lambda **fields: agent.steward.journal.note("renewed", **fields),
        )

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Send from now on."""
        self._tasks = [
            tasks.create_task(self._publish(), name="publisher"),
            tasks.create_task(self.renewing.run(), name="renewal"),
        ]

    async def stop(self) -> None:
        """Send nothing more."""
        for task in reversed(self._tasks):
            await end(task)

    def wake(self) -> None:
        """What may be sent has changed."""
        self.renewing.wake()
        if self.publisher is not None:
            self.publisher.wake()

    async def _publish(self) -> None:
        from transport.outgoing import Outgoing
        from transport.publisher import Publisher, PublisherSettings

        agent = self._agent
        if agent.config.broker.cert:
            Enrolling(agent.home).finish()
        self.publisher = Publisher(
            PublisherSettings(broker_of(agent.config, agent.device), answer_keys=answer_keys(agent.config)),
            Outgoing(agent.device, agent.outbox, agent.spool, agent.index, on_answer=agent.order_answered),
            agent.ledger,
            conditions=self._permit,
            on_progress=agent.sent,
            on_loss=agent.chunker.note,
            executor=agent.ledger_thread,
            ledger_clock_ns=clock.boot_ns,
        )
        await self.publisher.run()

    def _permit(self) -> Permit:
        from transport.exchange import Permit
        from transport.limits import Link

        plan, conditions = self._agent.steering.plan, self._agent.observe()
        if plan.upload is Upload.NOTHING:
            return Permit(Link.OFFLINE)
        return Permit(Link(conditions.link), VALUE_MOTION if plan.upload is Upload.EVENTS else 0)

    # -- the renewal (capture/renewing.py, `Enrolment`)

    def may_send(self) -> bool:
        """Tell whether anything may be sent now."""
        from transport.limits import Link

        return self._permit().link is not Link.OFFLINE and self._agent.home.consent_file.exists()

    async def renew(self, begun: Callable[[], None]) -> Renewed:
        """Ask for the next certificate, inside the budget, and put it in its place.

        Args:
            begun: called when the budget has admitted it, before anything is sent.

        Raises:
            PutOff: the budget does not admit it now. CaptureError, TransportError: it failed; nothing has changed.
        """
        from transport.errors import QuotaExceeded
        from transport.joining import ask_within

        enrolling = Enrolling(self._agent.home)
        broker, request = enrolling.ask_by_itself()
        try:
            answer, wire_bytes = await ask_within(
                broker,
                request,
                self._agent.ledger,
                link=lambda: self._permit().link,
                disk=self._disk,
                clock_ns=clock.boot_ns,
                reserved=begun,
            )
        except QuotaExceeded as error:
            raise PutOff(str(error), until_s=error.retry_wall_ns / 1e9) from error
        return Renewed(wire_bytes, self._offered(enrolling.take_by_itself(request, answer)))

    def use(self) -> None:
        """Connect with what lies on the disk now, from the next connection on."""
        agent = self._agent
        if self.publisher is not None:
            self.publisher.use(broker_of(agent.config, agent.device), answer_keys(agent.config))

    def _offered(self, reply: Reply) -> str:
        """Return what an answer brings that the person would have to agree to, in words."""
        config, offered = self._agent.config, []
        if reply.archive_key is not None and reply.archive_key != archive_key(config):
            offered.append(f"another archive key ({reply.archive_key.key_id.hex()})")
        if reply.reader and reply.reader != config.archive.reader:
            offered.append(f"another reader ({reply.reader})")
        if reply.host and (reply.host, reply.port) != (config.broker.host, config.broker.port):
            offered.append(f"another broker ({reply.host}:{reply.port})")
        if not offered:
            return ""
        return (
            f"the archive offers {' and '.join(offered)}; what you agreed to stays in force until you fetch it with "
            "`modicum enrol --renew` and answer `modicum consent`"
        )

    async def _disk(self, work: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._agent.ledger_thread, work)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: a task group loses a cancellation that comes together with an error of its own."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
