"""The X11 source on real X servers with real applications: what is injected is what is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import xcffib
import xcffib.xproto as xp

from capture.errors import NoDisplay, NoPermission
from capture.sources.desktop import TYPING_HOLD_S, Desktop
from tests.x11_display import await_manager, client, need, wait_until, x_server
from tests.x11_injector import Injector, Truth
from tests.x11_watching import Seen, check, lost, until, watching, xprop

pytestmark = pytest.mark.x11

INJECTOR = Path(__file__).resolve().parent.parent / "x11_injector.py"


def xkill(display: str, window: int) -> None:
    subprocess.run(["xkill", "-display", display, "-id", str(window)], capture_output=True, check=True)


async def work(display: str, events: int, rate_hz: float) -> Truth:
    """Let another process work at the display; return what it did."""
    arguments = (sys.executable, INJECTOR, display, "--events", str(events), "--rate", str(rate_hz))
    process = await asyncio.create_subprocess_exec(*map(str, arguments), stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return Truth(*([tuple(event) for event in column] for column in json.loads(output).values()))


TRIES = 10
"""A machine with other things to do fails to wake the process in time every third try; whoever never does is found out."""


@pytest.mark.parametrize(("rate_hz", "count"), [(125, 1500), (1000, 6000), (8000, 6000)])
async def test_all_injected_events_are_told_in_order_with_exact_positions_and_times(
    desk: str, rate_hz: int, count: int
) -> None:
    tries: list[str] = []
    for _ in range(TRIES):
        async with watching(desk) as (desktop, seen):
            truth = await work(desk, count, rate_hz)
            desktop.flush()
            told = len(seen.pointers) + len(seen.keys)
        tries.append(f"told {told}, overflows {desktop.overflows}, holes (where, how many) {lost(truth, seen)}")
        if desktop.overflows == 0:
            break  # else the process was not woken for so long that the X server may have lost events, and it says so
    assert desktop.overflows == 0, tries
    assert lost(truth, seen) == [], tries
    check(truth, seen)
    assert told >= count
    assert seen.all == sorted(seen.all, key=lambda one: one[0])


async def test_events_that_nobody_listens_to_are_told_by_flush(bare: str) -> None:
    async with watching(bare, damage_hold_s=None) as (desktop, seen):
        injector = Injector(bare)
        await asyncio.sleep(0.2)
        injector.sweep(20)  # RECORD holds up to 31 events until something else happens
        await asyncio.sleep(0.5)
        assert seen.pointers == []
        desktop.flush()
        check(injector.truth, seen)
        injector.close()


async def test_wheel_clicks_have_no_release_and_side_buttons_have(bare: str) -> None:
    async with watching(bare) as (desktop, seen):
        injector = Injector(bare)
        for button in (4, 5, 6, 7, 8, 9):
            injector.click(button)
        desktop.flush()
        check(injector.truth, seen)
        assert [kind for _, kind, _, _ in seen.pointers] == [8, 10, 12, 14, 16, 17, 18, 19]
        injector.close()


async def test_slots_join_press_and_release_of_overlapping_keys(desk: str) -> None:
    async with watching(desk) as (desktop, seen):
        injector = Injector(desk)
        a, seven = ord("a"), ord("7")
        injector.key(a, "LETTER", down=True)
        injector.key(seven, "DIGIT", down=True)
        injector.key(a, "LETTER", down=False)
        injector.key(0x20, "SPACE", down=True)
        injector.key(seven, "DIGIT", down=False)
        injector.key(0x20, "SPACE", down=False)
        desktop.flush()
        check(injector.truth, seen)
        assert [slot for *_, slot in seen.keys] == [0, 1, 0, 0, 1, 0]
        injector.close()


async def test_input_during_a_menus_grab_is_told(desk: str) -> None:
    async with watching(desk) as (desktop, seen):
        injector = Injector(desk)
        injector.move_to(1200, 700)
        injector.click(3)  # openbox's root menu grabs pointer and keyboard
        await asyncio.sleep(0.3)
        for step in range(50):
            injector.move_by(-1, -1 - step % 2)
        injector.key(0xFF1B, "NAVIGATION", down=True)
        injector.key(0xFF1B, "NAVIGATION", down=False)
        desktop.flush()
        check(injector.truth, seen)
        injector.close()


async def test_the_focus_is_told_before_the_input_that_follows_it(desk: str) -> None:
    async with watching(desk) as (_, seen):
        injector = Injector(desk)
        for x, title in ((200, "at 60x20+40+60"), (800, "at 60x20+620+60"), (200, "at 60x20+40+60")):
            injector.move_to(x, 200)
            injector.click(1)
            await until(lambda title=title: seen.focuses[-1][1] and seen.focuses[-1][1].title == title)
        window = seen.focuses[-1][1]
        assert window is not None
        assert (window.app, window.pid > 0, window.owner) == ("xterm", True, 0)
        assert window.x <= 200 < window.x + window.width
        injector.close()
    assert seen.all == sorted(seen.all, key=lambda one: one[0])


async def test_where_the_focus_was_for_less_than_a_batch_is_told_as_unknown(desk: str) -> None:
    async with watching(desk) as (desktop, seen):
        injector = Injector(desk)
        titles = ["at 60x20+620+60", "at 60x20+40+60"]
        for x, title in ((800, titles[0]), (200, titles[1])):  # the second has the focus before and after
            injector.move_to(x, 200)
            injector.click(1)
            await until(lambda title=title: desktop.windows() and (desktop.windows() or [])[-1].title == title)
            desktop.flush()
        before = len(seen.focuses)
        for x in (800, 200):
            injector.move_to(x, 200)
            injector.click(1)
            _wait_active(desk, titles[x == 200])  # blocks the loop: both changes come in one batch
        desktop.flush()
        told = seen.focuses[before:]
        assert [window and window.title for _, window in told] == [None, titles[1]]
        assert told[0][0] < told[1][0]
        injector.close()


def _wait_active(display: str, title: str) -> None:
    def active() -> bool:
        window = xprop(display, "-root", "_NET_ACTIVE_WINDOW").partition("#")[2].strip()
        return title in xprop(display, "-id", window, "WM_NAME")

    wait_until(active)


async def test_a_changed_title_is_told_once(desk: str) -> None:
    async with watching(desk) as (_, seen):
        window = next(window for _, window in reversed(seen.focuses) if window)
        for name in ("WM_NAME", "_NET_WM_NAME"):
            kind = "8s" if name == "WM_NAME" else "8u"
            xprop(desk, "-id", str(window.id), "-f", name, kind, "-set", name, "Größe")
        await until(lambda: seen.focuses[-1][1] and seen.focuses[-1][1].title == "Größe")
        await asyncio.sleep(0.5)
        assert [w.title for _, w in seen.focuses if w][-2:].count("Größe") == 1


async def test_when_the_last_window_is_closed_nothing_has_the_focus(desk: str) -> None:
    async with watching(desk) as (_, seen):
        for _window in range(2):
            window = next(window for _, window in reversed(seen.focuses) if window)
            xkill(desk, window.id)
            await until(lambda dead=window.id: seen.focuses[-1][1] is None or seen.focuses[-1][1].id != dead)
        await until(lambda: seen.focuses[-1][1] is None)


def titled(connection: Any, title: str, window: int | None = None) -> int:
    """Give a window a title, a new one unless it is there already; return its id."""
    core, screen = connection.core, connection.get_setup().roots[0]
    made = window or connection.generate_id()
    if window is None:
        core.CreateWindow(
            screen.root_depth,
            made,
            screen.root,
            10,
            10,
            200,
            100,
            0,
            xp.WindowClass.InputOutput,
            screen.root_visual,
            0,
            [],
        )
    core.ChangeProperty(xp.PropMode.Replace, made, xp.Atom.WM_NAME, xp.Atom.STRING, 8, len(title), title)
    core.MapWindow(made)
    connection.flush()
    return made


async def test_a_window_that_has_the_id_of_a_dead_one_tells_itstitles(bare: str) -> None:
    with client(bare, "openbox"):
        await_manager(bare)
        async with watching(bare) as (_, seen):
            first = xcffib.connect(bare)
            window = titled(first, "one")
            await until(lambda: _told(seen) == "one")
            first.disconnect()
            await until(lambda: _told(seen) is None)
            second = xcffib.connect(bare)
            assert titled(second, "two") == window, "the server gives the ids of who left to who comes next"
            await until(lambda: _told(seen) == "two")
            titled(second, "three", window)
            await until(lambda: _told(seen) == "three")
            second.disconnect()


def _told(seen: Seen) -> str | None:
    """Return the title of the window last told as focused."""
    window = seen.focuses[-1][1] if seen.focuses else None
    return None if window is None else window.title


async def test_without_a_window_manager_the_focus_follows_the_pointer(bare: str) -> None:
    with client(bare, "xterm", "-T", "alone", "-geometry", "40x10+50+50"):
        async with watching(bare) as (desktop, seen):
            injector = Injector(bare)
            await until(lambda: any(window.title == "alone" for window in desktop.windows() or []))
            injector.move_to(100, 100)
            desktop.flush()
            assert seen.focuses[-1][1] is not None
            assert seen.focuses[-1][1].app == "xterm"
            injector.move_to(1000, 700)
            desktop.flush()
            assert seen.focuses[-1][1] is None
            injector.close()


async def still(seen: Seen) -> None:
    """Return when nothing was drawn for a second: new windows may take a while, on a machine with other things to do."""
    for _ in range(10):
        seen.damages.clear()
        await asyncio.sleep(1.0)
        if not seen.damages:
            return
    pytest.fail("the screen never becomes still")


async def test_damage_is_told_once_a_hold_and_never_on_a_still_screen(desk: str) -> None:
    async with watching(desk, damage_hold_s=0.2) as (desktop, seen):
        await still(seen)
        await asyncio.sleep(1.0)
        assert seen.damages == []
        with client(desk, "xterm", "-e", "sh", "-c", "while :; do date +%N; sleep 0.01; done"):
            began = time.monotonic()
            await asyncio.sleep(2.0)
            await until(lambda: len(seen.damages) >= 4)
            assert len(seen.damages) <= 1 + (time.monotonic() - began) / 0.2
            desktop.set_damage_hold(None)
            await asyncio.sleep(0.3)
            seen.damages.clear()
            await asyncio.sleep(0.6)
            assert seen.damages == []
            desktop.set_damage_hold(0.1)
            await until(lambda: seen.damages)


class Batches(Seen):
    """A sink that knows what is told in one step of the loop: when keys were, and whether changes of the screen were with them."""

    def __init__(self) -> None:
        super().__init__()
        self.key_batches: list[float] = []
        self.damages_with_keys = 0
        self._in_batch = False

    def key(self, t_ms: int, down: bool, code: int, slot: int) -> None:
        super().key(t_ms, down, code, slot)
        if not self._in_batch:
            self._in_batch = True
            self.key_batches.append(time.monotonic())
            asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self._in_batch = False

    def damage(self, t_ms: int) -> None:
        super().damage(t_ms)
        self.damages_with_keys += self._in_batch


def press(injector: Injector) -> None:
    """Press the x and let it go."""
    for down in (True, False):
        injector.key(ord("x"), "LETTER", down=down)


async def test_while_only_keys_come_they_gather_for_longer(desk: str) -> None:
    desktop, seen = Desktop(desk, damage_hold_s=None), Batches()
    await desktop.start(asyncio.get_running_loop(), seen)
    injector = Injector(desk)
    while len(seen.key_batches) < 40:  # the first some thirty are short: that it is no fast mouse has to be learnt
        press(injector)
        await asyncio.sleep(0.04)
    gaps = [after - before for before, after in pairwise(seen.key_batches[-6:])]
    desktop.stop()
    injector.close()
    assert min(gaps) > 0.95 * TYPING_HOLD_S
    check(injector.truth, seen)


async def test_a_change_that_has_gathered_for_long_enough_is_told_with_the_keys_that_caused_it(desk: str) -> None:
    desktop, seen = Desktop(desk, damage_hold_s=5.0), Batches()
    await desktop.start(asyncio.get_running_loop(), seen)
    desktop.attend(True)
    injector = Injector(desk)
    deadline = time.monotonic() + 20
    while seen.damages_with_keys < 3:  # the terminal shows each letter at once: it is some 0.2 s old when it is read
        assert time.monotonic() < deadline, f"{len(seen.damages)} changes were told, none with keys"
        press(injector)
        await asyncio.sleep(0.05)
    desktop.stop()
    injector.close()


async def test_idleness_is_told_both_ways(bare: str) -> None:
    async with watching(bare, idle_s=0.5) as (_, seen):
        injector = Injector(bare)
        injector.move_to(5, 5)
        await until(lambda: [idle for _, idle in seen.idles][-1:] == [True])
        injector.move_to(6, 6)
        await until(lambda: [idle for _, idle in seen.idles][-1:] == [False])
        await until(lambda: seen.pointers[-1:] and seen.pointers[-1][2:] == (6, 6))  # idle notices bring what was held
        injector.close()


async def test_a_changed_display_is_told() -> None:
    need("xrandr")
    with x_server(screen="1280x800x24") as display:
        async with watching(display) as (_, seen):
            assert seen.displays[0][1:3] == (1280, 800)
            mode = ["800x600", "38.25", "800", "832", "912", "1024", "600", "603", "607", "624"]
            for arguments in (
                ["--newmode", *mode], ["--addmode", "screen", mode[0]], ["--output", "screen", "--mode", mode[0]]
            ):  # fmt: skip
                await asyncio.to_thread(subprocess.run, ["xrandr", "-d", display, *arguments], check=True)
            await until(lambda: seen.displays[-1][1:3] == (800, 600))
            assert [(m.width, m.height) for m in seen.displays[-1][3]] == [(800, 600)]


async def test_the_servers_clock_is_told(bare: str) -> None:
    async with watching(bare) as (desktop, _):
        now_ns = time.monotonic_ns()
        assert abs(desktop.server_ms(now_ns) - now_ns / 1e6) <= 1


async def test_a_server_that_dies_is_told_and_ends_it() -> None:
    servers: list[subprocess.Popen[bytes]] = []
    with x_server(wrapped=servers) as display:
        async with watching(display) as (desktop, seen):
            servers[0].send_signal(signal.SIGKILL)
            await until(lambda: seen.reasons)
            assert "went away" in seen.reasons[0]
            desktop.flush()
            assert desktop.windows() is None
            assert len(seen.reasons) == 1


async def refused(display: str | None, wayland: str | None = None) -> str:
    with pytest.raises(NoDisplay) as caught:
        await Desktop(display, wayland=wayland).start(asyncio.get_running_loop(), Seen())
    return str(caught.value)


async def test_a_missing_display_is_refused_in_words() -> None:
    assert "DISPLAY is not set" in await refused(None)
    assert "Wayland session" in await refused("", "wayland-0")
    assert "No X server answers" in await refused(":4099")
    assert "No X server answers" in await refused("nonsense")


async def test_a_server_without_record_is_refused_by_name() -> None:
    with x_server("-extension", "RECORD") as display:
        assert "lacks the extension RECORD" in await refused(display)


async def test_a_display_of_somebody_else_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = tmp_path / "authority"
    cookie = bytes(range(16))
    name = b"MIT-MAGIC-COOKIE-1"
    entry = b"\xff\xff" + b"\0\0" + b"\0\0" + len(name).to_bytes(2) + name + len(cookie).to_bytes(2) + cookie
    authority.write_bytes(entry)
    monkeypatch.setenv("XAUTHORITY", os.devnull)
    with x_server("-auth", str(authority)) as display:
        with pytest.raises(NoPermission, match="refuses this user"):
            await Desktop(display).start(asyncio.get_running_loop(), Seen())
        monkeypatch.setenv("XAUTHORITY", str(authority))
        async with watching(display) as (desktop, _):
            assert desktop.windows() == []


WATCH_AND_COUNT = """
import asyncio, pathlib, sys
from capture.sources.desktop import Desktop

class Sink:
    told = 0
    def __getattr__(self, name):
        return self.count
    def count(self, *_):
        Sink.told += 1

def switches():
    found = 0
    for status in pathlib.Path("/proc/self/task").glob("*/status"):
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        found += int(lines["voluntary_ctxt_switches"])
    return found

async def main():
    desktop = Desktop(sys.argv[1])
    await desktop.start(asyncio.get_running_loop(), Sink())
    await asyncio.sleep(3)
    before, told = switches(), Sink.told
    await asyncio.sleep(20)
    print(switches() - before, Sink.told - told)

asyncio.run(main())
"""


async def test_a_still_desktop_wakes_nobody(desk: str) -> None:
    """The source's part of "idle means asleep": one wakeup is this script's own timer."""
    root = Path(__file__).resolve().parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WATCH_AND_COUNT, desk, stdout=asyncio.subprocess.PIPE, cwd=root
    )
    output, _ = await process.communicate()
    switches, told = map(int, output.split())
    assert told == 0
    assert switches <= 4, f"{switches} voluntary context switches in 20 s: over 0.2 a second"
