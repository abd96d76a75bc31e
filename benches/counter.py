"""Shell: does the frame before an action never show its result, and the frame after it always?

    python -m benches.counter                 1,000 clicks
    python -m benches.counter --actions 60

An application paints a number, in squares that any picture shows exactly, and counts it up with each click, a random moment
later. The whole pipeline records it; then every action's two frames are read out of the archive, and the numbers in them
compared with the one that the click made.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from benches.desktop import VirtualDesktop
from benches.stack import PURPOSE, Stack
from codec.actions import Action, ActionKind
from transport.reading import open_archive

if TYPE_CHECKING:
    import numpy.typing as npt

BITS, SQUARE_PX, LEFT_PX, TOP_PX = 16, 32, 60, 80
"""The number in binary, highest first, a square each; below it the same in negative, so that half a picture is noticed."""
WIDTH_PX, HEIGHT_PX = 2 * LEFT_PX + BITS * SQUARE_PX, 400
CLICK_TOP_PX = 250
SLOWEST_S = 0.25
"""How long the application takes at most until it paints what a click did."""
CLICK_MS = 60
SHUTDOWN_S = 60.0


@dataclass(slots=True)
class Result:
    """What was found.

    Attributes:
        actions: clicks that were read out of the archive. bound: with both frames.
        exact: with the very frames between which the number was counted up once.
        early: the frame before shows the result. late: the frame after does not. unread: a frame shows no number.
    """

    actions: int = 0
    bound: int = 0
    exact: int = 0
    early: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    unread: int = 0

    def __str__(self) -> str:
        return (
            f"{self.actions:,} actions, {self.bound:,} with a frame before and one after; "
            f"{len(self.early)} show the result before, {len(self.late)} don't show it after, {self.unread} unreadable; "
            f"{self.exact:,} with exactly one count between their frames"
        )


def number_in(pixels: npt.NDArray[np.uint8], left_px: int, top_px: int) -> int | None:
    """Return the number that a frame shows, None when it shows none.

    Args:
        pixels: uint8 BGRA (H, W, 4). left_px, top_px: where the application's window stands.
    """
    number = 0
    for bit in range(BITS):
        x = left_px + LEFT_PX + bit * SQUARE_PX + SQUARE_PX // 2
        y = top_px + TOP_PX + SQUARE_PX // 2
        upper, lower = (int(pixels[at, x, :3].astype(int).sum()) > 3 * 128 for at in (y, y + SQUARE_PX))
        if upper == lower:
            return None
        number = 2 * number + upper
    return number


def compare(actions: list[Action], counted: dict[int, int], place: tuple[int, int]) -> Result:
    """Compare actions with what the application counted.

    Args:
        counted: by the press's time on the server's clock, the number that it made.
        place: of the application's window, px.
    """
    result = Result()
    for action in actions:
        if action.kind is not ActionKind.CLICK or action.t_ms not in counted:
            continue
        made = counted[action.t_ms]
        result.actions += 1
        if action.before is None or action.after is None:
            continue
        result.bound += 1
        before, after = (number_in(shot.pixels(), *place) for shot in (action.before, action.after))
        if before is None or after is None:
            result.unread += 1
            continue
        if before >= made:
            result.early.append(f"{made}: the frame before shows {before}")
        if after < made:
            result.late.append(f"{made}: the frame after shows {after} (settled: {action.after.exact})")
        result.exact += (before, after) == (made - 1, made)
    return result


def run(folder: Path, *, actions: int, seed: int = 1, seconds: tuple[float, float] = (0.15, 1.6)) -> Result:
    """Click, record, and compare.

    Args:
        folder: empty; gets the archive. seconds: the shortest and the longest pause between two clicks.
    """
    rng = Random(seed)
    with VirtualDesktop((1024, 640), apps=(), panel=False) as desktop:
        log = folder / "counted.jsonl"
        log.touch()
        painter = desktop.keeper.start(
            [sys.executable, "-m", "benches.counter", "--paint", str(log), "--seed", str(seed)],
            name="counter",
            environment={**desktop.environment, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
            folder=folder,
        )
        place = _await_window(desktop, painter)
        with Stack(folder, desktop.environment) as stack:
            stack.configure(["counter"])
            stack.accept_notice()
            stack.start()
            time.sleep(2)
            display = desktop.connect()
            for number in range(actions):
                # Never twice at one place: that would be a double click.
                x = place[0] + 40 + (number % 12) * 45 + rng.randrange(20)
                display.move(x, place[1] + CLICK_TOP_PX + rng.randrange(100))
                time.sleep(0.02)
                display.button(1, down=True)
                time.sleep(rng.uniform(0.03, 0.1))
                display.button(1, down=False)
                time.sleep(rng.uniform(*seconds))
                if sys.stderr.isatty():
                    print(f"\r  {number + 1} of {actions}", end="", file=sys.stderr)
            time.sleep(4)
            display.close()
            _, cost = stack.finish(SHUTDOWN_S)
            print(f"  the agent took {cost.cpu_s / stack.recorded_s:.2%} of a core", file=sys.stderr)
    counted = {line["server_ms"]: line["number"] for line in map(json.loads, log.read_text().splitlines())}
    read = open_archive(stack.archive, stack.key.read_text(), purpose=PURPOSE).actions()
    return compare(list(read), counted, place)


def _await_window(desktop: VirtualDesktop, painter: Any) -> tuple[int, int]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for window in desktop.display.windows():
            if window.app == "Counter" and window.id == desktop.display.active():
                time.sleep(0.5)  # until the window manager has put it where it stays
                found = next(one for one in desktop.display.windows() if one.id == window.id)
                return found.x, found.y
        time.sleep(0.05)
    raise LookupError(f"the counter did not come up: {painter.tail()}")


# --- the application ---


def paint(log: Path, seed: int) -> None:
    """Show a number; count it up with each press, a moment later."""
    import os

    import xcffib
    import xcffib.xproto as xp

    library: Any = xcffib
    rng = Random(seed)
    connection = library.connect(os.environ["DISPLAY"])
    screen = connection.get_setup().roots[0]
    core = connection.core
    window, white, black = connection.generate_id(), connection.generate_id(), connection.generate_id()
    mask = xp.EventMask.Exposure | xp.EventMask.ButtonPress
    core.CreateWindow(
        screen.root_depth, window, screen.root, 100, 60, WIDTH_PX, HEIGHT_PX, 0, xp.WindowClass.InputOutput,
        screen.root_visual, xp.CW.BackPixel | xp.CW.EventMask, [0x406080, mask],
    )  # fmt: skip
    name = b"counter\0Counter\0"
    core.ChangeProperty(xp.PropMode.Replace, window, xp.Atom.WM_CLASS, xp.Atom.STRING, 8, len(name), name)
    core.ChangeProperty(xp.PropMode.Replace, window, xp.Atom.WM_NAME, xp.Atom.STRING, 8, 7, b"Counter")
    core.CreateGC(white, window, xp.GC.Foreground, [0xFFFFFF])
    core.CreateGC(black, window, xp.GC.Foreground, [0x000000])
    core.MapWindow(window)
    connection.flush()
    rectangle = library.xproto.RECTANGLE.synthetic
    number = 0

    def show() -> None:
        for bit in range(BITS):
            on = number >> (BITS - 1 - bit) & 1
            for row in (0, 1):
                box = rectangle(LEFT_PX + bit * SQUARE_PX, TOP_PX + row * SQUARE_PX, SQUARE_PX, SQUARE_PX)
                core.PolyFillRectangle(window, white if on != row else black, 1, [box])
        connection.flush()

    with log.open("a", encoding="utf-8") as out:
        while True:
            event = connection.wait_for_event()
            if isinstance(event, xp.ButtonPressEvent):
                number += 1
                out.write(json.dumps({"server_ms": event.time, "number": number}) + "\n")
                out.flush()
                time.sleep(rng.uniform(0, SLOWEST_S))
                show()
            elif isinstance(event, xp.ExposeEvent):
                show()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the archive in this new folder")
    parser.add_argument("--paint", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.paint is not None:
        paint(options.paint, options.seed)
    with tempfile.TemporaryDirectory(prefix="modicum-counter-") as temporary:
        folder = options.out or Path(temporary) / "run"
        folder.mkdir(mode=0o700)
        result = run(folder, actions=options.actions, seed=options.seed)
    for line in (*result.early, *result.late):
        print(f"  {line}")
    print(result)


if __name__ == "__main__":
    main()
