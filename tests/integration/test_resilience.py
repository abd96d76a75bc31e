"""Years in a life: the machine sleeps, users switch, clocks jump, monitors, buses and servers come and go; the agent stays.

One whole agent (its own process), with broker and collector, on a real X server and real buses; logind is dbusmock's. Each test
begins and ends with an agent that records.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant

from benches.cost import look
from capture.errors import Exit
from capture.service import FINAL_EXITS
from capture.sources.dbus import SYSTEM, Bus
from capture.sources.power import LOGIND, LOGIND_MANAGER, LOGIND_PATH, LOGIND_SESSION
from codec import reader
from codec.model import Row
from codec.reader import KeyEvent, PointerEvent, Recording
from codec.seal import ArchivePrivateKey
from tests.buses import MOCK, appears, emit, mock, need_mocks, private_bus, set_properties
from tests.integration.stack import Processes, Stack, display, wait_for
from tests.integration.test_flow import PURPOSE, active_title, flushed
from tests.places import free_display
from tests.real_daemons import NOWHERE
from tests.shifted_clocks import Clocks
from tests.sources.test_tray import panel
from tests.x11_display import await_manager, need, x_server
from tests.x11_injector import Injector
from tests.x11_outputs import xorg_server, xrandr
from transport.archive import FolderStore
from transport.fs import RealFiles

pytestmark = [pytest.mark.x11, pytest.mark.broker, pytest.mark.timeout(180)]

CONFIG = """\
[scope]
allow = ["xterm", "mousepad"]
[capture]
chunk_age = "1 h"
hold_back = "0 s"
[screens]
effort = "fast"
[energy]
cpu_mains = "100 %"
cpu_battery = "100 %"
wakeups_s = 1000
[budget.metered]
send = "all"
day = "50 MB"
month = "200 MB"
[broker]
port = {port}
[archive]
public_key = "{folder}/keys/archive.pub"
"""
SESSION_PATH = "/org/freedesktop/login1/session/c7"
DAY_S = 86_400
LEAST_EVENTS = 20


class Years(Stack):
    """A stack whose agent runs on clocks that are moved here."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.clocks = Clocks(folder / "clocks")
        super().__init__(folder, environment)

    def start_agent(self) -> None:
        command = [sys.executable, "-m", "tests.shifted_clocks", str(self.clocks.path), "run"]
        self.agent = self.processes.start("agent", [*command, "--config", str(self.config)], self.environment)
        wait_for(lambda: self.status() or self._died(), "the agent to answer")

    def now(self) -> dict[str, Any]:
        """Return the status of an agent that must be there."""
        self._died()
        status = self.status()
        assert status is not None
        return status

    def until(self, true: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Return the status that shows something."""
        return wait_for(lambda: status if true(status := self.now()) else None, what)

    def recording(self) -> None:
        """Wait until it records."""
        self.until(lambda status: status["state"] == "recording", "it to record")

    def suspended(self, because: str) -> None:
        """Wait until nothing is recorded for a reason, and all that was recorded is stored."""

        def true(status: dict[str, Any]) -> bool:
            reasons = (*status["state_reasons"], *status["plan_reasons"])
            return status["state"] == "suspended" and any(because in reason for reason in reasons)

        self.until(true, because)
        self.until(lambda status: status["chunks"]["open"] == 0, "what was open to be stored")

    def move(self) -> int:
        """Move the pointer; return how many events the agent has recorded of it then."""
        before = self.now()["recorded"]["pointer"]
        injector = Injector(self.environment["DISPLAY"])
        for step in range(2 * LEAST_EVENTS):
            injector.move_to(100 + 4 * step, 100 + step % 2)
            time.sleep(0.002)
        injector.close()
        return int(self.now()["recorded"]["pointer"]) - int(before)

    def records(self) -> None:
        """Show that it records."""
        self.recording()
        assert self.move() >= LEAST_EVENTS

    def records_nothing(self) -> None:
        """Show that it does not."""
        before = self.now()["recorded"]
        self.move()
        assert self.now()["recorded"] == before

    def recordings(self) -> list[Recording]:
        """Open every archived chunk, in the stream's order, as of the agent's clock."""
        private = ArchivePrivateKey.from_text(self.private_key.read_text())
        store, now_s = FolderStore(RealFiles(), self.archive), self.clocks.now_ns() // 10**9
        ids = sorted(store.iterate())
        return [reader.open(store.get(one), private, purpose=PURPOSE, now_s=now_s) for one in ids]

    def new(self, before: int) -> list[Recording]:
        """Close what is open, and return the recordings after the first `before`, when they are archived."""
        flushed(self)
        return self.recordings()[before:]


def rows(recordings: list[Recording], kind: str) -> list[dict[str, Any]]:
    return [
        dict(event.fields)
        for recording in recordings
        for event in recording.events()
        if isinstance(event, Row) and event.kind == kind
    ]


def wall_times(recordings: list[Recording]) -> list[int]:
    """Return when each input was, ns."""
    return [
        recording.wall_ns(event.t_ms)
        for recording in recordings
        for event in recording.events()
        if isinstance(event, PointerEvent | KeyEvent)
    ]


def on_system_bus(work: Callable[[Bus], Any]) -> None:
    """Do something on the system bus."""

    async def connected() -> None:
        bus = await Bus.connect(SYSTEM)
        assert bus is not None
        await appears(bus, LOGIND)
        await work(bus)
        bus.close()

    asyncio.run(connected())


def prepare_for_sleep(sleeping: bool) -> None:
    value = Variant("b", sleeping)
    on_system_bus(lambda bus: emit(bus, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "PrepareForSleep", value))


def set_session(**values: bool) -> None:
    variants = {name: Variant("b", value) for name, value in values.items()}
    on_system_bus(lambda bus: set_properties(bus, LOGIND, SESSION_PATH, LOGIND_SESSION, variants))


async def _add_session(bus: Bus) -> None:
    await bus.call(LOGIND, LOGIND_PATH, MOCK, "AddSession", "ssusb", ["c7", "seat0", 1, "person", True])
    added = [LOGIND_MANAGER, "GetSessionByPID", "u", "o", f"ret = '{SESSION_PATH}'"]
    assert await bus.call(LOGIND, LOGIND_PATH, MOCK, "AddMethod", "sssss", added) is not None


class SessionBus:
    """A session bus at an address that stays, as a person's has; with the services of this machine (accessibility)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bus"
        self.address = f"unix:path={self.path}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={self.address}"]
        home = str(self.path.parent)  # the accessibility bus has its socket there
        environment = {"PATH": os.environ["PATH"], "HOME": home, "XDG_RUNTIME_DIR": home}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.path.exists(), "the session bus")

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def shown_panel() -> Iterator[list[str]]:
    """Run a panel on the session bus; give the icons in it."""
    loop = asyncio.new_event_loop()

    async def show() -> tuple[Bus, list[str]]:
        bus, watcher = await panel()
        return bus, watcher.items

    thread = threading.Thread(target=loop.run_forever, name="panel")
    thread.start()
    bus, items = asyncio.run_coroutine_threadsafe(show(), loop).result(30)
    try:
        yield items
    finally:
        loop.call_soon_threadsafe(bus.close)
        loop.call_soon_threadsafe(lambda: loop.call_later(0.1, loop.stop))
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def session_bus() -> Iterator[SessionBus]:
    need("dbus-daemon")
    # Not pytest's folder: a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="bus") as folder:
        bus = SessionBus(Path(folder))
        bus.start()
        yield bus
        bus.stop()


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory, session_bus: SessionBus) -> Iterator[Years]:
    """A recording agent over a terminal that has the focus."""
    need_mocks()
    folder = tmp_path_factory.mktemp("years")
    with contextlib.ExitStack() as on:
        patched = on.enter_context(pytest.MonkeyPatch.context())
        patched.setenv("DBUS_SYSTEM_BUS_ADDRESS", on.enter_context(private_bus("system")))
        patched.setenv("DBUS_SESSION_BUS_ADDRESS", session_bus.address)
        on.enter_context(mock("system", "logind"))
        on_system_bus(_add_session)
        environment = on.enter_context(display(folder, size="1024x768"))
        for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
            environment[name] = os.environ[name]
        yield on.enter_context(running(folder, environment))


