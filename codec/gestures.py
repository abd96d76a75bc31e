"""Pure: gestures from pointer events alone: clicks, double clicks, drags, and wheel clicks joined into one scroll.

Fed in the order of time; a gesture is given out when it is complete, which is later than it began. Nothing of it costs the
device or the wire anything: it is made where recordings are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codec.model import PointerKind

DRAG_PX = 6
"""A press and a release further apart are a drag: toolkits' own threshold is 4 (Qt: 10) and 8 (GTK) px."""
DOUBLE_MS = 400
"""GTK's default for the second click; Windows has 500, and people need some 200."""
DOUBLE_PX = 5
SCROLL_GAP_MS = 400
"""Wheel clicks with a longer pause between them are two scrolls."""

WHEEL: dict[int, tuple[int, int]] = {PointerKind.WHEEL_UP: (0, -1), PointerKind.WHEEL_DOWN: (0, 1),
                                     PointerKind.WHEEL_LEFT: (-1, 0), PointerKind.WHEEL_RIGHT: (1, 0)}  # fmt: skip


@dataclass(slots=True)
class Press:
    """A button that was pressed, and the clicks with it until now.

    Attributes:
        t_ms, end_ms: its press and its last release. button, x, y: at the first press. to_x, to_y: at the release.
        clicks: complete ones, at one place and in quick succession.
    """

    t_ms: int
    button: int
    x: int
    y: int
    end_ms: int
    to_x: int
    to_y: int
    clicks: int = 0

    @property
    def is_drag(self) -> bool:
        """Whether the pointer was carried away with the button held."""
        return max(abs(self.to_x - self.x), abs(self.to_y - self.y)) > DRAG_PX


@dataclass(slots=True)
class Scroll:
    """Turns of the wheel. Attributes: first and last, where it began, and the clicks to the right and down."""

    t_ms: int
    x: int
    y: int
    end_ms: int
    dx: int = 0
    dy: int = 0


Gesture = Press | Scroll


class Gestures:
    """Joins pointer events. State: the held buttons, the last clicks, the scroll under way."""

    def __init__(self) -> None:
        self._held: dict[int, Press] = {}
        self._clicked: Press | None = None
        self._scroll: Scroll | None = None

    def pointer(self, t_ms: int, kind: int, x: int, y: int) -> list[Gesture]:
        """Take a pointer event; return the gestures that are complete by now.

        Args:
            t_ms: source clock. kind: PointerKind. x, y: px.
        """
        done = self.until(t_ms)
        turn = WHEEL.get(kind)
        if turn is not None:
            if self._scroll is None:
                self._scroll = Scroll(t_ms, x, y, t_ms)
            self._scroll.end_ms = t_ms
            self._scroll.dx += turn[0]
            self._scroll.dy += turn[1]
        elif kind >= PointerKind.PRESS_LEFT and kind % 2 == 0:
            done += self._take_scroll()
            done += self._press(t_ms, kind // 2, x, y)
        elif kind >= PointerKind.PRESS_LEFT and (press := self._held.pop(kind // 2, None)) is not None:
            press.end_ms, press.to_x, press.to_y = t_ms, x, y
            press.clicks += 1
            if press.is_drag:
                done.append(press)
            else:
                done += self._take_clicked()
                self._clicked = press
        return done

    def _press(self, t_ms: int, button: int, x: int, y: int) -> list[Gesture]:
        last = self._clicked
        if (
            last is not None
            and last.button == button
            and max(abs(x - last.x), abs(y - last.y)) <= DOUBLE_PX
            and t_ms - last.end_ms <= DOUBLE_MS
        ):
            self._clicked = None
            self._held[button] = last
            return []
        done = self._take_clicked()
        self._held[button] = Press(t_ms, button, x, y, t_ms, x, y)
        return done

    def until(self, t_ms: int) -> list[Gesture]:
        """Return the gestures that nothing can add to any more at a time."""
        done: list[Gesture] = []
        if self._scroll is not None and t_ms - self._scroll.end_ms > SCROLL_GAP_MS:
            done += self._take_scroll()
        if self._clicked is not None and t_ms - self._clicked.end_ms > DOUBLE_MS:
            done += self._take_clicked()
        return done

    def under_way(self) -> Iterator[Gesture]:
        """Yield what is not complete."""
        yield from self._held.values()
        if self._clicked is not None:
            yield self._clicked
        if self._scroll is not None:
            yield self._scroll

    def end(self) -> list[Gesture]:
        """Return what is under way, as far as it came (a button that is still held is no gesture); begin anew."""
        self._held.clear()
        return [*self._take_scroll(), *self._take_clicked()]

    def _take_scroll(self) -> list[Gesture]:
        scroll, self._scroll = self._scroll, None
        return [] if scroll is None else [scroll]

    def _take_clicked(self) -> list[Gesture]:
        clicked, self._clicked = self._clicked, None
        return [] if clicked is None else [clicked]
