"""Shell: the visible sign that it records: a notification at start and resume, and something that stays.

What stays is an icon in the panel where a panel shows such icons (StatusNotifierItem: KDE, Xfce, Cinnamon, MATE, GNOME with
its extension), and otherwise a small sign of our own at the top edge of the screen. Guarantees: where neither can be shown
there is no sign, and who asked is told so; when the panel goes away, our own sign takes its place, or the loss is told;
when a panel comes, the icon takes its place again.
A notification alone is no sign: it goes away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from capture.sources.tray import Session
from capture.sources.x11_badge import Badge

STARTED = (
    "modicum records",
    "as you agreed. `modicum pause` stops it for as long as you like, `modicum status` says what.",
)
RESUMED = ("modicum records again", "`modicum pause` stops it for as long as you like.")
PAUSED = ("modicum is paused", "Nothing is recorded until `modicum resume`.")
WORDS = {"recording": "recording", "paused": "paused", "suspended": "nothing is recorded at the moment"}


class ScreenSign:
    """The sign on one display.

    State: what shows it, the state shown, what was said last, tasks that tell the session.

    Args:
        display: DISPLAY's value. toggled: called when the person clicks the icon. lost: called when nothing shows it any
            more.
    """

    def __init__(self, display: str, *, toggled: Callable[[], None], lost: Callable[[], None]) -> None:
        self._session = Session(activated=toggled, gone=self._panel_gone, came=self._panel_came)
        self._badge = Badge(display, lost=lost)
        self._lost = lost
        self._shown_by: str | None = None
        self._state = "suspended"
        self._said: str | None = None
        self._tooltip = WORDS["suspended"]
        self._tasks: set[asyncio.Task[bool]] = set()
        self._moving = False

    async def start(self) -> str | None:
        """Show it; return by what, None when nothing can show it."""
        await self._session.connect()
        if await self._session.show_icon(self._state, self._tooltip):
            self._shown_by = "an icon in the panel"
        elif self._badge.start():
            self._shown_by = "a sign at the top of the screen"
        self._announce()
        return self._shown_by

    def show(self, state: str, reasons: tuple[str, ...]) -> None:
        """Show another state: "recording", "paused" or "suspended"."""
        self._state = state
        self._tooltip = "; ".join((WORDS[state], *reasons))
        self._session.change_icon(state, self._tooltip)
        self._badge.show(state)
        self._announce()

    def _announce(self) -> None:
        """Say it once that recording begins, is paused, goes on: not each time that the screen was locked meanwhile."""
        said = self._said
        if self._shown_by is None or self._state == "suspended" or said == self._state:
            return
        self._said = self._state
        words = PAUSED if self._state == "paused" else RESUMED if said == "paused" else STARTED
        self._start(self._session.notify(*words))

    def _panel_gone(self) -> None:
        if self._shown_by is None:
            return
        if self._badge.start():
            self._shown_by = "a sign at the top of the screen"
            self._badge.show(self._state)
        else:
            self._shown_by = None
            self._lost()

    def _panel_came(self) -> None:
        if self._shown_by is not None and not self._moving:
            self._moving = True
            self._start(self._move_to_panel())

    async def _move_to_panel(self) -> bool:
        try:
            shown = await self._session.show_icon(self._state, self._tooltip)
        finally:
            self._moving = False
        if shown and self._shown_by is not None:
            self._shown_by = "an icon in the panel"
            self._session.change_icon(self._state, self._tooltip)  # it may have changed meanwhile
            self._badge.stop()
        return shown

    def _start(self, work: Coroutine[Any, Any, bool]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="sign")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Show nothing more."""
        self._shown_by = None
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._badge.stop()
        await self._session.close()
