"""Shell: what recording adds to the time from an input to the application that gets it, and to everybody's CPU.

    python -m benches.delay                    4,000 events, with and without the agent, in turns

An application waits for clicks and keys; a hand injects them by XTEST and notes when; the application notes when each has
come. Stretches with the whole agent recording (screenshots, choices, frames for actions) alternate with stretches without it, so
that what else the machine does falls on both. In each stretch the hand then works in a GTK editor too (words, menus opened and
left), which tells the accessibility bus of it while somebody listens. The table says the latency's median and tail in both, the
difference, the agent's CPU, and what the waiting application, the X server, the editor and the accessibility bus took in both.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benches.desktop import VirtualDesktop
from benches.display import Display, Window
from benches.stack import Stack

ROOT = Path(__file__).resolve().parent.parent
STRETCHES = 6
"""Half of them with the agent."""
RATE_HZ = 40.0
COME_S = 5.0
LATE = 20
"""After so many presses that did not come, something else is wrong: the bench ends."""
START_S = 30.0
WARM_UP_S = 3.0
PRIORITY = -15
"""Of hand, X server and application, where that is permitted; the agent has the ordinary one. On a machine that others use, theirs
is most of the tail otherwise."""
WAITING = ("agent", "application", "X server")
EDITING = ("agent, editing", "editor", "accessibility bus")
KEYS_HZ = 8.0
WORD_KEYS = 6
MENU_RATIO = 0.2
"""Of the editing's steps, so many go into a menu; the others write a word."""
MOVES = 3
"""Motions before each click, as a hand makes them."""


@dataclass(slots=True)
class Side:
    """With the agent, or without.

    Attributes:
        latencies_ms: from the injection to the application. seconds: how long that took. editing_s: how long the editing took.
        cpu_s: CPU by who took it: "agent", "application", "X server" while latencies were measured, and "editor",
            "accessibility bus" and "agent, editing" during the editing.
    """

    latencies_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0
    editing_s: float = 0.0
    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def quantile(self, share: float) -> float:
        """Return a quantile of the latencies, ms."""
        return float(np.quantile(self.latencies_ms, share))


def added_ms(on: Side, off: Side, share: float, *, rounds: int = 200, seed: int = 1) -> tuple[float, float, float]:
    """Return by how much a quantile is later with the agent, and the interval that holds 95 % of resamplings, ms."""
    rng = np.random.default_rng(seed)
    a, b = np.array(on.latencies_ms), np.array(off.latencies_ms)
    differences = [
        np.quantile(rng.choice(a, len(a)), share) - np.quantile(rng.choice(b, len(b)), share) for _ in range(rounds)
    ]
    low, high = np.quantile(differences, (0.025, 0.975))
    return on.quantile(share) - off.quantile(share), float(low), float(high)


