"""Shell: the agent's process: the control socket, signals, the service manager, and one agent after another.

A changed configuration is applied by an orderly end of the agent and the start of another one in the same process: what is
open is closed and stored, and ledger, spool, counters and a pause go on. It is simple, and whatever the configuration can say
takes effect. It takes about as long as closing a chunk; what happens meanwhile is not recorded, and stands as a gap.

Guarantees: a configuration that is wrong, that lacks the person's consent, or under which no agent starts, changes nothing:
who asked is told why. Commands that come during the change wait for the next agent; a pause is never lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from capture import log
from capture.control import Answer, Command, ControlServer
from capture.errors import CaptureError
from capture.failures import explain
from capture.notify import Notifier

if TYPE_CHECKING:
    from capture.chunker import Sizes
    from capture.config import Config


@dataclass(slots=True)
class Carried:
    """What the next agent takes over from the one before.

    Attributes:
        started_wall_s: when the first one began. stopped_ms: the source clock when the last one stopped to record.
        counts, frames, refused, sizes: what was recorded so far. sent: the publisher's totals, by name.
        paused: the person's pause is in force; paused_until: for how long, by time.monotonic(); None: until they resume.
    """

    started_wall_s: int = field(default_factory=lambda: int(time.time()))
    stopped_ms: int | None = None
    counts: dict[str, int] | None = None
    frames: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    sizes: Sizes | None = None
    sent: dict[str, int] = field(default_factory=dict)
    paused: bool = False
    paused_until: float | None = None


class Agent(Protocol):
    """What is run here (capture/agent.py)."""

    def commands(self) -> Mapping[str, Command]:
        """Return what the person can ask of it."""

    async def run(self, started: Callable[[], object]) -> None:
        """Record until `stop` is called; call `started` once it does."""

    def stop(self) -> None:
        """Let `run` end, in order."""

    def hindrance(self) -> str | None:
        """Say why it cannot be replaced now: it ends, or something waits in it that only it can store; None: it can."""

    def carry(self) -> Carried:
        """Return what the next one takes over; called after `run`."""


Make = Callable[["Config", bytes, Carried], AbstractAsyncContextManager[Agent]]
"""Builds an agent of a configuration, the hash of the consent to it, and what it takes over."""


class Life:
    """See the module.

    Args:
        make: builds agents. control: the socket, not started.
        config: the first configuration. consent: the hash of the notice that was accepted for it.
        reread: reads the configuration anew; raises CaptureError. agreed: returns the hash of the consent to it; raises.
        notifier: the service manager.
    """

    def __init__(
        self,
        make: Make,
        control: ControlServer,
        *,
        config: Config,
        consent: bytes,
        reread: Callable[[], Config],
        agreed: Callable[[Config], bytes],
        notifier: Notifier,
    ) -> None:
        self._make = make
        self._control = control
        self._now = (config, consent)
        self._next: tuple[Config, bytes] | None = None
        self._before: tuple[Config, bytes] | None = None
        self._reread = reread
        self._agreed = agreed
        self._notifier = notifier
        self._agent: Agent | None = None
        self._applied: asyncio.Future[None] | None = None
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    async def run(self) -> None:
        """Run agents until one is told to stop.

        Raises:
            CaptureError: the first one does not start, or one ended by itself.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        carried = Carried()
        await self._control.start()
        try:
            while True:
                try:
                    carried = await self._run_one(carried)
                except Exception as error:
                    if self._before is None or self._ended:
                        raise
                    self._fall_back(error)
                    continue
                if self._next is None or self._ended:
                    return
                self._before, self._now, self._next = self._now, self._next, None
        finally:
            if self._applied is not None and not self._applied.done():
                self._applied.set_exception(CaptureError("the agent ended before the configuration was applied"))
            self._notifier.stopping()
            await self._control.stop()

    async def _run_one(self, carried: Carried) -> Carried:
        config, consent = self._now
        if carried.stopped_ms is not None:
            consent = self._agreed(config)  # it may have been withdrawn since
        async with self._make(config, consent, carried) as agent:
            self._agent = agent
            if self._ended:
                agent.stop()
            try:
                await agent.run(lambda: self._started(agent))
            finally:
                self._agent = None
                self._control.hold()
            return agent.carry()

    def _started(self, agent: Agent) -> None:
        self._before = None
        self._control.serve({**agent.commands(), "reload": self.reload})
        self._notifier.ready("running; `modicum status` says what is recorded")
        if self._applied is not None and not self._applied.done():
            self._applied.set_result(None)
        log.event("started")

    def _fall_back(self, error: Exception) -> None:
        """The new configuration's agent does not start: go on with the one before."""
        assert self._before is not None  # noqa: S101 - the caller has looked
        log.event("fell back", level=log.ERROR, reason=str(error))
        self._now, self._before = self._before, None
        if self._applied is not None and not self._applied.done():
            self._applied.set_exception(error)

    def _stop(self) -> None:
        self._ended = True
        if self._agent is not None:
            self._agent.stop()

    def _hang_up(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_and_log(), name="reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_and_log(self) -> None:
        with contextlib.suppress(CaptureError):  # `reload` has said it
            await self.reload({})

    async def reload(self, request: Mapping[str, Any]) -> Answer:
        """Apply the configuration as it is in the file now.

        Raises:
            CaptureError: it is wrong, lacks consent, or does not work; the one before is in force.
        """
        async with self._reloading:
            try:
                changed = await self._apply()
            except Exception as error:
                explained = explain(error)
                log.event("reload refused", level=log.WARNING, reason=str(error))
                if isinstance(error, CaptureError) or explained is None:
                    raise
                raise CaptureError(explained[0]) from error
            log.event("reloaded", changed=changed)
            return {"changed": changed}

    async def _apply(self) -> list[str]:
        config = self._reread()
        changed = changed_keys(self._now[0], config)
        if not changed:
            return changed
        consent = self._agreed(config)
        hindrance = "the agent is ending" if self._agent is None else self._agent.hindrance()
        if hindrance or self._agent is None:
            raise CaptureError(f"the configuration was not applied: {hindrance}")
        self._next = config, consent
        self._control.hold()
        self._applied = asyncio.get_running_loop().create_future()
        self._notifier.reloading()
        self._agent.stop()
        await self._applied
        return changed


def changed_keys(before: Config, after: Config) -> list[str]:
    """Return the dotted names of the keys whose values differ, sorted."""
    old, new = _flat(before.model_dump()), _flat(after.model_dump())
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
