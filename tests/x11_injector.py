"""Injects known pointer and key events into an X display (XTEST) and writes down what was injected: the truth.

As a program it prints the truth as JSON: `python tests/x11_injector.py DISPLAY --events 5000 --rate 1000 --seed 1`.
Times are those of CLOCK_MONOTONIC just before and after the server did it; a local server stamps events by that clock.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field

import xcffib
import xcffib.xproto
import xcffib.xtest

KEY_PRESS, KEY_RELEASE, BUTTON_PRESS, BUTTON_RELEASE, MOTION = 2, 3, 4, 5, 6
RELATIVE, ABSOLUTE = 1, 0
WHEEL = range(4, 8)


@dataclass
class Truth:
    """What was injected: [kind, x, y, before_ms, after_ms] and [down, class name, before_ms, after_ms]."""

    pointer: list[tuple[int, int, int, float, float]] = field(default_factory=list)
    keys: list[tuple[bool, str, float, float]] = field(default_factory=list)


class Injector:
    """Does what a mouse and a keyboard would, one event after the other."""

    def __init__(self, display: str) -> None:
        self.truth = Truth()
        self._connection = xcffib.connect(display)
        self._core = self._connection.core
        self._test = self._connection(xcffib.xtest.key)
        self._screen = self._connection.get_setup().roots[0]
        self._root = self._screen.root
        self.width, self.height = self._screen.width_in_pixels, self._screen.height_in_pixels
        self._keycodes = self._read_keycodes()
        at = self._core.QueryPointer(self._root).reply()
        # Positions are reckoned, not asked for: while a window manager's synchronous grab holds events back, the server
        # answers with the position before them.
        self.x, self.y = at.root_x, at.root_y

    def _read_keycodes(self) -> dict[int, int]:
        setup = self._connection.get_setup()
        count = setup.max_keycode - setup.min_keycode + 1
        mapping = self._core.GetKeyboardMapping(setup.min_keycode, count).reply()
        width, symbols = mapping.keysyms_per_keycode, list(mapping.keysyms)
        return {symbols[i * width]: setup.min_keycode + i for i in reversed(range(count)) if symbols[i * width]}

    def _fake(self, kind: int, detail: int, x: int = 0, y: int = 0) -> tuple[float, float]:
        """Inject and return the times around it (the reply shows that the server did it)."""
        before = time.monotonic_ns() / 1e6
        self._test.FakeInput(kind, detail, 0, self._root, x, y, 0)
        self._core.GetInputFocus().reply()
        return before, time.monotonic_ns() / 1e6

    def move_to(self, x: int, y: int) -> None:
        self.x, self.y = x, y
        self.truth.pointer.append((0, x, y, *self._fake(MOTION, ABSOLUTE, x, y)))

    def move_by(self, dx: int, dy: int) -> None:
        """Move as far as the edges let; by (0, 0) it is no event, just as a mouse never reports one."""
        if dx or dy:
            self.x = min(max(self.x + dx, 0), self.width - 1)
            self.y = min(max(self.y + dy, 0), self.height - 1)
            self.truth.pointer.append((0, self.x, self.y, *self._fake(MOTION, RELATIVE, dx, dy)))

    def button(self, button: int, *, down: bool) -> None:
        event = (2 * button + (not down), self.x, self.y, *self._fake(BUTTON_PRESS if down else BUTTON_RELEASE, button))
        if down or button not in WHEEL:
            self.truth.pointer.append(event)

    def click(self, button: int) -> None:
        """Press and release; a wheel click (4-7) is one event."""
        self.button(button, down=True)
        self.button(button, down=False)

    def key(self, keysym: int, class_name: str, *, down: bool) -> None:
        before, after = self._fake(KEY_PRESS if down else KEY_RELEASE, self._keycodes[keysym])
        self.truth.keys.append((down, class_name, before, after))

    def sweep(self, steps: int) -> None:
        """Move to the right without ever asking the server for an answer, which would make it hand out what it holds."""
        for step in range(steps):
            before = time.monotonic_ns() / 1e6
            self._test.FakeInput(MOTION, ABSOLUTE, 0, self._root, step, 20, 0)
            self._connection.flush()
            time.sleep(0.001)
            self.truth.pointer.append((0, step, 20, before, time.monotonic_ns() / 1e6))

    def close(self) -> None:
        self._connection.disconnect()

    def work(self, events: int, rate_hz: float, rng: random.Random) -> None:
        """Move, click, turn the wheel and type at random, `rate_hz` times a second, until there are `events`."""
        keys = [(ord("a"), "LETTER"), (ord("7"), "DIGIT"), (ord(","), "PUNCTUATION"), (0x20, "SPACE"), (0xFF08, "EDIT"),
                (0xFF51, "NAVIGATION"), (0xFFE1, "MODIFIER")]  # fmt: skip
        start = time.monotonic()
        step = 0
        while len(self.truth.pointer) + len(self.truth.keys) < events:
            step += 1
            time.sleep(max(0.0, start + step / rate_hz - time.monotonic()))
            chance = rng.random()
            if chance < 0.85:
                self.move_by(rng.randint(-12, 12), rng.randint(-12, 12))
            elif chance < 0.93:
                self.move_to(rng.randrange(self.width), rng.randrange(self.height))
            elif chance < 0.95:
                self.click(rng.choice((1, 3)) if rng.random() < 0.2 else 1)
            elif chance < 0.97:
                self.click(rng.choice((4, 5)))
            else:
                keysym, name = rng.choice(keys)
                self.key(keysym, name, down=True)
                self.key(keysym, name, down=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("display")
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=125.0, help="per second")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    injector = Injector(arguments.display)
    injector.work(arguments.events, arguments.rate, random.Random(arguments.seed))
    json.dump(asdict(injector.truth), sys.stdout)


if __name__ == "__main__":
    main()
