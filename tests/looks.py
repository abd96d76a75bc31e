"""What can be looked at of a whole agent: its chunks, verdicts, plans, budget and spool, each as one value.

A look is an asynchronous function of a `Lab`: an agent that is assembled over real parts, and often runs.
"""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from capture.agent import Agent
from capture.agreement import terms_of
from capture.camera import Reel
from capture.consent import notice
from capture.keyfiles import write_private
from capture.ladder import Rung, Upload
from capture.mask import Mask
from capture.sources.network import Network
from capture.sources.power import Power
from capture.sources.usage import Usage
from capture.sources.windows import Window
from codec.chunk import Header, decode_body, open_chunk
from codec.model import PointerKind
from codec.screen import Effort, ScreenEncoder
from codec.seal import ArchivePrivateKey, DeviceSigningKey
from tests.agents import assemble, running
from tests.x11_display import client
from transport.errors import SpoolFull
from transport.limits import Lease, Link

pytestmark = [pytest.mark.x11, pytest.mark.broker]
MB = 1_000_000
DAY_S = 86_400
METRICS_PORT = 21_890


@dataclass
class Lab:
    """An agent and what lies around it. `folder` holds it all; `display` is where it records."""

    folder: Path
    display: str
    agent: Agent

    def private(self, name: str = "archive") -> ArchivePrivateKey:
        return ArchivePrivateKey.from_text((self.folder / f"{name}.key").read_text(encoding="ascii"))


Look = Callable[[Lab], Awaitable[object]]


@contextlib.asynccontextmanager
async def lab(folder: Path, text: str, display: str, *, runs: bool) -> AsyncIterator[Lab]:
    folder.mkdir()
    other = folder / "other.key"
    made = ArchivePrivateKey.generate()
    write_private(other, made.to_text().encode())
    (folder / "other.pub").write_text(made.public.to_text(), encoding="ascii")
    (folder / "answers.pub").write_text(DeviceSigningKey.generate().public.to_text(), encoding="ascii")
    agent = assemble(folder, text.replace("FOLDER", str(folder)), {"DISPLAY": display, "TZ": "Asia/Tokyo"})
    async with running(agent) if runs else agent:
        yield Lab(folder, display, agent)


async def becomes(true: Callable[[], object], *, within_s: float = 20.0) -> bool:
    """Tell whether something comes true in time."""
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


# -- what to look at: chunks


async def a_chunk(lab: Lab, key: str = "archive") -> tuple[Header, Any]:
    """Record a row, close the draft, and open the chunk that is spooled."""
    agent = lab.agent
    agent.recorder.row(agent.desktop.server_ms(time.monotonic_ns()), "note", {})
    await agent.chunker.close_all()
    (entry,) = list(agent.spool.entries())[-1:]
    chunk = agent.spool.read(entry.chunk_id)
    assert chunk is not None
    header, body = open_chunk(chunk, lab.private(key))
    return header, decode_body(body)


async def purposes(lab: Lab) -> object:
    return (await a_chunk(lab))[1].meta.purposes


async def region(lab: Lab) -> object:
    return (await a_chunk(lab))[1].meta.region


async def days_kept(lab: Lab) -> object:
    header, body = await a_chunk(lab)
    assert header.expires_day == body.meta.expires_s // DAY_S
    return round((body.meta.expires_s - time.time()) / DAY_S)


async def can_the_other_read(lab: Lab) -> object:
    agent = lab.agent
    agent.recorder.row(agent.desktop.server_ms(time.monotonic_ns()), "note", {})
    await agent.chunker.close_all()
    (entry,) = agent.spool.entries()
    chunk = agent.spool.read(entry.chunk_id)
    assert chunk is not None
    try:
        open_chunk(chunk, lab.private("other"))
    except Exception:
        return False
    return True


async def is_the_reader_named(lab: Lab) -> object:
    consent = lab.agent.home.consent()
    assert consent is not None
    assert consent.notice == notice(terms_of(lab.agent.config)), "what was accepted is what this configuration does"
    return "The Lab" in consent.notice


