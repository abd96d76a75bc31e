"""Shell: the composition root of the agent: builds every part from the configuration, runs them, ends them in order.

Guarantees: nothing is observed, let alone recorded, without a consent to the very notice that this configuration makes;
one agent per person and machine; after an orderly end (SIGTERM, SIGINT, `modicum stop`) everything recorded is in the
spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from capture import effects, learned, log, memory
from capture.agreement import agent_name, archive_key, consent_digest
from capture.camera import Camera
from capture.chunker import Ages, Chunker
from capture.commands import Commands
from capture.conditions import Conditions
from capture.conductor import Conductor
from capture.control import ControlServer
from capture.errors import DiskFull, NoDisplay
from capture.forgetting import Forgetting, take_note
from capture.gate import Gate
from capture.governor import Governor
from capture.journal import Journal
from capture.ladder import Upload
from capture.life import Carried, Life
from capture.metrics import Metrics
from capture.notify import Notifier
from capture.noting import noting
from capture.packer import Packed, Stamp
from capture.parts import desktop_of, milliseconds, open_stores, thinning_of
from capture.policy import Policy
from capture.publishing import Publishing
from capture.recorder import Recorder, RecorderLimits
from capture.review.pruner import Pruner
from capture.shutter import Shutter
from capture.sources import clock
from capture.steering import Steering
from capture.steward import Steward
from capture.surroundings import AgentSurroundings, semantics_of
from codec.screen import Effort

if TYPE_CHECKING:
    from capture.chunker import Gap as Lost
    from capture.config import Config
    from capture.control import Command
    from capture.home import Home
    from capture.ladder import Plan
    from transport.orders import Erased
    from transport.publisher import Progress

NS_PER_MS = 1_000_000
SCREENS_PER_EVENTS = 3
"""Reels grow three times as old as drafts: pictures compress better the longer their chunk is, and lose less by a crash."""

SENT = ("sent_chunks", "archived_chunks", "archived_bytes", "refused_chunks", "wire_bytes")
"""What of the publisher's progress counts from the process's start."""


async def run_agent(
    config: Config, home: Home, environment: Mapping[str, str], reread: Callable[[], Config] | None = None
) -> None:
    """Record until stopped.

    Args:
        config: validated. home: the person's folders. environment: DISPLAY, buses, the service manager.
        reread: reads the configuration anew, for a reload; raises CaptureError.

    Raises:
        CaptureError: it cannot start, or the display went away; the text says what to do.
    """
    consent = consent_digest(config, home)
    home.prepare()
    life = Life(
        lambda config, consent, carried: Agent(config, home, environment, consent, carried),
        ControlServer(home.control, asked=Journal(home.journal).asked),
        config=config,
        consent=consent,
        reread=reread or (lambda: config),
        agreed=lambda config: consent_digest(config, home),
        notifier=Notifier.of(environment),
    )
    await life.run()


class Agent:
    """The assembled agent; an asynchronous context manager that closes what it opened."""

    def __init__(
        self,
        config: Config,
        home: Home,
        environment: Mapping[str, str],
        consent: bytes,
        carried: Carried | None = None,
    ) -> None:
        """Build every part.

        Args:
            config: validated. home: its folders exist. environment: DISPLAY, buses. consent: SHA-256 of the notice.
            carried: from the agent that this one replaces.
        """
        from capture.sources.network import NetworkSource
        from capture.sources.power import PowerSource
        from capture.sources.screen import Grabber
        from capture.sources.usage import UsageSource

        memory.keep_small()
        self.config, self.home, self.environment, self.consent = config, home, environment, consent
        self.carried = carried or Carried()
        self.started_wall_s = self.carried.started_wall_s
        self.warnings: dict[str, str] = {}
        self.progress: Progress | None = None
        self._upload = Upload.NOTHING
        self._tasks: asyncio.TaskGroup | None = None
        self._refreshing = False
        self._observing = False
        self._closing = contextlib.AsyncExitStack()
        self._camera_thread = self._owned_thread("camera")
        self._pack_thread = self._owned_thread("pack")
        self.ledger_thread = self._owned_thread("ledger")

        self._open_storage()
        self.power = PowerSource()
        self.network = NetworkSource()
        self.usage = UsageSource()

        self.policy = Policy(effects.rules_of(config), consented=True)
        self.recorder = Recorder(RecorderLimits(max_age_ms=milliseconds(config.capture.chunk_age)))
        self.shutter = Shutter()
        self.desktop = desktop_of(config, environment, sys.platform)
        self.camera = Camera(
            Grabber(environment.get("DISPLAY")),
            windows=self.desktop.windows,
            mask=self.policy.mask,
            thread=self._camera_thread,
        )
        self.chunker = Chunker(
            self.recorder,
            self.camera,
            self.spool,
            stamp=Stamp(
                consent=consent,
                purposes=config.consent.purposes,
                region=config.consent.region,
                retention_s=int(config.consent.retention.total_seconds()),
                recipient=archive_key(config),
                signer=home.signing_key(),
                agent=agent_name(),
            ),
            ages=Ages(
                screens_ms=SCREENS_PER_EVENTS * milliseconds(config.capture.chunk_age),
                screens_bytes=config.capture.chunk_size,
                hold_back_ns=milliseconds(config.capture.hold_back) * NS_PER_MS,
                spool_ns=milliseconds(config.spool.age) * NS_PER_MS,
            ),
            now_ms=lambda: self.desktop.server_ms(time.monotonic_ns()),
            slept_ns=clock.slept_ns,
            thinning=lambda: thinning_of(self.steering.plan),
            thread=self._pack_thread,
            on_stored=self._stored,
            on_error=self._disk_said,
            keep=noting(
                self.index,
                partial(self.copies.keep, recipient=home.own_key().public, signer=home.signing_key()),
            ),
        )
        self.pruner = Pruner(self.copies, self._pack_thread, self.warnings)
        self.forgetting = Forgetting(self.spool, self.copies, self._pack_thread, noted=self.forgotten)
        self.gate = Gate(self.policy, self.recorder, on_open=self.chunker.arm, on_full=self.chunker.check)
        self.conductor = Conductor(
            self.desktop,
            gate=self.gate,
            recorder=self.recorder,
            shutter=self.shutter,
            camera=self.camera,
            chunker=self.chunker,
            activity=lambda active: self.steering.activity(active),
            changed=self._controlled,
        )
        self.semantics = semantics_of(
            config.semantics,
            home.label_key(),
            AgentSurroundings(self.desktop, gate=self.gate, policy=self.policy, conductor=self.conductor),
        )
        self.steward = Steward.of(self)
        self.publishing = Publishing(self)
        self.governor = Governor(effects.settings_of(config, time_zone=self.time_zone), learned.read(self.home.learned))
        self.steering = Steering(self.governor, observe=self.observe, apply=self._follow)
        self.metrics = Metrics(Commands(self).picture, lambda: int(self.steering.plan.rung))
        self._take_over(self.carried)

    def _owned_thread(self, name: str) -> ThreadPoolExecutor:
        thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._closing.callback(thread.shutdown, wait=True)
        return thread

    def _open_storage(self) -> None:
        self.time_zone = clock.local_time_zone(self.environment)
        stores = open_stores(self.config, self.home, time_zone=self.time_zone, closing=self._closing)
        self.device, self.spool, self.copies = stores.device, stores.spool, stores.copies
        self.index, self.outbox, self.orders, self.ledger = stores.index, stores.outbox, stores.orders, stores.ledger
        self._look_at_the_ledger()
        self.spool_usage = self.spool.usage()

    async def __aenter__(self) -> Agent:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    # -- running

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Record until told to stop.

        Args:
            started: called once it records.

        Raises:
            NoDisplay, NoPermission: there is no display to record, or it went away.
        """
        loop = asyncio.get_running_loop()
        await self.power.start(self._conditions_changed)
        self._closing.push_async_callback(self.power.stop)
        await self.network.start(self._conditions_changed)
        self._closing.push_async_callback(self.network.stop)
        self.pruner.start()
        self._closing.push_async_callback(self.pruner.stop)
        if self.carried.stopped_ms is not None:
            self.gate.suspend(self.carried.stopped_ms, "reload", "the configuration is being applied")
        if self.config.metrics.listen:
            await self.metrics.start(self.config.metrics.listen)
            self._closing.push_async_callback(self.metrics.stop)
        self.steward.prepare()
        await self.desktop.start(loop, self.conductor)
        if self.semantics is not None:
            await self.semantics.start()
            self._closing.push_async_callback(self.semantics.stop)
        self._observing = True
        self.steering.start()
        self._conditions_changed()
        if not self.steering.plan.capture:
            self.conductor.discard_events()  # the desktop has told its present state; the plan does not want it
        self.chunker.note([*take_note(self.home.forgotten), *self._settle_orders()])
        if self.carried.paused:
            until = self.carried.paused_until
            self.conductor.pause(None if until is None else timedelta(seconds=max(0.0, until - time.monotonic())))
        self._closing.push_async_callback(self.steward.stop)
        await self.steward.start(self.consent)
        self.conductor.lift("reload")
        self.steering.activity(True)
        memory.settle()
        started()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self.publishing.start(tasks)
                await self.conductor.stopping.wait()
                await self.conductor.close()
                self._tasks = None
                await self.publishing.stop()
        finally:
            self.steering.stop()
            learned.write(self.home.learned, self.governor.to_state())
        if self.chunker.open:
            raise DiskFull(
                f"{self.chunker.open} chunks could not be stored and are lost: {self.warnings.get('disk', 'see the log')}"
            )
        if self.conductor.lost_reason is not None:
            raise NoDisplay(self.conductor.lost_reason)

    # -- what a successor takes over (capture/life.py)

    def commands(self) -> Mapping[str, Command]:
        """Return what the person can ask of it."""
        return Commands(self).by_name()

    def stop(self) -> None:
        """Let `run` end, in order."""
        self.conductor.stopping.set()

    def hindrance(self) -> str | None:
        """Say why it cannot be replaced now, or None."""
        if self.conductor.stopping.is_set():
            return "the agent is ending"
        return self.warnings.get("disk")

    def carry(self) -> Carried:
        """Return what the next one takes over; called after `run`."""
        # The totals themselves: the last progress that was told may be older than the last answer.
        before, publisher = self.carried.sent, self.publishing.publisher
        sent = publisher.totals if publisher else None
        return Carried(
            started_wall_s=self.started_wall_s,
            stopped_ms=self.conductor.stopped_ms,
            counts=self.conductor.counts,
            frames=self.camera.frames,
            refused=dict(self.camera.refused),
            sizes=self.chunker.sizes,
            sent=before if sent is None else {name: before.get(name, 0) + getattr(sent, name) for name in SENT},
            paused=self.conductor.is_paused,
            paused_until=self.conductor.paused_until,
        )

    def _take_over(self, carried: Carried) -> None:
        if carried.counts is not None and carried.sizes is not None:
            self.conductor.counts, self.chunker.sizes = carried.counts, carried.sizes
            self.camera.frames = carried.frames
            self.camera.refused.update(carried.refused)

    # -- conditions and plan

    def _conditions_changed(self) -> None:
        if not self._observing:
            return  # told while the sources start; looked at when all of them have
        power = self.power.current()
        for cause, holds, reason in (
            ("lock", power.locked, "the screen is locked"),
            ("sleep", power.sleeping, "the machine is going to sleep"),
            ("away", power.away, "another session has the screen"),
        ):
            if holds and cause not in self.gate.suspended:
                self.conductor.suspend(cause, reason)
            elif not holds:
                self.conductor.lift(cause)
        self.steward.battery(bool(power.on_battery))
        self.exempted()

    def exempted(self) -> None:
        """What may be sent, or what the plan depends on, has changed."""
        self.steering.ask()
        self.publishing.wake()

    def _controlled(self) -> None:
        """The person paused it, or it goes on."""
        self.steering.ask()
        self.steward.look()

    def observe(self) -> Conditions:
        power, network, usage = self.power.current(), self.network.current(), self.usage.current()
        spool = self.spool_usage
        return Conditions(
            wall_ns=time.time_ns(),
            paused=self.conductor.is_paused,
            locked=power.locked,
            asleep=power.sleeping,
            away=power.away,
            exempt=not self.steward.sends,
            idle=self.conductor.is_idle,
            on_battery=power.on_battery,
            battery_ratio=power.battery_ratio,
            power_warning=power.warning,
            discharge_w=power.energy_rate_w,
            power_saver=power.power_saver,
            lid_closed=power.lid_closed,
            hot=power.degraded or usage.hot,
            load_ratio=usage.load_ratio,
            own_cpu_ratio=usage.cpu_ratio,
            wakeups_s=usage.wakeups_s,
            rss_bytes=usage.rss_bytes,
            link=effects.link_class(self.config, network.link, network.name) if self.steward.sends else "offline",
            network=network.name if self.steward.sends else "exempted by you",
            captive=network.captive,
            purses=effects.purses_of(self.standings),
            backlog_bytes=spool.live_bytes,
            spool_ratio=spool.disk_bytes / spool.limit_bytes,
        )

    def _follow(self, plan: Plan) -> None:
        """Put a new plan in force."""
        log.event("plan", plan=plan.in_words(), because=self.steering.decision.reasons)
        self.camera.effort = Effort(plan.effort)
        reel = self.camera.reel
        if reel is not None and int(reel.effort) != int(plan.effort):
            self.chunker.close_screens()
        self.desktop.set_hold(plan.hold_ms / 1000)
        takes_frames = plan.frame_interval_ms is not None or plan.frames_on_focus
        self.desktop.set_damage_hold(self.config.capture.damage_hold.total_seconds() if takes_frames else None)
        self.conductor.follow(plan)
        if plan.capture:
            self.conductor.lift("plan")
        else:
            self.conductor.suspend("plan", "; ".join(self.steering.decision.reasons))
        if plan.upload != self._upload:
            self.publishing.wake()
        self._upload = plan.upload

    # -- what the parts tell

    def _stored(self, packed: Packed, kind: str) -> None:
        size_bytes = len(packed.chunk)
        self.steward.stored(packed.chunk_id, kind, size_bytes)
        self.steering.paid(**{"event_bytes" if kind == "events" else "frame_bytes": size_bytes})
        self.spool_usage = self.spool.usage()
        self._pack_thread.submit(memory.give_back)

    def _disk_said(self, error: Exception | None) -> None:
        if error is None:
            self.warnings.pop("disk", None)
        else:
            log.event("disk", level=log.ERROR, reason=str(error))
            self.warnings["disk"] = f"what is recorded waits in memory: {error}"

    def sent(self, progress: Progress) -> None:
        """Take where sending stands, as the publisher tells it."""
        self.steward.sent(progress.freed, progress.wire_bytes)
        if self.carried.sent:
            sums = {name: getattr(progress, name) + before for name, before in self.carried.sent.items()}
            progress = dataclasses.replace(progress, **sums)
        if progress.reasons and (self.progress is None or progress.state != self.progress.state):
            log.event("sending", state=progress.state, because=progress.reasons)
        self.progress = progress
        self.warnings.pop("broker", None)
        if progress.reasons:
            self.warnings["broker"] = f"{progress.state}: {'; '.join(progress.reasons)}"
        if not self._refreshing and self._tasks is not None:
            self._refreshing = True
            self._tasks.create_task(self._look_again(), name="look at the budget")

    async def _look_again(self) -> None:
        self._refreshing = False
        used_bytes = self.budget.month_used
        await self.refresh()
        if self.budget.month_used != used_bytes:
            self.steering.ask()

    async def refresh(self) -> None:
        """Look anew at the budget and the spool."""
        await asyncio.get_running_loop().run_in_executor(self.ledger_thread, self._refresh)

    async def forget_since(self, since_wall_ns: int) -> int:
        """Delete the chunks in the spool that were closed since then; return how many."""
        closed_ns = since_wall_ns + milliseconds(self.config.capture.hold_back) * NS_PER_MS
        return len(await self.forgetting.where(lambda entry: entry.ready_wall_ns >= closed_ns))

    async def erase(self, **wanted: Any) -> Erased:
        """Erase, here and in the archive. wanted: the fields of `transport.orders.Wanted`."""
        from transport.orders import Wanted

        asked = Wanted(**wanted)
        done = await asyncio.get_running_loop().run_in_executor(self._pack_thread, self.orders.erase, asked)
        self.forgotten(done.here)
        return done

    def order_answered(self, number: int, text: str) -> None:
        """Write down what the archive said to an order; called in the ledger's thread."""
        self.steward.journal.note("erase", order=number, answer=text)

    def _settle_orders(self) -> Sequence[Lost]:
        """Delete here what was ordered to be erased before the last end, and forget where chunks of long ago were."""
        from transport.errors import StorageFailed

        retention_ms = milliseconds(self.config.consent.retention)
        try:
            self.index.prune(time.time_ns() // NS_PER_MS - retention_ms)
            return self.orders.settle()
        except (StorageFailed, OSError) as error:
            self.warnings["erase"] = f"what was to be erased may still be here: {error}"
            return ()

    def forgotten(self, gaps: Sequence[Lost]) -> None:
        """Record that chunks were deleted here."""
        self.chunker.note(gaps)
        self.spool_usage = self.spool.usage()

    def _look_at_the_ledger(self) -> None:
        wall_ns, mono_ns = time.time_ns(), clock.boot_ns()
        self.budget = self.ledger.usage(wall_ns, mono_ns)
        self.standings = self.ledger.standings(wall_ns, mono_ns)

    def _refresh(self) -> None:
        self._look_at_the_ledger()
        self.spool_usage = self.spool.usage()
