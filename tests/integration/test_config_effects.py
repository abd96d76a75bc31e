"""Every key of the configuration makes the assembled agent behave otherwise: its real parts, on a display of our own.

tests/capture/test_config.py shows what a key means to the part that takes it; here it is shown that it gets there. Each
key has two configurations, with it and without, and something to look at, which must be as expected with the key and
otherwise without.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from capture.agent import Agent
from capture.agreement import terms_of
from capture.camera import Reel
from capture.config import Config, keys_of
from capture.consent import notice
from capture.errors import ConfigError
from capture.keyfiles import write_private
from capture.ladder import Rung, Upload
from capture.sources.network import Network
from capture.sources.power import Power
from capture.sources.usage import Usage
from capture.sources.windows import Window
from codec.chunk import Header, decode_body, open_chunk
from codec.model import PointerKind
from codec.screen import Effort, ScreenEncoder
from codec.seal import ArchivePrivateKey
from tests.agents import RUN, assemble, running
from tests.real_daemons import NOWHERE
from tests.transport.kit import mosquitto
from tests.transport.test_mqtt import Authority, tls_config
from tests.x11_display import client, need, x_server
from transport.broker import find_mosquitto
from transport.errors import SpoolFull
from transport.limits import Lease, Link

pytestmark = [pytest.mark.x11, pytest.mark.broker]

KEYS = [key for key in keys_of(Config) if key not in {name.rpartition(".")[0] for name in keys_of(Config)}]
BROKER_KEYS = [key for key in KEYS if key.startswith("broker.")]
PLENTY = '[budget]\nmonth = "1000 TB"\n'
MB = 1_000_000
DAY_S = 86_400


@dataclass
class Lab:
    """An agent and what lies around it. `folder` holds it all; `display` is where it records."""

    folder: Path
    display: str
    agent: Agent

    def private(self, name: str = "archive") -> ArchivePrivateKey:
        return ArchivePrivateKey.from_text((self.folder / f"{name}.key").read_text(encoding="ascii"))


Look = Callable[[Lab], Awaitable[object]]


@dataclass(frozen=True)
class Effect:
    """What to look at, and what is seen there with the key.

    Attributes:
        key: lines of TOML with it. look: see above. seen: what is expected there with the key; not without.
        without: the configuration that it is compared with.
        runs: whether the agent has to run for it.
    """

    key: str
    look: Look
    seen: object = True
    without: str = ""
    runs: bool = False


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    need("Xvfb", "xterm")
    with x_server() as name:
        yield name


@pytest.fixture(autouse=True)
def no_buses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, NOWHERE)


@contextlib.asynccontextmanager
async def lab(folder: Path, text: str, display: str, *, runs: bool) -> AsyncIterator[Lab]:
    folder.mkdir()
    other = folder / "other.key"
    made = ArchivePrivateKey.generate()
    write_private(other, made.to_text().encode())
    (folder / "other.pub").write_text(made.public.to_text(), encoding="ascii")
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
        reel.add(began_ms + number, pixels)
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


async def hidden_pixels(lab: Lab) -> object:
    mask = lab.agent.camera._mask([window("xterm")], 200, 100)
    assert mask is not None
    return int(mask.sum())


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


ROAM = '[budget.roaming]\nsend = "all"\n'
METER = '[budget.metered]\nsend = "all"\n'
BATTERY = {"on_battery": True, "source": "upower"}

EFFECTS: dict[str, Effect] = {
    "consent.purposes": Effect(
        '[consent]\npurposes = ["accessibility-research"]', purposes, ("accessibility-research",), runs=True
    ),
    "consent.region": Effect('[consent]\nregion = "EU"', region, "EU", runs=True),
    "consent.retention": Effect('[consent]\nretention = "90 days"', days_kept, 90, runs=True),
    "scope.allow": Effect('[scope]\nallow = ["xterm"]', is_xterm_recorded, runs=True),
    "scope.deny": Effect(
        '[scope]\nallow = ["xterm"]\ndeny = ["xterm"]',
        is_xterm_recorded,
        False,
        '[scope]\nallow = ["xterm"]',
        runs=True,
    ),
    "scope.desktop": Effect(
        '[scope]\nallow = ["xterm"]\ndesktop = "show"', hidden_pixels, 0, '[scope]\nallow = ["xterm"]'
    ),
    "capture.pointer_interval": Effect('[capture]\npointer_interval = "50 ms"', few_points, runs=True, without=PLENTY),
    "capture.damage_hold": Effect(
        PLENTY + '[capture]\ndamage_hold = "50 ms"', soonest_damage_s, runs=True, without=PLENTY
    ),
    "capture.chunk_age": Effect('[capture]\nchunk_age = "10 s"', is_the_draft_closed_after_15_s, runs=True),
    "capture.chunk_size": Effect('[capture]\nchunk_size = "64 KB"', is_the_reel_closed_at_100_kb, runs=True),
    "capture.hold_back": Effect('[capture]\nhold_back = "0 s"', ready_at_once, runs=True),
    "screens.enabled": Effect("[screens]\nenabled = false", plan_of(rung), Rung.EVENTS, PLENTY),
    "screens.min_interval": Effect(
        PLENTY + '[screens]\nmin_interval = "15 s"',
        plan_of(lambda agent: agent.steering.plan.frame_interval_ms),
        15_000,
        PLENTY,
    ),
    "screens.effort": Effect(PLENTY + '[screens]\neffort = "small"', camera_effort, Effort.SMALL, PLENTY, runs=True),
    "budget.day": Effect('[budget]\nday = "7 MB"', granted(8 * MB, Link.UNMETERED), False),
    "budget.month": Effect('[budget]\nmonth = "7 MB"', granted(8 * MB, Link.UNMETERED), False),
    "budget.billing_day": Effect("[budget]\nbilling_day = 9", period_ends_on, 9),
    "budget.time_zone": Effect('[budget]\ntime_zone = "Europe/Rome"', midnight_utc_hour),
    "budget.kbit_s": Effect(
        "[budget]\nkbit_s = 800", granted(MB, Link.UNMETERED, why="the rate is held at 800 kbit/s")
    ),
    "budget.windows": Effect(
        f"[budget]\n{closed_now()}", granted(1000, Link.UNMETERED, why="outside the upload windows")
    ),
    "budget.unmetered.send": Effect(
        '[budget.unmetered]\nsend = "events"',
        sends(Link.UNMETERED, events_only=False, upload=Upload.EVENTS),
        (False, Upload.EVENTS),
    ),
    "budget.metered.send": Effect(METER, sends(Link.METERED, events_only=False, upload=Upload.ALL), (True, Upload.ALL)),
    "budget.roaming.send": Effect(ROAM, sends(Link.ROAMING, events_only=True, upload=Upload.ALL), (True, Upload.ALL)),
    "budget.unmetered.day": Effect('[budget.unmetered]\nday = "3 MB"', granted(4 * MB, Link.UNMETERED), False),
    "budget.unmetered.month": Effect('[budget.unmetered]\nmonth = "3 MB"', granted(4 * MB, Link.UNMETERED), False),
    "budget.metered.day": Effect('[budget.metered]\nday = "3 MB"', granted(4 * MB, Link.UNKNOWN), False),
    "budget.metered.month": Effect('[budget.metered]\nmonth = "3 MB"', granted(4 * MB, Link.METERED), False),
    "budget.roaming.day": Effect(ROAM + 'day = "3 MB"', granted(4 * MB, Link.ROAMING), False, ROAM),
    "budget.roaming.month": Effect(ROAM + 'month = "3 MB"', granted(4 * MB, Link.ROAMING), False, ROAM),
    "budget.networks": Effect(
        '[budget.networks]\n"Home" = "unmetered"',
        plan_of(lambda agent: agent.observe().link, link="metered", name="Home"),
        "unmetered",
    ),
    "energy.cpu_mains": Effect(
        PLENTY + '[energy]\ncpu_mains = "1 %"',
        plan_of(lambda agent: rung(agent) < Rung.EVERY_2S, link="unmetered", on_battery=False, source="upower"),
        without=PLENTY,
    ),
    "energy.cpu_battery": Effect(
        PLENTY + '[energy]\ncpu_battery = "0.3 %"',
        plan_of(lambda agent: rung(agent) <= Rung.EVENTS, link="unmetered", battery_ratio=0.9, **BATTERY),
        without=PLENTY,
    ),
    "energy.screens_floor": Effect(
        '[energy]\nscreens_floor = "40 %"',
        plan_of(lambda agent: rung(agent) <= Rung.EVENTS, battery_ratio=0.35, **BATTERY),
    ),
    "energy.floor": Effect('[energy]\nfloor = "20 %"', plan_of(rung, battery_ratio=0.15, **BATTERY), Rung.NOTHING),
    "energy.wakeups_s": Effect(
        "[energy]\nwakeups_s = 5", plan_of(lambda agent: agent.steering.plan.hold_ms > 100, wakeups_s=8.0)
    ),
    "energy.memory": Effect(
        '[energy]\nmemory = "90 MB"', plan_of(rung, rss_bytes=200 * MB, link="unmetered"), Rung.EVENTS, PLENTY
    ),
    "spool.directory": Effect('[spool]\ndirectory = "FOLDER/elsewhere"', lies_there),
    "spool.limit": Effect('[spool]\nlimit = "10 MB"', when_12_mb_are_put, "drops"),
    "spool.when_full": Effect(
        '[spool]\nlimit = "20 MB"\nwhen_full = "drop-oldest"', what_goes_first, "the oldest", '[spool]\nlimit = "20 MB"'
    ),
    "spool.age": Effect('[spool]\nage = "1 h"', is_a_chunk_of_two_hours_ago_there, False, runs=True),
    "review.keep": Effect('[review]\nkeep = "0 s"', copies_kept, 0, runs=True),
    "review.limit": Effect('[review]\nlimit = "0 B"', copies_kept, 0, runs=True),
    "archive.public_key": Effect('[archive]\npublic_key = "FOLDER/other.pub"', can_the_other_read, runs=True),
    "archive.reader": Effect('[archive]\nreader = "The Lab"', is_the_reader_named),
}


def test_every_key_of_the_configuration_has_its_test() -> None:
    assert set(EFFECTS) | {f"broker.{name}" for name in BROKERS} == set(KEYS)


@pytest.mark.parametrize("key", EFFECTS)
async def test_the_agent_behaves_otherwise_with_the_key(key: str, tmp_path: Path, display: str) -> None:
    effect = EFFECTS[key]
    async with lab(tmp_path / "with", effect.key, display, runs=effect.runs) as it:
        assert await effect.look(it) == effect.seen
    async with lab(tmp_path / "without", effect.without, display, runs=effect.runs) as it:
        assert await effect.look(it) != effect.seen, "it behaves so without the key as well"


# -- the broker's keys, at a real one


BROKERS = {
    # key: the broker's configuration, our keys with which it is reached, and those with which it is not
    "host": ("listener {port} 127.0.0.2\nallow_anonymous true\n", 'host = "127.0.0.2"', ""),
    "port": ("allow_anonymous true\n", "", "port = 9"),
    "tls": ("TLS", "TLS-ALL", ""),
    "ca": ("TLS", "TLS-ALL", "TLS-NO-CA"),
    "cert": ("TLS", "TLS-ALL", "TLS-OTHER"),
    "key": ("TLS", "TLS-ALL", "TLS-OTHER-KEY"),
    "username": ("PASSWORD", 'username = "me"\npassword_file = "FOLDER/right"', 'username = "you"\npassword_file = "FOLDER/right"'),
    "password_file": ("PASSWORD", 'username = "me"\npassword_file = "FOLDER/right"', 'username = "me"\npassword_file = "FOLDER/wrong"'),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKERS)
async def test_the_agent_reaches_a_real_broker_only_with_the_key(name: str, tmp_path: Path, display: str) -> None:
    server, right, wrong = BROKERS[name]
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    certificate, key = authority.issue("device")
    own_certificate, own_key = stranger.issue("own")
    tls = f'host = "localhost"\ntls = true\nca = "{authority.file}"\ncert = "{certificate}"\nkey = "{key}"'
    texts = {
        "TLS-ALL": tls,
        "TLS-NO-CA": tls.replace(f'ca = "{authority.file}"\n', ""),
        "TLS-OTHER": tls.replace(str(certificate), str(own_certificate)).replace(str(key), str(own_key)),
        "TLS-OTHER-KEY": tls.replace(str(key), str(own_key)),
    }
    for file, word in (("right", "secret"), ("wrong", "guess")):
        write_private(tmp_path / file, word.encode() + b"\n")
    if server == "TLS":
        server = tls_config(authority, clients=True)
    elif server == "PASSWORD":
        program = Path(find_mosquitto() or "mosquitto").parent.parent / "bin" / "mosquitto_passwd"
        if not program.exists():
            pytest.skip("mosquitto_passwd is not installed")
        subprocess.run([program, "-b", "-c", str(tmp_path / "users"), "me", "secret"], check=True)  # noqa: ASYNC221
        server = f"allow_anonymous false\npassword_file {tmp_path}/users\n"
    with (
        mosquitto(tmp_path, server)
        if "listener" not in server or "127.0.0.1" in server
        else elsewhere(tmp_path, server) as port
    ):
        for number, (text, reached) in enumerate(((right, True), (wrong, False))):
            said = ""
            text = texts.get(text, text).replace("FOLDER", str(tmp_path))
            lines = text if "port" in text else f"port = {port}\n{text}"
            config = f'[capture]\nhold_back = "0 s"\n[broker]\n{lines}\n'
            try:
                async with lab(tmp_path / str(number), config, display, runs=True) as it:
                    await a_chunk(it)
                    assert await tries(it, tmp_path / "mosquitto.log") is reached, _log(tmp_path)
            except* ConfigError as group:
                said = str(group.exceptions[0])
            assert bool(said) is (name == "key" and not reached)
            assert not said or "cannot be used together: key values mismatch" in said


def _log(folder: Path) -> str:
    return (folder / "mosquitto.log").read_text(errors="replace")


async def tries(lab: Lab, log: Path) -> bool:
    """Return whether the agent got to the broker, once that or the opposite is certain."""
    agent = lab.agent

    def arrived() -> bool:
        return f" as {agent.device} " in log.read_text(errors="replace")

    def ended() -> bool:
        return not any(task.get_name() == RUN for task in asyncio.all_tasks())

    assert await becomes(lambda: arrived() or "broker" in agent.warnings or ended()), "it neither came nor said why not"
    return arrived()


@contextlib.contextmanager
def elsewhere(folder: Path, server: str) -> Iterator[int]:
    """Run mosquitto on another address of the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        port = int(probe.getsockname()[1])
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed")
    file = folder / "mosquitto.conf"
    file.write_text(server.replace("{port}", str(port)))
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(file)], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def test_an_agent_ends_at_once_whatever_its_publisher_is_doing(tmp_path: Path, display: str) -> None:
    """Told to stop at the moment in which its connection ends as well, 25 times."""
    with mosquitto(tmp_path, "allow_anonymous true\n") as port:
        config = f'[capture]\nhold_back = "0 s"\n[broker]\nport = {port}\n'
        for number in range(25):
            async with asyncio.timeout(20):
                async with lab(tmp_path / str(number), config, display, runs=True) as it:
                    await a_chunk(it)
                    assert await tries(it, tmp_path / "mosquitto.log")