async def few_points(lab: Lab) -> object:
    agent = lab.agent
    began_ms = agent.desktop.server_ms(time.monotonic_ns())
    for step in range(300):
        agent.recorder.pointer(began_ms + step, PointerKind.MOVE, 10 + step, 10 + step * step % 7)
    return len((await a_chunk(lab))[1].pointer.t_ms) < 30


async def is_the_draft_closed_after_15_s(lab: Lab) -> object:
    agent = lab.agent
    agent.recorder.row(agent.desktop.server_ms(time.monotonic_ns()) - 15_000, "note", {})
    agent.chunker.arm()
    return await becomes(lambda: agent.spool.usage().chunks, within_s=1.5)


async def is_the_reel_closed_at_100_kb(lab: Lab) -> object:
    import numpy as np

    agent = lab.agent
    began_ms = agent.desktop.server_ms(time.monotonic_ns())
    agent.camera.reel = reel = Reel(began_ms, Effort.FAST, ScreenEncoder(effort=Effort.FAST))
    noise = np.random.default_rng(1)
    number = 0
    while reel.encoder.pending_bytes < 100_000:
        number += 1
        pixels = noise.integers(0, 255, (240, 320, 4), np.uint8)
        frame = reel.expose(Mask(320, 240, hide=False, patches=()), iter([pixels]))
        reel.keep(began_ms + number, frame)
        assert number < 100
    agent.chunker.check()
    return await becomes(lambda: agent.camera.reel is not reel, within_s=2)


async def ready_at_once(lab: Lab) -> object:
    await a_chunk(lab)
    return bool(lab.agent.spool.ready(time.time_ns()))


async def copies_kept(lab: Lab) -> object:
    await a_chunk(lab)
    return len(list(lab.agent.home.copies.glob("*.chunk")))


# -- what to look at: windows and plans


def window(app: str, size: int = 100) -> Window:
    return Window(id=1, app=app, title="a window", pid=1, x=0, y=0, width=size, height=size)


async def is_xterm_recorded(lab: Lab) -> object:
    lab.agent.gate.focus(0, window("xterm"))
    return lab.agent.gate.open


def of_window(app: str, look: Callable[[Any], object], site: str | None = None) -> Look:
    """Look at the verdict on a window, of which the applications would tell that it shows a site."""

    async def seen(lab: Lab) -> object:
        lab.agent.policy.site_of = lambda _: site
        return look(lab.agent.policy.verdict(window(app)).value)

    return seen


async def without_semantics(lab: Lab) -> object:
    return lab.agent.semantics is None


async def watches_clipboard(lab: Lab) -> object:
    return lab.agent.conductor.clipboard is not None and lab.agent.desktop is lab.agent.conductor.clipboard._desktop


async def labels_kept(lab: Lab) -> object:
    assert lab.agent.semantics is not None
    return str(lab.agent.semantics._labels)


async def paused_by_ctrl_f9(lab: Lab) -> object:
    subprocess.run(["xdotool", "key", "ctrl+F9"], env={**os.environ, "DISPLAY": lab.display}, check=True)  # noqa: ASYNC221
    return await becomes(lambda: lab.agent.conductor.is_paused, within_s=2)


async def wants_signed_answers(lab: Lab) -> object:
    agent = lab.agent
    assert await becomes(lambda: agent.publishing.publisher is not None)
    assert agent.publishing.publisher is not None
    return bool(agent.publishing.publisher.settings.answer_keys)


async def serves_figures(lab: Lab) -> object:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", METRICS_PORT)
    except OSError:
        return False
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read(-1)
    writer.close()
    return b"modicum_agent_plan_rung" in answer


async def hidden_pixels(lab: Lab) -> object:
    mask = lab.agent.camera._mask([window("xterm")], 200, 100)
    assert mask is not None
    return int(mask.rows(0, 100).sum())


async def soonest_damage_s(lab: Lab) -> object:
    """Have a terminal scroll all the time, and see how soon after each other changes of the screen are told."""
    told: list[float] = []
    conductor = lab.agent.conductor
    conductor.damage = lambda t_ms: told.append(time.monotonic())  # type: ignore[method-assign]
    with client(lab.display, "xterm", "-e", "sh", "-c", "while :; do echo; sleep 0.02; done"):
        assert await becomes(lambda: len(told) >= 7)
    return min(after - before for before, after in pairwise(told)) < 0.4


