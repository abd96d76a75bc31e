"""Shell: a hand on the virtual desktop's mouse and one on its keyboard, at a person's pace."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from random import Random

from benches import human
from benches.display import Display
from benches.truth import Truth

STALL_S = 0.02
"""When something comes so much later than meant, what follows is put off as well."""

LEFT, MIDDLE, RIGHT, WHEEL_UP, WHEEL_DOWN = 1, 2, 3, 4, 5


class TimeUp(Exception):
    """The time given for what is being done has passed, or the bench is to stop."""


class Hands:
    """Moves, clicks, scrolls and types. Every action ends by TimeUp when its time is over.

    Args:
        display: a connection that nobody else uses.
        rng: makes the movements; the same seed makes the same ones.
        truth: where everything that is done is noted.
        stop: ends whatever is being done, from another thread.

    Attributes:
        untyped: what is missing of the latest text.
    """

    def __init__(self, display: Display, rng: Random, truth: Truth, stop: threading.Event) -> None:
        self._display = display
        self._rng = rng
        self._truth = truth
        self._stop = stop
        self._until = float("inf")
        self._keys_down: dict[int, str] = {}
        self._buttons_down: set[int] = set()
        self._at = display.pointer()
        self.untyped = ""

    @contextlib.contextmanager
    def until(self, monotonic_s: float) -> Iterator[None]:
        """Do the block until a moment of the monotonic clock; then TimeUp is raised in it, and ends it here."""
        before, self._until = self._until, min(self._until, monotonic_s)
        try:
            yield
        except TimeUp:
            if self._stop.is_set() or time.monotonic() >= before:
                raise
        finally:
            self._until = before
            self.let_go()

    def pause(self, mean_s: float) -> None:
        """Look, think, read: a while, log-normal around `mean_s`."""
        self._sleep(mean_s * self._rng.lognormvariate(0, 0.35))

    def wait(self, wait_s: float) -> None:
        """Wait exactly so long."""
        self._sleep(wait_s)

    def move(self, x: float, y: float, target_px: float = 30) -> None:
        """Move the pointer to a place, as to a target of that width."""
        goal = self._inside(round(x), round(y))
        due_s = time.monotonic()
        for ideal in human.path(self._at, goal, target_px, self._rng):
            due_s = self._keep_pace(due_s + 1 / human.REPORT_RATE_HZ)
            point = self._inside(*ideal)
            if point != self._at:  # a mouse that lies still reports nothing
                self._display.move(*point)
                self._at = point
                self._truth.add("move", x=point[0], y=point[1])

    def drift(self) -> None:
        """Move the pointer a little, as a resting hand does."""
        self.move(self._at[0] + self._rng.gauss(0, 14), self._at[1] + self._rng.gauss(0, 9), 60)

    def click(self, x: float, y: float, *, target_px: float = 30, button: int = LEFT, times: int = 1) -> None:
        """Move to a place and click there."""
        self.move(x, y, target_px)
        self._sleep(self._rng.uniform(0.06, 0.18))
        for turn in range(times):
            if turn:
                self._sleep(self._rng.uniform(0.06, 0.11))
            self._press(button)
            self._sleep(max(0.04, self._rng.gauss(0.085, 0.02)))
            self._release(button)

    def click_box(self, box: tuple[int, int, int, int], **how: int) -> None:
        """Click somewhere near the middle of a box (x, y, width, height)."""
        x, y, width, height = box
        spread_x, spread_y = min(width * 0.14, 60), min(height * 0.14, 12)
        self.click(
            x + width / 2 + max(-width * 0.4, min(width * 0.4, self._rng.gauss(0, spread_x))),
            y + height / 2 + max(-height * 0.4, min(height * 0.4, self._rng.gauss(0, spread_y))),
            target_px=min(width, height),
            **how,
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place, move to another, release there."""
        self.move(*start, target_px=12)
        self._press(LEFT)
        self._sleep(self._rng.uniform(0.08, 0.15))
        self.move(*end, target_px=14)
        self._sleep(self._rng.uniform(0.08, 0.2))
        self._release(LEFT)

    def wheel(self, clicks: int) -> None:
        """Turn the wheel down (positive) or up (negative)."""
        button = WHEEL_DOWN if clicks > 0 else WHEEL_UP
        for wait_ms in human.wheel_waits_ms(abs(clicks), self._rng):
            self._sleep(wait_ms / 1000)
            self._display.button(button, down=True)
            self._display.button(button, down=False)
            self._truth.add("wheel", button=button, x=self._at[0], y=self._at[1])

    def type(self, text: str, *, typo_ratio: float = 0.015) -> None:
        """Type a text; newlines are Return. When the time is up, `untyped` holds the rest."""
        strokes = human.strokes(text, self._rng, typo_ratio=typo_ratio)
        events: list[tuple[float, bool, str, int]] = []
        at = 0.0
        for i, stroke in enumerate(strokes):
            at += stroke.wait_ms
            following = strokes[i + 1] if i + 1 < len(strokes) else None
            hold = stroke.hold_ms
            shifted = self._shifted(stroke.char)
            if following and (shifted or self._shifted(following.char) or following.char == stroke.char):
                hold = min(hold, following.wait_ms * 0.6)  # no rollover across Shift, nor with the same key
            if shifted:
                events.append((at - min(60, stroke.wait_ms * 0.3), True, "Shift", 0))
                events.append((at + hold * 1.1, False, "Shift", 0))
            events += [(at, True, stroke.char, stroke.done), (at + hold, False, stroke.char, stroke.done)]
        self.untyped = text
        due_s, before = time.monotonic(), 0.0
        for at, down, name, done in sorted(events, key=lambda event: event[0]):
            due_s, before = self._keep_pace(due_s + (at - before) / 1000), at
            self._key(name, down=down)
            self.untyped = text[done:] if done else self.untyped

    def press(self, keys: str, times: int = 1) -> None:
        """Press keys together, e.g. "Control+End" or "Down"."""
        for _ in range(times):
            names = keys.split("+")
            for name in names:
                self._sleep(max(0.02, self._rng.gauss(0.07, 0.02)))
                self._key(name, down=True)
            for name in reversed(names):
                self._sleep(max(0.02, self._rng.gauss(0.07, 0.02)))
                self._key(name, down=False)
            self._sleep(max(0.03, self._rng.gauss(0.14, 0.04)))

    def let_go(self) -> None:
        """Release what is held."""
        for button in list(self._buttons_down):
            self._release(button)
        for name in list(self._keys_down.values()):
            self._key(name, down=False)

    # --- how ---

    def _keep_pace(self, due_s: float) -> float:
        """Wait until a moment and return it; on a machine that stalled return now, for a hand does not catch up."""
        self._sleep(due_s - time.monotonic())
        now_s = time.monotonic()
        return now_s if now_s - due_s > STALL_S else due_s

    def _inside(self, x: int, y: int) -> tuple[int, int]:
        """Return the nearest point on the screen, as the server does."""
        return min(max(0, x), self._display.width_px - 1), min(max(0, y), self._display.height_px - 1)

    def _sleep(self, wait_s: float) -> None:
        left = self._until - time.monotonic()
        if self._stop.wait(max(0.0, min(wait_s, left))) or wait_s >= left:
            raise TimeUp

    def _press(self, button: int) -> None:
        self._display.button(button, down=True)
        self._buttons_down.add(button)
        self._truth.add("press", button=button, x=self._at[0], y=self._at[1])

    def _release(self, button: int) -> None:
        self._display.button(button, down=False)
        self._buttons_down.discard(button)
        self._truth.add("release", button=button, x=self._at[0], y=self._at[1])

    def _key(self, name: str, *, down: bool) -> None:
        code, _ = self._display.find_key(name)
        self._display.key(code, down=down)
        if down:
            self._keys_down[code] = name
        else:
            self._keys_down.pop(code, None)
        self._truth.add("key", down=down, name=name, code=code)

    def _shifted(self, name: str) -> bool:
        return len(name) == 1 and self._display.find_key(name)[1]
