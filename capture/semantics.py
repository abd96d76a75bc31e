"""Shell: what the person did to what: rows of choices, of what lay under a click, of dialogs and of sites.

Between the accessibility bus (capture/sources/a11y*.py), the pure reading of what it tells (capture/selections.py) and the
gate. Guarantees: only the application of the window in focus is listened to, and only while the gate lets its events
pass (of a browser that is allowed, the host of its page is asked for before that, since the verdict depends on it); input
never waits for an application; where there is no accessibility bus, nothing is told and nothing is missing otherwise.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from capture.frames import frames_of
from capture.labels import Labels, fields_of
from capture.secret_fields import SecretFields
from capture.selections import Choice, Input, Selections
from capture.sources.a11y import Found, Kind, Signal
from capture.sources.a11y_bus import Accessibility
from capture.sources.a11y_lookup import Lookup
from capture.sources.windows import Window
from codec.model import Scalar

PRESS_MS = 200
"""A press is looked at so long after it: what it opened or gave the focus to has been told by then."""
LONG_PRESS_MS = 1500
LOOKUPS_S = 1.0
"""What is asked for is waited for so long before it is decided what happened."""
SITE_WAITS_S = (0.0, 0.3, 1.0, 3.0, 8.0)
"""A page that has just been asked for has no document yet."""
MAX_SITES = 64
MAX_PRESSES = 16
DIALOGS = frozenset({"dialog", "alert", "file chooser", "color chooser", "font chooser"})
BUTTONS = {2: (1, "press"), 3: (1, "release"), 4: (2, "press"), 5: (2, "release"), 6: (3, "press"), 7: (3, "release")}

Shown = tuple[int, int, str]
"""What tells that a browser's window still shows the same: its process, its id (another process may get it later), its title."""