@contextlib.contextmanager
def running(folder: Path, environment: dict[str, str]) -> Iterator[Years]:
    years = Years(folder, environment)
    try:
        years.configure(CONFIG.format(port=years.port, folder=folder))
        show_terminal(years)
        years.start_broker()
        years.start_collector()
        years.start_agent()
        years.recording()
        yield years
    finally:
        years.end()


def show_terminal(years: Years) -> None:
    clock = "while :; do date +%N; sleep 0.3; done"
    command = ["xterm", "-title", "clock", "-geometry", "80x30+0+0", "-e", "sh", "-c", clock]
    years.processes.start("clock", command, years.environment)
    wait_for(lambda: active_title(years) == "clock", "the terminal to have the focus")


def test_a_night_of_sleep_is_a_gap_and_moves_no_time(years: Years) -> None:
    before = len(years.new(0))
    used_bytes = years.now()["budget"]["month_used"]
    began_ns = years.clocks.now_ns()
    years.records()
    prepare_for_sleep(True)
    years.suspended("sleep")
    fell_asleep_ns = years.clocks.now_ns()
    years.records_nothing()
    years.clocks.move(wall_s=8 * 3600, slept_s=8 * 3600)
    prepare_for_sleep(False)
    years.records()
    new = years.new(before)
    ended_ns = years.clocks.now_ns()
    causes = [row["cause"] for row in rows(new, "gap")]
    assert causes.count("sleep") == 1
    times = wall_times(new)
    evening = [at_ns for at_ns in times if at_ns <= fell_asleep_ns]
    morning = [at_ns for at_ns in times if at_ns > fell_asleep_ns]
    assert len(evening) >= LEAST_EVENTS
    assert len(morning) >= LEAST_EVENTS
    assert began_ns - 10**9 <= min(evening)
    assert fell_asleep_ns + 8 * 3600 * 10**9 - 10**9 <= min(morning)
    assert max(morning) <= ended_ns
    assert years.now()["budget"]["month_used"] >= used_bytes


