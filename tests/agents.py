"""Whole agents within a test's process: the real `Agent` over real parts, with a consent to its own notice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from capture.agent import Agent
from capture.agreement import consent_digest, terms_of
from capture.config import Config, parse_config
from capture.consent import Consent, digest, notice
from capture.control import ControlServer, ask
from capture.home import Home
from capture.keyfiles import write_private
from codec.seal import ArchivePrivateKey

RUN = "the agent"
"""The name of a running agent's task."""
MINUTE_NS = 60_000_000_000
LOCAL_BROKER_PORT = 9
"""Nobody listens there: for agents whose sending is not looked at."""


class Clock:
    """The monotonic clock, which a test can put forward: for the governor, a minute passes in no time."""

    def __init__(self) -> None:
        self.skipped_ns = 0

    def __call__(self) -> int:
        return time.monotonic_ns() + self.skipped_ns

    def skip(self, ns: int = MINUTE_NS + MINUTE_NS // 60) -> None:
        """Put it forward; by default by more than the governor's dwell time."""
        self.skipped_ns += ns


def prepare(folder: Path, text: str) -> tuple[Config, Home, ArchivePrivateKey]:
    """Make an archive's keys, a home and the consent to a configuration.

    Args:
        folder: for all of it. text: TOML without [archive].public_key, which is ours.
    """
    private_path, public_path = folder / "archive.key", folder / "archive.pub"
    if not private_path.exists():
        made = ArchivePrivateKey.generate()
        write_private(private_path, made.to_text().encode())
        public_path.write_text(made.public.to_text(), encoding="ascii")
    private = ArchivePrivateKey.from_text(private_path.read_text(encoding="ascii"))
    config = parse_config(text)
    config = config.model_copy(
        update={
            "archive": config.archive.model_copy(update={"public_key": config.archive.public_key or str(public_path)})
        }
    )
    home = Home(folder / "state", folder / "run")
    home.prepare()
    said = notice(terms_of(config))
    write_private(home.consent_file, Consent(digest(said), 1_700_000_000, said).to_json())
    return config, home, private


def assemble(folder: Path, text: str, environment: Mapping[str, str]) -> Agent:
    """Return an agent that is not running; to be entered as an asynchronous context."""
    config, home, _ = prepare(folder, text)
    return Agent(config, home, environment, consent_digest(config, home))


@contextlib.asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[Agent]:
    """Run an agent, with its control socket, and end it in order."""
    began = asyncio.Event()
    async with agent:
        control = ControlServer(agent.home.control, agent.commands())
        await control.start()
        task = asyncio.get_running_loop().create_task(agent.run(began.set), name=RUN)
        try:
            while not began.is_set():
                assert not task.done(), task.exception()
                await asyncio.sleep(0.01)
            yield agent
        finally:
            agent.stop()
            await control.stop()
            await task


async def status(agent: Agent) -> dict[str, Any]:
    """Ask a running agent over its control socket, as `modicum status` does."""
    return await asyncio.to_thread(ask, agent.home.control, "status", wait_s=30)


async def follows(agent: Agent, true: Callable[[dict[str, Any]], object], *, within_s: float) -> float:
    """Return after how many seconds the agent's status shows something; fail when it doesn't within the time."""
    began = time.monotonic()
    while True:
        shown = await status(agent)
        passed_s = time.monotonic() - began
        if true(shown):
            return passed_s
        assert passed_s < within_s, (
            f"not so within {within_s} s: {shown['plan']}, {shown['plan_reasons']}, {shown['state_reasons']}"
        )
        await asyncio.sleep(0.01)
