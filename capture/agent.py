"""Shell: the composition root of the agent: builds every part from the configuration, runs them, ends them in order.

Guarantees: nothing is observed, let alone recorded, without a consent to the very notice that this configuration makes;
one agent per person and machine; after an orderly end (SIGTERM, SIGINT, `modicum stop`) everything recorded is in the
spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture import effects
from capture.camera import Camera
from capture.chunker import Ages, Chunker
from capture.conditions import ALL_LINKS, Conditions, Purse, Span
from capture.conductor import Conductor
from capture.consent import Terms, digest, notice
from capture.control import Answer, ControlServer
from capture.errors import CaptureError, ConfigError, NoConsent, NoDisplay
from capture.gate import Gate
from capture.governor import Governor
from capture.keyfiles import read_private, write_private
from capture.packer import VALUE_MOTION, Packed, Stamp
from capture.policy import Policy
from capture.recorder import Recorder, RecorderLimits
from capture.shutter import Shutter
from capture.status import Status
from capture.steering import Steering
from capture.units import show_duration, show_size
from codec.screen import Effort
from codec.seal import ArchivePublicKey
from codec.thin import Thinning

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home
    from capture.ladder import Plan
    from transport.publisher import Progress, Publisher

SCREENS_PER_EVENTS = 3
"""Reels grow three times as old as drafts: pictures compress better the longer their chunk is, and lose less by a crash."""


def agent_name() -> str:
    """Return our name and version, as chunks state it."""
    try:
        return f"modicum {version('modicum')}"
    except PackageNotFoundError:
        return "modicum (not installed)"


def archive_key(config: Config) -> ArchivePublicKey:
    """Read the archive's public key.

    Raises:
        ConfigError: none is configured, or the file holds none.
    """
    name = config.archive.public_key
    if not name:
        raise ConfigError(
            "archive.public_key is not set: nothing can be sealed; name the file that `modicum keys archive` made"
        )
    try:
        return ArchivePublicKey.from_text(Path(name).expanduser().read_text(encoding="ascii"))
    except FileNotFoundError as error:
        raise ConfigError(f'archive.public_key = "{name}": there is no such file') from error
    except UnicodeDecodeError as error:
        raise ConfigError(f'archive.public_key = "{name}": that is no key file') from error


def terms_of(config: Config) -> Terms:
    """Return what the consent notice must say of a configuration."""
    key = archive_key(config)
    budget, screens, broker = config.budget, config.screens, config.broker
    limits = [f"{show_size(limit)} a {span}" for limit, span in ((budget.day, "day"), (budget.month, "month")) if limit]
    shown = f"when the picture changed, at most every {show_duration(screens.min_interval)}"
    return Terms(
        purposes=config.consent.purposes,
        applications=config.scope.allow,
        screenshots=shown if screens.enabled else "none",
        readers=f"{config.archive.reader or 'whoever holds the private half of the archive key'}, "
        f"key {key.key_id.hex()}",
        server=f"{broker.host}:{broker.port}",
        retention_days=config.consent.retention.days,
        region=config.consent.region,
        hold_back=show_duration(config.capture.hold_back),
        cost=f"at most {' and '.join(limits) or 'no limit of'} bytes on the wire; on battery at most "
        f"{config.energy.cpu_battery:.0%} of one processor core, and nothing below {config.energy.floor:.0%} of charge",
    )


def consent_digest(config: Config, home: Home) -> bytes:
    """Return the SHA-256 of the accepted notice.

    Raises:
        NoConsent: there is no yes, or it was given to another notice.
    """
    consent = home.consent()
    if consent is None:
        raise NoConsent("nothing is recorded before you agree: read the notice and answer it with `modicum consent`")
    if consent.digest != digest(notice(terms_of(config))):
        raise NoConsent("the configuration has changed since you agreed: read what is new with `modicum consent`")
    return bytes.fromhex(consent.digest)


async def run_agent(config: Config, home: Home, environment: Mapping[str, str]) -> None:
    """Record until stopped.

    Raises:
        CaptureError: it cannot start, or the display went away; the text says what to do.
    """
    consent = consent_digest(config, home)
    home.prepare()
    async with Agent(config, home, environment, consent) as agent:
        await agent.run()


class Agent:
    """The assembled agent; an asynchronous context manager that closes what it opened."""

    def __init__(self, config: Config, home: Home, environment: Mapping[str, str], consent: bytes) -> None:
        """Build every part.

        Args:
            config: validated. home: its folders exist. environment: DISPLAY, buses. consent: SHA-256 of the notice.
        """
        from capture.sources.desktop import Desktop
        from capture.sources.screen import Grabber

        self.config, self.home, self.environment = config, home, environment
        self.started_wall_s = int(time.time())
        self._warnings: dict[str, str] = {}
        self._progress: Progress | None = None
        self._closing = contextlib.AsyncExitStack()
        self._camera_thread = self._owned_thread("camera")
        self._pack_thread = self._owned_thread("pack")
        self._ledger_thread = self._owned_thread("ledger")

        self._open_storage()
        self.power = PowerSource()
        self.network = NetworkSource()
        self.usage = UsageSource()

        self.policy = Policy(effects.rules_of(config), consented=True)
        self.recorder = Recorder(RecorderLimits(max_age_ms=milliseconds(config.capture.chunk_age)))
        self.shutter = Shutter()
        self.desktop = Desktop(
            environment.get("DISPLAY"),
            wayland=environment.get("WAYLAND_DISPLAY"),
            damage_hold_s=config.capture.damage_hold.total_seconds(),
        )
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
                hold_back_ns=milliseconds(config.capture.hold_back) * 1_000_000,
            ),
            now_ms=lambda: self.desktop.server_ms(time.monotonic_ns()),
            thinning=lambda: thinning_of(self.steering.plan),
            thread=self._pack_thread,
            on_stored=self._stored,
            on_error=self._disk_said,
        )
        self.gate = Gate(
            self.policy, self.recorder, on_open=self.chunker.arm, on_full=self.chunker.check
        )
        self.conductor = Conductor(
            self.desktop,
            gate=self.gate,
            recorder=self.recorder,
            shutter=self.shutter,
            camera=self.camera,
            chunker=self.chunker,
            activity=lambda active: self.steering.activity(active),
            changed=lambda: self.steering.ask(),
        )
        self.governor = Governor(effects.settings_of(config, time_zone=self._zone), self._read_learned())
        self.steering = Steering(self.governor, observe=self._observe, apply=self._follow)
        self.control = ControlServer(
            home.control,
            {
                "ping": self._ping,
                "status": self._status,
                "pause": self._pause,
                "resume": self._resume,
                "stop": self._stop,
                "flush": self._flush,
                "forget": self._forget,
                "withdraw": self._withdraw,
            },
        )

    def _owned_thread(self, name: str) -> ThreadPoolExecutor:
        thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._closing.callback(thread.shutdown, wait=True)
        return thread

    def _open_storage(self) -> None:
        from transport.fs import RealFiles
        from transport.ledger import Ledger
        from transport.limits import Limits, boot_name
        from transport.spool import Spool

        config, home = self.config, self.home
        files = RealFiles()
        self._zone = clock.local_time_zone(self.environment)
        self.device = home.device()
        self.spool = Spool.open(
            files,
            Path(config.spool.directory).expanduser() if config.spool.directory else home.spool,
            device=self.device,
            limit_bytes=config.spool.limit,
            when_full=config.spool.when_full,
        )
        self._closing.callback(self.spool.close)
        self.ledger = Ledger(
            files,
            home.ledger,
            Limits.from_table(effects.budget_table(config, time_zone=self._zone)),
            wall_ns=time.time_ns(),
            mono_ns=clock.boot_ns(),
            boot=boot_name(clock.boot_id()),
            synced=clock.is_synced,
        )
        self._closing.callback(self.ledger.close)
        self.budget = self.ledger.usage(time.time_ns())
        self.spool_usage = self.spool.usage()

    async def __aenter__(self) -> Agent:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    # -- running

    async def run(self) -> None:
        """Record until told to stop.

        Raises:
            NoDisplay, NoPermission: there is no display to record, or it went away.
        """
        loop = asyncio.get_running_loop()
        await self.control.start()
        self._closing.push_async_callback(self.control.stop)
        await self.power.start(self._conditions_changed)
        self._closing.push_async_callback(self.power.stop)
        await self.network.start(self._conditions_changed)
        self._closing.push_async_callback(self.network.stop)
        await self.desktop.start(loop, self.conductor)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.conductor.stopping.set)
        self.steering.activity(True)
        try:
            async with asyncio.TaskGroup() as tasks:
                publishing = tasks.create_task(self._publish(), name="publisher")
                await self.conductor.stopping.wait()
                await self.conductor.close()
                publishing.cancel()
        finally:
            self.steering.stop()
            self._write_learned()
        if self.conductor.lost_reason is not None:
            raise NoDisplay(self.conductor.lost_reason)

    async def _publish(self) -> None:
        from transport.mqtt import Broker
        from transport.publisher import Publisher, PublisherSettings

        self._publisher = Publisher(
            PublisherSettings(broker_of(self.config, self.device, Broker)),
            self.spool,
            self.ledger,
            conditions=self._permit,
            on_progress=self._sent,
            on_loss=self._lost,
            executor=self._ledger_thread,
        )
        await self._publisher.run()