class Waiter:
    """The application: a child process that says when each press comes."""

    def __init__(self, desktop: VirtualDesktop) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benches.delay", "--wait"],
            env={**desktop.environment, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        self._lines.readline()  # it is on the screen
        self.pid = self._process.pid

    def came_ms(self) -> float | None:
        """Return when the next press came (monotonic clock), None when it does not come."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._lines, selectors.EVENT_READ)
            if not selector.select(COME_S):
                return None
        return float(self._lines.readline())

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def wait() -> None:
    """Be the application: a window over the middle of the display that repaints a little with each press."""
    import xcffib
    import xcffib.xproto as xp

    library: Any = xcffib
    connection = library.connect(os.environ["DISPLAY"])
    screen = connection.get_setup().roots[0]
    core, window, context = connection.core, connection.generate_id(), connection.generate_id()
    mask = xp.EventMask.ButtonPress | xp.EventMask.KeyPress | xp.EventMask.Exposure
    core.CreateWindow(
        screen.root_depth, window, screen.root, 200, 150, 600, 400, 0, xp.WindowClass.InputOutput,
        screen.root_visual, xp.CW.BackPixel | xp.CW.EventMask, [0x406080, mask],
    )  # fmt: skip
    name = b"waiter\0Waiter\0"
    core.ChangeProperty(xp.PropMode.Replace, window, xp.Atom.WM_CLASS, xp.Atom.STRING, 8, len(name), name)
    core.CreateGC(context, window, xp.GC.Foreground, [0xFFFFFF])
    core.MapWindow(window)
    connection.flush()
    rectangle: Any = library.xproto.RECTANGLE.synthetic
    shown, count = False, 0
    while True:
        event = connection.wait_for_event()
        came_ns = time.monotonic_ns()
        if isinstance(event, xp.ExposeEvent) and not shown:
            shown = True
            print("shown", flush=True)
        elif isinstance(event, xp.ButtonPressEvent | xp.KeyPressEvent):
            print(came_ns / 1e6, flush=True)
            count += 1
            core.PolyFillRectangle(window, context, 1, [rectangle(count % 580, 20 + count // 580 * 4 % 300, 4, 4)])
            connection.flush()


def stretch(display: Display, waiter: Waiter, rng: Random, count: int) -> list[float]:
    """Inject `count` presses over the waiting application and return how long each took to come, ms."""
    latencies = []
    window = next(one for one in display.windows() if one.app == "Waiter")
    display.activate(window.id)
    code, _ = display.find_key("a")
    for number in range(count):
        time.sleep(rng.expovariate(RATE_HZ))
        for _ in range(MOVES):
            display.move(window.x + rng.randrange(window.width), window.y + rng.randrange(window.height))
        what, which = (display.button, 1) if number % 3 else (display.key, code)
        began_ns = time.monotonic_ns()
        what(which, down=True)
        came_ms = waiter.came_ms()
        what(which, down=False)
        if came_ms is not None:
            latencies.append(came_ms - began_ns / 1e6)
        elif number - len(latencies) >= LATE:
            raise SystemExit(
                f"{LATE} presses did not come to the waiting application: is another window in front of it?"
            )
    return latencies


def edit(display: Display, window: Window, rng: Random, steps: int) -> None:
    """Work in the editor: words into its text, and its menus opened, gone through and left."""
    display.move(window.x + window.width // 2, window.y + window.height // 2)
    for down in (True, False):
        display.button(1, down=down)
    words, menu = [*("abcdefghij" * 3), " "], ["F10", "Down", "Down", "Right", "Down", "Escape", "Escape"]
    for _ in range(steps):
        for name in menu if rng.random() < MENU_RATIO else rng.choices(words, k=WORD_KEYS):
            time.sleep(rng.expovariate(KEYS_HZ))
            code, _ = display.find_key(name)
            for down in (True, False):
                display.key(code, down=down)


def run(folder: Path, *, events: int, seed: int = 1) -> tuple[Side, Side]:
    """Return what was measured with the agent and without.

    Args:
        folder: empty.
    """
    rng, on, off = Random(seed), Side(), Side()
    with VirtualDesktop((1024, 768), apps=("editor",), panel=False, accessible=True) as desktop:
        waiter = Waiter(desktop)
        display = desktop.connect()
        for pid in (waiter.pid, desktop.server_pid):
            _favour(pid)
        try:
            for number in range(STRETCHES):
                count = events // STRETCHES
                if number % 2:
                    time.sleep(WARM_UP_S)
                    _favour(os.getpid())
                    _measure(off, desktop, display, waiter, rng, count, None)
                    continue
                _favour(os.getpid(), ordinary=True)  # what is started now inherits it
                own = folder / str(number)
                own.mkdir()
                with Stack(own, desktop.environment) as stack:
                    stack.configure(["waiter", "mousepad"])
                    stack.accept_notice()
                    stack.start()
                    until = time.monotonic() + START_S
                    while stack.status().state != "recording" and time.monotonic() < until:
                        time.sleep(0.2)
                    time.sleep(WARM_UP_S)
                    _favour(os.getpid())
                    _measure(on, desktop, display, waiter, rng, count, stack.agent_pid)
        finally:
            display.close()
            waiter.end()
    return on, off


def _measure(
    side: Side, desktop: VirtualDesktop, display: Display, waiter: Waiter, rng: Random, count: int, agent: int | None
) -> None:
    pids = {"agent": [agent] if agent else [], "application": [waiter.pid], "X server": [desktop.server_pid]}
    with _counted(side, pids):
        began_s = time.monotonic()
        side.latencies_ms += stretch(display, waiter, rng, count)
        side.seconds += time.monotonic() - began_s
    window = desktop.find(display, "editor")
    if window is None:
        return
    bus = _accessibility(desktop.environment["DBUS_SESSION_BUS_ADDRESS"])
    pids = {"agent, editing": pids["agent"], "editor": [desktop.apps["editor"].pid], "accessibility bus": bus}
    with _counted(side, pids):
        began_s = time.monotonic()
        edit(display, window, rng, max(3, count // 25))
        side.editing_s += time.monotonic() - began_s


@contextlib.contextmanager
def _counted(side: Side, pids: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Count the CPU that processes take meanwhile."""
    before = {name: sum(map(_cpu_s, some)) for name, some in pids.items()}
    yield
    for name, some in pids.items():
        side.cpu_s[name] += sum(map(_cpu_s, some)) - before[name]


def _accessibility(session: str) -> list[int]:
    """Return the processes that a session's accessibility bus is made of."""
    import psutil

    found = []
    for process in psutil.process_iter(["name", "environ"]):
        address = (process.info["environ"] or {}).get("DBUS_SESSION_BUS_ADDRESS", "")
        mine = address.partition(",")[0] == session  # whom the bus started is told its guid, too
        if mine and process.info["name"].startswith(("at-spi", "dbus-daemon")):
            found.append(process.pid)
    return found


def _favour(pid: int, *, ordinary: bool = False) -> None:
    with contextlib.suppress(PermissionError):  # only root may; else what others do on the machine counts more
        os.setpriority(os.PRIO_PROCESS, pid, 0 if ordinary else PRIORITY)


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(on: Side, off: Side) -> str:
    """Return the comparison as lines for a person."""
    lines = [f"{'':16}{'median':>9}{'p95':>9}{'p99':>9}{'max':>9}   ms from the input to the application"]
    for name, side in (("with the agent", on), ("without", off)):
        quantiles = "".join(f"{side.quantile(share):9.3f}" for share in (0.5, 0.95, 0.99, 1.0))
        lines.append(f"{name:16}{quantiles}   {len(side.latencies_ms):,} presses")
    for share in (0.5, 0.99):
        added, low, high = added_ms(on, off, share)
        lines.append(f"added at {share:.0%}: {added:+.3f} ms (95 % of resamplings: {low:+.3f} to {high:+.3f})")
    for name, side in (("with the agent", on), ("without", off)):
        for seconds, whose in ((side.seconds, WAITING), (side.editing_s, EDITING)):
            if seconds:
                shares = ", ".join(f"{one} {side.cpu_s[one] / seconds:.2%}" for one in whose)
                lines.append(f"{name:16}CPU of a core: {shares}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wait", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.wait:
        wait()
    with tempfile.TemporaryDirectory(prefix="modicum-latency-") as temporary:
        print(table(*run(Path(temporary), events=options.events, seed=options.seed)))


if __name__ == "__main__":
    main()