def test_a_suspend_that_nobody_announced_leaves_what_was_recorded_at_its_time(years: Years) -> None:
    before = len(years.new(0))
    began_ns = years.clocks.now_ns()
    years.records()
    fell_asleep_ns = years.clocks.now_ns()
    years.clocks.move(wall_s=8 * 3600, slept_s=8 * 3600)
    times = wall_times(years.new(before))
    assert len(times) >= LEAST_EVENTS
    assert all(began_ns - 10**9 <= at_ns <= fell_asleep_ns + 10**9 for at_ns in times)


def test_while_another_user_has_the_screen_nothing_is_recorded(years: Years) -> None:
    before = len(years.new(0))
    years.records()
    set_session(Active=False)
    years.suspended("another session has the screen")
    years.records_nothing()
    set_session(Active=True)
    years.records()
    assert "away" in [row["cause"] for row in rows(years.new(before), "gap")]


def test_a_clock_that_jumps_by_days_neither_disorders_nor_pays_twice(years: Years) -> None:
    before, off = len(years.new(0)), 0
    for days in (3, -5, 2):
        years.records()
        # What is not sent yet when the clock jumps, and what is recorded across it, are the hard ones.
        years.clocks.move(wall_s=days * DAY_S)
        began_ns = years.clocks.now_ns()
        years.records()
        count = len(years.recordings())
        new = years.new(count)
        assert new
        assert all(began_ns - 60 * 10**9 <= at_ns <= years.clocks.now_ns() for at_ns in wall_times(new))
        off += days
        note = f"the wall clock is {abs(off)} day(s) {'ahead of' if off > 0 else 'behind'}"
        kept = [text for text in years.now()["warnings"] if note in text]
        assert bool(kept) is bool(off), "the budget of the time that has passed binds too"
    starts = [recording.meta.t0_ms for recording in years.recordings()[before:] if not list(recording.frames())]
    assert starts == sorted(starts)


def test_a_session_bus_that_is_restarted_is_used_again(years: Years, session_bus: SessionBus) -> None:
    need("mousepad")
    assert years.agent is not None
    environment = {name: value for name, value in years.environment.items() if name != "NO_AT_BRIDGE"}
    with shown_panel() as icons:
        wait_for(lambda: bool(icons), "the icon in the panel")
    session_bus.stop()
    before_s, before = time.monotonic(), look(years.agent.pid)
    years.records()  # under our own sign
    session_bus.start()
    with shown_panel() as icons:
        wait_for(lambda: bool(icons), "the icon in the new session's panel")
    after_s, after = time.monotonic(), look(years.agent.pid)
    assert before is not None
    assert after is not None
    # What this test asks of it costs 100 switches or so; trying again without a pause, thousands a second.
    assert after.switches - before.switches <= 1000 + 200 * (after_s - before_s)
    archived = len(years.new(0))
    editor = years.processes.start("editor", ["mousepad", "--disable-server"], environment)
    wait_for(lambda: "Mousepad" in active_title(years), "the editor to have the focus")

    def told() -> bool:
        injector = Injector(environment["DISPLAY"])
        injector.move_to(700, 520)  # in the middle of it
        injector.click(1)
        injector.close()
        return bool(rows(years.new(archived), "element"))

    wait_for(told, "the accessibility bus to tell of a click")
    editor.terminate()
    editor.wait()
    years.recording()


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Years]:
    """A recording agent on a display with outputs."""
    need("openbox", "xterm", "xdotool", "mosquitto")
    with xorg_server(tmp_path) as name:
        (tmp_path / "home").mkdir()
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "DISPLAY": name, "LC_ALL": "C.UTF-8",
            "NO_AT_BRIDGE": "1", "DBUS_SESSION_BUS_ADDRESS": NOWHERE, "DBUS_SYSTEM_BUS_ADDRESS": NOWHERE,
        }  # fmt: skip
        manager = Processes(tmp_path)
        try:
            show_manager(manager, environment)
            with running(tmp_path, environment) as years:
                yield years
        finally:
            manager.end()


