"""The demo: a desktop is recorded for a minute, sent over MQTT within a budget, archived, read back and checked.

`make demo` runs it. Everything is real and a process of its own: the display with its applications and the person at it, the
agent, the broker, the collector. All of it stays on this machine, in one folder, and all processes end with the demo.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from benches import demo_report
from benches.compare import compare
from benches.desktop import DesktopError, VirtualDesktop
from benches.display import Display
from benches.person import Person
from benches.stack import Stack, StackError
from benches.truth import Truth
from capture.status import Status, one_line

NOT_LIVE_LINE_S = 5.0
"""How often the line is printed where it cannot be rewritten (a pipe, a log)."""

SHUTDOWN_S = 45.0
"""For the last chunks to be closed, sent and acknowledged."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is recorded.

    Attributes:
        environment: with which programs find the display.
        allow: window classes that may be recorded.
        person: works on it; None when a real one does.
        truth: what that person did.
        is_virtual: whether the display is our own.
    """

    environment: dict[str, str]
    allow: list[str]
    person: Person | None
    truth: Truth
    is_virtual: bool


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return its exit code: 0 when everything was archived and verified."""
    parser = argparse.ArgumentParser(prog="python -m benches.demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to record (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="what the scripted person does (default 1)")
    parser.add_argument("--out", type=Path, help="the folder to make (default: demo-DATE-TIME)")
    parser.add_argument("--virtual", action="store_true", help="record a virtual desktop without asking")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder: Path = (options.out or Path(time.strftime("demo-%Y%m%d-%H%M%S"))).resolve()
    try:
        folder.mkdir(mode=0o700, parents=True)
        return _run(console, folder, options.seconds, options.seed, virtual=options.virtual)
    except FileExistsError:
        console.print(f"{folder} exists already: name another one with --out", style="red")
    except (DesktopError, StackError) as error:
        console.print(str(error), style="red", markup=False)
        console.print(f"What the programs printed is in {folder / 'logs'}", markup=False)
    except KeyboardInterrupt:
        console.print("\nInterrupted; everything that the demo had started has ended.")
        return 130
    return 1


def _run(console: Console, folder: Path, seconds: float, seed: int, *, virtual: bool) -> int:
    with contextlib.ExitStack() as closing:
        real = None if virtual else _real_display(console)
        scene = _real_scene(*real) if real else closing.enter_context(_virtual_scene(console, folder, seed))
        stack = closing.enter_context(Stack(folder, scene.environment))
        stack.configure(scene.allow)
        if scene.is_virtual:
            stack.accept_notice()  # the scripted person says yes
        elif not stack.ask_for_consent():
            console.print("You did not agree, so nothing was recorded, and the demo's folder is removed again.")
            shutil.rmtree(folder)
            return 0
        console.print("Starting the broker, the collector and the agent, each a process of its own ...")
        stack.start()
        console.print(f"Recording for {seconds:.0f} s. Everything stays in {folder}", markup=False)
        _record(console, stack, scene, seconds)
        last, cost = stack.finish(SHUTDOWN_S)
        report = stack.verify()
        exported = stack.export()
    done = scene.truth.counts() if scene.is_virtual else None
    compared = compare(_lines(exported / "events.jsonl"), _lines(folder / "truth.jsonl")) if scene.is_virtual else None
    console.print()
    console.print(demo_report.recorded(report, done))
    console.print(demo_report.sizes(last, report, stack.recorded_s, cost))
    sound = demo_report.verification(console, report, last, compared)
    demo_report.files(console, exported, folder)
    return 0 if sound else 1


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _real_display(console: Console) -> tuple[str, list[str]] | None:
    """Ask whether the present X display may be recorded; None when there is none or the answer is no."""
    name = os.environ.get("DISPLAY")
    if not name or not sys.stdin.isatty() or not sys.stdout.isatty():
        return None
    if os.environ.get("WAYLAND_DISPLAY"):
        console.print("This is a Wayland session, which modicum does not record: taking a virtual desktop instead.")
        return None
    authority = Path(os.environ.get("XAUTHORITY", Path.home() / ".Xauthority"))
    try:
        display = Display(name, authority)
    except ConnectionError:
        console.print(f"Display {name} does not answer: taking a virtual desktop instead.")
        return None
    classes = sorted({window.app for window in display.windows() if len(window.app) > 1})
    display.close()
    if not classes:
        return None
    console.print(f"There is a display, {name}, with windows of: {', '.join(classes)}.", markup=False)
    answer = console.input("Record it for the demo? (no: a virtual desktop is recorded instead) [y/N] ", markup=False)
    return (name, classes) if answer.strip().lower() in {"y", "yes"} else None


def _real_scene(name: str, classes: list[str]) -> Scene:
    return Scene(dict(os.environ), classes, None, Truth(), is_virtual=False)


@contextlib.contextmanager
def _virtual_scene(console: Console, folder: Path, seed: int) -> Iterator[Scene]:
    console.print("Starting a virtual desktop with its applications ...")
    with VirtualDesktop() as desktop, Truth(folder / "truth.jsonl") as truth:
        classes = sorted({window.app for window in desktop.display.windows() if window.app != "Tint2"})
        console.print(f"  on display {desktop.name}: {', '.join(desktop.apps)}")
        if "browser" not in desktop.apps:
            console.print("  (no browser here: the person writes and uses the terminal)")
        person = Person(desktop, seed, truth)
        try:
            yield Scene(desktop.environment, classes, person, truth, is_virtual=True)
        finally:
            person.close()


def _record(console: Console, stack: Stack, scene: Scene, seconds: float) -> None:
    """Let the person work, and show the agent's line meanwhile."""
    stop = threading.Event()
    failures: list[Exception] = []
    end = time.monotonic() + seconds

    def work() -> None:
        try:
            if scene.person is not None:
                scene.person.work(seconds)
        except Exception as failure:  # told below
            failures.append(failure)

    worker = threading.Thread(target=work, name="person")
    worker.start()
    try:
        with _line(console) as show:
            while time.monotonic() < end and not failures:
                show(f"{seconds - (end - time.monotonic()):.0f} s", stack.status())
                stop.wait(min(1.0, max(0.05, end - time.monotonic())))
    finally:
        if scene.person is not None:
            scene.person.stop()
        worker.join()
    if failures:
        raise StackError(f"the scripted person failed: {failures[0]!r}") from failures[0]


@contextlib.contextmanager
def _line(console: Console) -> Iterator[Callable[[str, Status], None]]:
    """Give a function that shows the agent's state in place, or prints it now and then where that cannot be."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda clock, status: live.update(demo_report.live(clock, status), refresh=True)
        return
    printed_s = float("-inf")

    def show(clock: str, status: Status) -> None:
        nonlocal printed_s
        if time.monotonic() - printed_s >= NOT_LIVE_LINE_S:
            printed_s = time.monotonic()
            print(f"{clock:>5}  {one_line(status)}", flush=True)

    yield show


if __name__ == "__main__":
    sys.exit(main())
