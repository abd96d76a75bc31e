"""What tests of the X11 source share: a sink that keeps what it is told, and the comparison of that with what was injected."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from capture.sources.desktop import Desktop
from capture.sources.windows import Monitor, Window
from codec.model import KeyClass
from tests.x11_display import await_manager, client, wait_until
from tests.x11_injector import Truth


@dataclass
class Seen:
    """A sink that keeps all it is told; `all` is the order of telling."""

    pointers: list[tuple[int, int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, bool, int, int]] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)
    focuses: list[tuple[int, Window | None]] = field(default_factory=list)
    damages: list[int] = field(default_factory=list)
    idles: list[tuple[int, bool]] = field(default_factory=list)
    displays: list[tuple[int, int, int, Sequence[Monitor]]] = field(default_factory=list)
    overflows: list[tuple[int, int]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    all: list[tuple[int, str]] = field(default_factory=list)

    def pointer(self, t_ms: int, kind: int, x: int, y: int) -> None:
        self.all.append((t_ms, "pointer"))
        self.pointers.append((t_ms, kind, x, y))

    def key(self, t_ms: int, down: bool, code: int, slot: int) -> None:
        self.all.append((t_ms, "key"))
        self.keys.append((t_ms, down, code, slot))

    def command(self, t_ms: int, name: str) -> None:
        self.commands.append((t_ms, name))

    def focus(self, t_ms: int, window: Window | None) -> None:
        self.all.append((t_ms, "focus"))
        self.focuses.append((t_ms, window))

    def damage(self, t_ms: int) -> None:
        self.damages.append(t_ms)

    def idle(self, t_ms: int, idle: bool) -> None:
        self.idles.append((t_ms, idle))

    def display(self, t_ms: int, width_px: int, height_px: int, monitors: Sequence[Monitor]) -> None:
        self.displays.append((t_ms, width_px, height_px, tuple(monitors)))

    def overflow(self, t_ms: int, ms: int) -> None:
        self.overflows.append((t_ms - ms, t_ms))

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


@asynccontextmanager
async def watching(display: str, **options: Any) -> AsyncIterator[tuple[Desktop, Seen]]:
    desktop, seen = Desktop(display, **options), Seen()
    await desktop.start(asyncio.get_running_loop(), seen)
    try:
        yield desktop, seen
    finally:
        desktop.stop()


async def until(true: Callable[[], object], *, within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not true within {within_s} s"
        await asyncio.sleep(0.02)


def xprop(display: str, *arguments: str) -> str:
    return subprocess.run(["xprop", "-display", display, *arguments], capture_output=True, text=True).stdout


@contextmanager
def furnished(display: str) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(client(display, "openbox"))
        await_manager(display)
        for place in ("60x20+40+60", "60x20+620+60"):
            stack.enter_context(client(display, "xterm", "-T", f"at {place}", "-geometry", place))
            wait_until(lambda place=place: f"at {place}" in _titles(display))
        yield


def _titles(display: str) -> str:
    listed = xprop(display, "-root", "_NET_CLIENT_LIST_STACKING").partition("#")[2]
    return " ".join(xprop(display, "-id", window.strip(), "WM_NAME") for window in listed.split(",") if window.strip())


def check(truth: Truth, seen: Seen) -> None:
    """Assert that what was seen is the truth: every event, in order, positions exact, times within 2 ms."""
    got, injected = [event[1:] for event in seen.pointers], [event[:3] for event in truth.pointer]
    wrong = [one for one in SequenceMatcher(None, injected, got, autojunk=False).get_opcodes() if one[0] != "equal"]
    context = [(op, injected[max(0, a - 2) : b + 2], got[max(0, c - 2) : d + 2]) for op, a, b, c, d in wrong[:3]]
    assert not wrong, f"{len(wrong)} differences (injected, seen): {context}"
    assert [(down, KeyClass(code).name) for _, down, code, _ in seen.keys] == [event[:2] for event in truth.keys]
    times = [(event[0], *true[-2:]) for event, true in zip(seen.pointers, truth.pointer, strict=True)]
    times += [(event[0], *true[-2:]) for event, true in zip(seen.keys, truth.keys, strict=True)]
    late = [(t_ms, before, after) for t_ms, before, after in times if not before - 2 <= t_ms <= after + 2]
    assert not late, f"{len(late)} of {len(times)} times are over 2 ms off, such as {late[:3]}"


def lost(truth: Truth, seen: Seen) -> list[tuple[int, int]]:
    """Assert that nothing was seen but the truth, in order; return what of the pointer is missing: where, and how many."""
    holes: list[tuple[int, int]] = []
    got = iter([*(event[1:] for event in seen.pointers), None])
    one = next(got)
    for at, event in enumerate(truth.pointer):
        if event[:3] == one:
            one = next(got)
        elif holes and sum(holes[-1]) == at:
            holes[-1] = (holes[-1][0], holes[-1][1] + 1)
        else:
            holes.append((at, 1))
    assert one is None, f"never injected, or not there: {one}, with holes (where, how many) {holes}"
    return holes