class Surroundings(Protocol):
    """What this part needs of the agent."""

    def row(self, kind: str, fields: Mapping[str, Scalar], *, lasting: bool = False) -> bool:
        """Pass a row on through the gate."""

    def forget(self, kind: str) -> None:
        """Repeat no more a lasting row."""

    def is_open(self) -> bool:
        """Whether the window in focus may be recorded now, and no secret is being typed."""

    def shows_sites(self, window: Window) -> bool:
        """Whether a window is judged by its site, and could be recorded if that is allowed."""

    def judge_again(self) -> None:
        """Judge the window in focus anew: its site is known now."""

    def secret(self, active: bool) -> None:
        """A field for a secret has the focus, or has it no more."""

    def flush(self) -> None:
        """Have all input until now told."""

    def now_ms(self) -> int:
        """The source clock."""

    def at_ms(self, mono_ns: int) -> int:
        """The source clock at a reading of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class _Press:
    t_ms: int
    x: int
    y: int
    opened: bool
    due_ms: int


class Semantics:
    """Tells the gate what was done to what.

    State: the bus, the window in focus and its application, the selections' state, presses and lookups under way, the
    sites of windows by their title.

    Args:
        around: the agent. labels, key: how labels are recorded.
    """

    def __init__(self, around: Surroundings, *, labels: Labels, key: bytes) -> None:
        self._around, self._labels, self._key = around, labels, key
        self._accessibility = Accessibility(self._on_signal, self._on_application, self._on_gone)
        self.lookup = Lookup(self._accessibility)
        self._selections = Selections()
        self._window: Window | None = None
        self._app = ""
        self._frame = ""
        self._presses: list[_Press] = []
        self._dialogs: dict[str, Found] = {}
        self._sites: OrderedDict[Shown, str] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._lookups: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._settling = False
        self._is_secret = False
        self._secrets = SecretFields()
        self.available = False

    async def start(self) -> None:
        """Connect, where there is something to connect to."""
        self.available = await self._accessibility.start()
        if self.available:
            self.focus(self._window)

    async def stop(self) -> None:
        """Tell what is known, and disconnect; harmless when not started."""
        if self.available:
            await self.settle()
        self._cancel()
        for task in (*self._lookups, *self._tasks, *([self._following] if self._following else [])):
            task.cancel()
        await asyncio.gather(*self._lookups, *self._tasks, return_exceptions=True)
        self.available = False
        await self._accessibility.stop()

    def site_of(self, window: Any) -> str | None:
        """Return the host of the document that a browser's window shows with its present title; None: not known."""
        return self._sites.get(_shown(window))

    # -- what the desktop tells

    def leave(self, window: Window | None) -> None:
        """Another window is about to get the focus: tell what was chosen in this one, while the gate still judges by it.

        A menu item that opens a message or a dialog takes the focus away before what it ended has settled.
        """
        if not self._app or self._window is None or (window is not None and window.id == self._window.id):
            return
        choices = self._selections.resolve()
        for choice in choices:
            self._tell_choice(choice)
        for press in self._presses:
            found = self._chosen_by(press, choices) or self._selections.lit_at(press.t_ms, press.x, press.y)
            if found is not None:
                self._tell_press(press, found)
        self._presses.clear()

    def focus(self, window: Window | None) -> None:
        """Another window has the focus, or its title changed; the gate has judged it."""
        other = window is None or self._window is None or window.id != self._window.id
        self._window = window
        if not self.available:
            return
        if other:
            self._set_secret(False)
            self._around.forget("site")
        if self._following is not None:
            self._following.cancel()
        self._following = self._start(self._follow(window), self._tasks)

    def pointer(self, t_ms: int, kind: int, x: int, y: int) -> None:
        """A pointer event that passed the gate."""
        button = BUTTONS.get(kind)
        if button is None or not self._app:
            return
        self._selections.input(Input(t_ms, button[1], x, y))
        if button[1] == "press" and len(self._presses) < MAX_PRESSES:
            self._presses.append(_Press(t_ms, x, y, self._selections.is_open_at(t_ms), t_ms + PRESS_MS))
            self._arm()

    def key(self, t_ms: int, name: str) -> None:
        """A key press that passed the gate; its name where it makes no text, else ""."""
        if self._app:
            self._selections.input(Input(t_ms, "key", name=name))

    # -- whom to listen to

    async def _follow(self, window: Window | None) -> None:
        """Listen to a window's application; ask for its page's host first, if the verdict depends on it."""
        if window is not None and self._around.shows_sites(window):
            await self._find_site(window)
        pid = window.pid if window is not None and self._around.is_open() else 0
        app = await self._accessibility.application_of(pid) or ""
        if app != self._app:
            await self._accessibility.watch(app)
            self._app, self._frame = app, ""
            self._selections.reset()
            self._presses.clear()
            self._dialogs.clear()
        if app and window is not None:
            await self._look_for_secret(app, window)

    def _on_application(self) -> None:
        """An application came to the bus: perhaps that of the window in focus, which opens its window first."""
        if not self._app and self._window is not None:
            self.focus(self._window)

    def _on_gone(self) -> None:
        """The bus has ended, and with it what applications could tell."""
        self._app = self._frame = ""
        self._selections.reset()
        self._presses.clear()
        self._dialogs.clear()

    async def _find_site(self, window: Window) -> None:
        key = _shown(window)
        if key not in self._sites:
            for wait_s in SITE_WAITS_S:
                await asyncio.sleep(wait_s)
                app = await self._accessibility.application_of(window.pid)
                host = None if app is None else await self._host(app, window)
                if host:
                    break
            else:
                return  # a file, an empty page, or a browser that doesn't tell: asked again at the next focus
            self._remember_site(key, host)
            if app is not None:
                await self._look_for_secret(app, window)
            self._around.judge_again()
        host = self._sites[key]
        if self._around.is_open():
            self._around.row("site", {"host": host}, lasting=True)

    async def _host(self, app: str, window: Window) -> str | None:
        frames = frames_of(window.title, await self._named_frames(app))
        hosts = {await self.lookup.document_host(app, frame) for frame in frames}
        return hosts.pop() if len(hosts) == 1 else None

    async def _named_frames(self, app: str) -> list[tuple[str, str]]:
        """Return an application's windows with their whole names; none when one doesn't tell: it may be a private one."""
        named = []
        for frame in await self.lookup.frames(app):
            name = await self.lookup.name(app, frame)
            if name is None:
                return []
            named.append((frame, name))
        return named

    def _remember_site(self, key: Shown, host: str) -> None:
        self._sites[key] = host
        if len(self._sites) > MAX_SITES:
            self._sites.popitem(last=False)

    # -- what the application tells

    def _on_signal(self, signal: Signal) -> None:
        if not self._around.is_open() and not self._is_secret:
            return
        t_ms = self._around.at_ms(signal.mono_ns)
        match signal.kind:
            case Kind.ACTIVATE:
                self._frame = signal.path
                self._start(self._look_at_dialog(signal), self._lookups)
            case Kind.CREATE:
                self._start(self._look_at_dialog(signal), self._lookups)
            case Kind.DESTROY if signal.path in self._dialogs:
                self._tell("dialog", self._dialogs.pop(signal.path), {"open": False})
            case Kind.LOADED if self._window is not None and self._around.shows_sites(self._window):
                self._sites.pop(_shown(self._window), None)
                self.focus(self._window)
                return
        path = self._selections.signal(t_ms, signal)
        if path is not None:
            self._start(self._look_at(signal, path), self._lookups)
        self._arm()

    async def _look_at(self, signal: Signal, path: str) -> None:
        found = await self.lookup.element(signal.app, path)
        if found is not None:
            if signal.kind is Kind.FOCUSED:
                self._set_secret(self._is_for_a_secret(found))
            self._selections.found(found)

    async def _look_at_dialog(self, signal: Signal) -> None:
        found = await self.lookup.element(signal.app, signal.path)
        if found is not None and found.role in DIALOGS and signal.path not in self._dialogs:
            self._dialogs[signal.path] = found
            self._tell("dialog", found, {"open": True})

    def _is_for_a_secret(self, found: Found) -> bool:
        return self._secrets.holds(found, 0 if self._window is None else self._window.id)

    async def _look_for_secret(self, app: str, window: Window) -> None:
        """Ask which object has the focus: it got it before anybody listened, as a page's first field does."""
        for frame in frames_of(window.title, await self._named_frames(app)):
            path = await self.lookup.focused(app, frame)
            found = await self.lookup.element(app, path) if path else None
            if found is not None and self._window is not None and self._window.id == window.id:
                self._set_secret(self._is_for_a_secret(found))

    def _set_secret(self, active: bool) -> None:
        if active != self._is_secret:
            self._is_secret = active
            self._around.secret(active)

    # -- what is told

    def _arm(self) -> None:
        """Set the one timer for what is to be looked at first."""
        dues = [press.due_ms for press in self._presses]
        if (due_ms := self._selections.due_ms()) is not None:
            dues.append(due_ms)
        if not dues or self._settling:
            return
        self._cancel()
        wait_s = max(0, min(dues) - self._around.now_ms()) / 1000
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._settle_soon)

    def _settle_soon(self) -> None:
        self._timer = None
        self._start(self.settle(), self._tasks)

    async def settle(self) -> None:
        """Look at what is due: choices first, then presses, which may have made them."""
        if self._settling:
            return
        self._settling = True
        try:
            self._around.flush()
            if self._lookups:
                await asyncio.wait(self._lookups, timeout=LOOKUPS_S)
            choices = self._selections.resolve()
            for choice in choices:
                self._tell_choice(choice)
            now_ms = self._around.now_ms()
            due = [press for press in self._presses if press.due_ms <= now_ms or self._chosen_by(press, choices)]
            self._presses = [press for press in self._presses if press not in due]
            for press in due:
                await self._tell_element(press, choices)
        finally:
            self._settling = False
            self._arm()

    def _tell_choice(self, choice: Choice) -> None:
        fields: dict[str, Scalar] = {
            "ago": self._around.now_ms() - choice.t_ms,
            "committed": choice.committed,
            "cause": "other" if choice.cause is None else ("key" if choice.cause.kind == "key" else "click"),
        }
        if choice.checked is not None:
            fields["checked"] = choice.checked
        self._tell("select", choice.found, fields)

    async def _tell_element(self, press: _Press, choices: list[Choice]) -> None:
        found = self._chosen_by(press, choices) or self._selections.lit_at(press.t_ms, press.x, press.y)
        if found is None and press.opened and press.due_ms < press.t_ms + LONG_PRESS_MS:
            # In an open dropdown, of which not all tell what the pointer is over: what it chose will be told.
            self._presses.append(replace(press, due_ms=press.t_ms + LONG_PRESS_MS))
            return
        if found is None and not press.opened and self._app and self._is_in_focus(press):
            found = await self.lookup.at_point(self._app, await self._front(press), press.x, press.y)
        if found is not None:
            self._tell_press(press, found)

    def _tell_press(self, press: _Press, found: Found) -> None:
        self._tell("element", found, {"ago": self._around.now_ms() - press.t_ms})

    def _is_in_focus(self, press: _Press) -> bool:
        window = self._window
        return (
            window is not None
            and window.x <= press.x < window.x + window.width
            and window.y <= press.y < window.y + window.height
        )

    @staticmethod
    def _chosen_by(press: _Press, choices: list[Choice]) -> Found | None:
        """Return what a press in an open dropdown chose."""
        for choice in choices:
            cause = choice.cause
            if cause is None or cause.kind == "key" or not choice.committed or not press.opened:
                continue
            if press.t_ms <= cause.t_ms <= press.t_ms + LONG_PRESS_MS:
                return choice.found
        return None

    async def _front(self, press: _Press) -> str:
        """Return the path of the application's window that a press went to."""
        if not self._frame:
            for path in await self.lookup.frames(self._app):
                found = await self.lookup.element(self._app, path)
                if found is not None and found.has(press.x, press.y):
                    self._frame = path  # the last one of several: the newest
        return self._frame

    def _tell(self, kind: str, found: Found, fields: Mapping[str, Scalar]) -> None:
        if self._around.is_open():
            self._around.row(kind, {**fields, **fields_of(found, self._labels, self._key)})

    # -- tasks

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="semantics")
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task


def _shown(window: Window) -> Shown:
    return window.pid, window.id, window.title