def show_manager(processes: Processes, environment: dict[str, str]) -> None:
    processes.start("openbox", ["openbox", "--sm-disable"], environment)
    await_manager(environment["DISPLAY"])


def test_frames_and_masks_follow_monitors_that_are_plugged_resized_and_unplugged(plugged: Years) -> None:
    years, name = plugged, plugged.environment["DISPLAY"]
    wait_for(lambda: "1024x768" in _sizes(years), "a frame of the first monitor")
    xrandr(name, "--addmode", "DUMMY1", "800x600")
    xrandr(name, "--output", "DUMMY1", "--mode", "800x600", "--right-of", "DUMMY0")
    secret = ["xterm", "-class", "Secretive", "-bg", "white", "-geometry", "40x10+1300+100", "-title", "secret"]
    years.processes.start("secret", secret, years.environment)
    wait_for(lambda: active_title(years) == "secret", "the other window to have the focus")
    subprocess.run(["xdotool", "search", "--name", "clock", "windowactivate"], env=years.environment, check=True)
    years.records()
    wait_for(lambda: "1824x768" in _sizes(years), "a frame of both monitors")
    xrandr(name, "--output", "DUMMY0", "--mode", "800x600", "--output", "DUMMY1", "--pos", "800x0")
    wait_for(lambda: "1600x600" in _sizes(years), "a frame of the smaller display")
    xrandr(name, "--output", "DUMMY1", "--off")
    wait_for(lambda: "800x600" in _sizes(years), "a frame of the only monitor")
    years.records()
    recordings = years.new(0)
    displays = [(row["w"], row["h"], row["monitors"]) for row in rows(recordings, "display")]
    told = [size for size, before in zip(displays, [None, *displays], strict=False) if size != before]
    assert [size for size in told if size in ((1024, 768, 1), (1824, 768, 2), (1600, 600, 2), (800, 600, 1))] == [
        (1024, 768, 1),
        (1824, 768, 2),
        (1600, 600, 2),
        (800, 600, 1),
    ], told
    seen = [frame.pixels for recording in recordings for frame in recording.frames()]
    assert any(pixels[100:300, 20:400].any() for pixels in seen if pixels.shape[1] == 1824), "the terminal is seen"
    for pixels in seen:
        if pixels.shape[1] > 1024:
            assert not pixels[:, 1024:, :3].any(), "what is not allowed is black on the new monitor too"


def _sizes(years: Years) -> set[str]:
    """Return the sizes of the frames in the archive, as WIDTHxHEIGHT."""
    frames = (frame for recording in years.new(0) for frame in recording.frames())
    return {f"{frame.pixels.shape[1]}x{frame.pixels.shape[0]}" for frame in frames}


def test_a_restarted_x_server_is_recorded_by_the_next_start(tmp_path: Path) -> None:
    """The service manager makes that start: on this exit code it does not give up (tests/integration/test_service.py)."""
    need("openbox", "xterm", "xdotool", "mosquitto")
    (tmp_path / "home").mkdir()
    servers: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as on:
        name = on.enter_context(x_server(screen="800x600x24", name=free_display(), wrapped=servers))
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "DISPLAY": name, "LC_ALL": "C.UTF-8",
            "NO_AT_BRIDGE": "1", "DBUS_SESSION_BUS_ADDRESS": NOWHERE, "DBUS_SYSTEM_BUS_ADDRESS": NOWHERE,
        }  # fmt: skip
        manager = Processes(tmp_path)
        on.callback(manager.end)
        show_manager(manager, environment)
        years = on.enter_context(running(tmp_path, environment))
        years.records()
        recorded = years.now()["recorded"]["pointer"]
        servers[0].send_signal(signal.SIGKILL)
        assert years.agent is not None
        assert years.agent.wait(30) == Exit.NO_DISPLAY not in FINAL_EXITS
        assert "went away" in years.processes.log("agent")
        servers[0].wait()
        manager.start("xvfb", ["Xvfb", name, "-screen", "0", "800x600x24", "-noreset", "-nolisten", "tcp"], environment)
        wait_for(lambda: _answers(environment), "the X server")
        show_manager(manager, environment)
        show_terminal(years)
        years.start_agent()
        years.records()
        recordings = years.new(0)
        pointers = [sum(isinstance(event, PointerEvent) for event in one.events()) for one in recordings]
        assert sum(pointers) >= recorded + LEAST_EVENTS, "what was recorded before is there, and what came after"
        times = wall_times(recordings)
        assert times == sorted(times)


def _answers(environment: dict[str, str]) -> bool:
    return not subprocess.run(["xprop", "-root"], env=environment, capture_output=True).returncode
