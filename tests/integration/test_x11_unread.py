"""The X11 source while nobody reads what the server sends: what the server kept is told, and what it lost is told to be lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import xcffib
import xcffib.xproto as xp

from tests.x11_display import x_server
from tests.x11_injector import Injector
from tests.x11_watching import furnished, lost, until, watching, xprop

pytestmark = pytest.mark.x11


@contextmanager
def listener_that_never_reads(display: str) -> Iterator[None]:
    """A client to which the server cannot hand out all the pointer's events."""
    connection = xcffib.connect(display)
    try:
        masks = xp.EventMask.PointerMotion | xp.EventMask.ButtonPress | xp.EventMask.ButtonRelease
        connection.core.ChangeWindowAttributes(
            connection.get_setup().roots[0].root, xp.CW.EventMask, [masks], is_checked=True
        ).check()
        yield
    finally:
        connection.disconnect()


def move(injector: Injector, count: int) -> None:
    for step in range(count):
        injector.move_to(step, 20)


def scroll(injector: Injector, count: int) -> None:
    for _ in range(count):
        injector.click(4)


@pytest.mark.parametrize("act", [move, scroll])
async def test_that_events_were_lost_while_nobody_read_them_is_told(
    bare: str, act: Callable[[Injector, int], None]
) -> None:
    """What the server does when it can hand out to nobody (os/io.c): all of RECORD's is lost that comes while it tries."""
    async with watching(bare, damage_hold_s=None) as (desktop, seen):
        injector = Injector(bare)
        with listener_that_never_reads(bare):
            act(injector, 600 if act is move else 200)  # 400 events, of which 200 are worth telling
            desktop.flush()
        holes = lost(injector.truth, seen)
        assert sum(count for _, count in holes) > 20
        assert desktop.overflows > 0
        for at, _ in holes:
            before_ms = injector.truth.pointer[at][-2]
            assert any(first - 2 <= before_ms <= last + 2 for first, last in seen.overflows), (
                before_ms,
                seen.overflows,
            )
        injector.close()


@contextmanager
def served_last(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let the server run only while this process waits, as it may be where many others want to run."""
    processors = os.sched_getaffinity(0)
    one = {min(processors)}
    os.sched_setscheduler(server.pid, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(server.pid, one)
    os.sched_setaffinity(0, one)
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


async def test_flush_tells_also_what_the_server_kept_while_the_socket_was_full() -> None:
    servers: list[subprocess.Popen[bytes]] = []
    with x_server(wrapped=servers) as display:
        async with watching(display, damage_hold_s=None) as (desktop, seen):
            injector = Injector(display)
            move(injector, 1000)
            with served_last(servers[0]):
                desktop.flush()
            assert lost(injector.truth, seen) == []
            assert desktop.overflows == 1
            injector.close()


async def test_what_the_server_kept_while_the_socket_was_full_is_told_before_the_focus_that_follows_it() -> None:
    servers: list[subprocess.Popen[bytes]] = []
    with x_server(wrapped=servers) as display, furnished(display):
        async with watching(display, damage_hold_s=None) as (desktop, seen):
            other = (desktop.windows() or [])[0]
            injector = Injector(display)
            move(injector, 1000)
            xprop(display, "-root", "-f", "_NET_ACTIVE_WINDOW", "32x", "-set", "_NET_ACTIVE_WINDOW", hex(other.id))
            with served_last(servers[0]):
                await until(lambda: seen.focuses[-1][1] and seen.focuses[-1][1].id == other.id, within_s=60)
            injector.close()
        assert [one for _, one in seen.all[-3:]] == ["pointer", "pointer", "focus"]
        assert seen.all == sorted(seen.all, key=lambda one: one[0])