def plan_of(look: Callable[[Agent], object], **said: Any) -> Look:
    """Look at the plan under some conditions: fields of Power, Usage and Network as the sources would tell them."""

    async def seen(lab: Lab) -> object:
        agent = lab.agent
        for name, kind in (("power", Power), ("usage", Usage), ("network", Network)):
            fields = {field: said[field] for field in said if field in kind.__dataclass_fields__}
            told = kind(**fields)
            getattr(agent, name).current = lambda told=told: told
        return look(agent)

    return seen


def rung(agent: Agent) -> Rung:
    return agent.steering.plan.rung


async def camera_effort(lab: Lab) -> object:
    return lab.agent.camera.effort


# -- what to look at: the budget


def granted(size_bytes: int, link: Link, *, events_only: bool = True, why: str | None = None) -> Look:
    """Look at whether a reservation is granted, or (`why`) whether it is refused with that reason."""

    async def seen(lab: Lab) -> object:
        answer = lab.agent.ledger.reserve(
            size_bytes, link=link, wall_ns=time.time_ns(), mono_ns=time.monotonic_ns(), events_only=events_only
        )
        if why is None:
            return isinstance(answer, Lease)
        return not isinstance(answer, Lease) and any(why in reason for reason in answer.reasons)

    return seen


async def period_ends_on(lab: Lab) -> object:
    tokyo = timedelta(hours=9)
    return (datetime.fromtimestamp(lab.agent.budget.period_end_wall_ns / 1e9, UTC) + tokyo).day


async def midnight_utc_hour(lab: Lab) -> object:
    hour = datetime.fromtimestamp(lab.agent.budget.day_end_wall_ns / 1e9, UTC).hour
    return hour in {22, 23} and lab.agent.governor.settings.time_zone == "Europe/Rome"


def closed_now() -> str:
    """Return an upload window of Tokyo's that is not open in the next hours."""
    now = datetime.now(UTC) + timedelta(hours=9)
    return f'windows = ["{now + timedelta(hours=6):%H:%M}-{now + timedelta(hours=7):%H:%M}"]'


def sends(link: Link, *, events_only: bool, upload: Upload) -> Look:
    """Look at whether ledger and governor both let this over a link."""

    async def seen(lab: Lab) -> object:
        fits = await granted(1000, link, events_only=events_only)(lab)
        planned = await plan_of(lambda agent: agent.steering.plan.upload, link=str(link))(lab)
        return fits, planned

    return seen


# -- what to look at: the spool


async def lies_there(lab: Lab) -> object:
    return any((lab.folder / "elsewhere").iterdir()) if (lab.folder / "elsewhere").exists() else False


async def when_12_mb_are_put(lab: Lab) -> object:
    spool, dropped = lab.agent.spool, 0
    for _ in range(12):
        try:
            dropped += len(spool.put(spool.next_id(), os.urandom(MB), value=0, ready_wall_ns=0))
        except SpoolFull:
            return "full"
    return "drops" if dropped else "fits"


async def what_goes_first(lab: Lab) -> object:
    """Put something of value, and then what is worth nothing until something has to go."""
    spool = lab.agent.spool
    first = spool.next_id()
    spool.put(first, os.urandom(MB), value=200, ready_wall_ns=0)
    for _ in range(30):
        try:
            gone = spool.put(spool.next_id(), os.urandom(MB), value=0, ready_wall_ns=0)
        except SpoolFull:
            return "nothing"
        if gone:
            return "the oldest" if first in {gap.chunk_id for gap in gone} else "the least"
    raise AssertionError("it never was full")


async def is_a_chunk_of_two_hours_ago_there(lab: Lab) -> object:
    spool = lab.agent.spool
    old = spool.next_id()
    spool.put(old, b"old", value=200, ready_wall_ns=time.time_ns() - 2 * 3600 * 10**9)
    await a_chunk(lab)  # what is too old goes when something new comes
    return spool.read(old) is not None
