"""Shell: what was copied and pasted: rows of the types, the size and the two applications; never of what it was.

Between the X server's clipboard (capture/sources/x11_clipboard.py) and the gate. Guarantees: a copy counts only where the
application that made it has the focus and the gate lets its events pass, a paste likewise; of everything else that is on the
clipboard, whoever put it there, nothing is asked; where words may not pass, nothing but the types is; where its owner hints at
a password, there is no more to know; while a pause or a secret lasts, no answer is read. Text is read only for a digest,
which is of `[semantics] clipboard = "digest"`, and forgotten with it.

A paste tells which copy it gives by time, so that the two are joined without anybody's reading what was copied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from capture.labels import Copies, digest
from codec.model import Scalar

if TYPE_CHECKING:
    from capture.sources.desktop import ClipboardSink
    from capture.sources.windows import Window
    from capture.sources.x11_clipboard import Offer, Text

ANSWER_S = 1.0
"""An owner that has not answered by then is not waited for: the copy is told without what it would have said."""

ONE_PASTE_MS = 500
"""An application asks for several types one after the other, and for them after the shortcut's key."""

SAME_TIME_MS = 100
"""The server stamps a request, and the key that caused it, by different clocks of its own."""

PASTES = frozenset({"Ctrl+V", "Ctrl+Shift+V", "Shift+Insert"})
"""By these an application is told to paste what is its own, of which the server sees nothing."""


class Surroundings(Protocol):
    """What this part needs of the agent."""

    def row(self, kind: str, fields: Mapping[str, Scalar]) -> bool:
        """Pass a row on through the gate."""

    def is_open(self) -> bool:
        """Whether the window in focus may be recorded now, and no secret is being typed."""

    def has_words(self) -> bool:
        """Whether its words may be."""

    def focused(self) -> Window | None:
        """The window in focus."""

    def now_ms(self) -> int:
        """The source clock."""


@runtime_checkable
class Source(Protocol):
    """A desktop that tells of its clipboard (capture/sources/desktop.py)."""

    clipboard: ClipboardSink | None

    def client_of(self, window: Window) -> int: ...
    def ask_clipboard(self, what: str, *, content: bool = False) -> None: ...
    def leave_clipboard(self) -> None: ...


@dataclass(slots=True)
class _Copy:
    t_ms: int
    words: bool
    fields: dict[str, Scalar]
    told: bool = False


class Clipboard:
    """The desktop's sink for the clipboard.

    State: the last copy that may be recorded, and whether it is told; who owns the clipboard; when the last paste was, and
        when the last that was asked for.

    Args:
        around: the agent. desktop: asked about the clipboard. detail: what is kept. key: of digests.
    """

    def __init__(self, around: Surroundings, desktop: Source, *, detail: Copies, key: bytes) -> None:
        self._around, self._desktop, self._key = around, desktop, key
        desktop.clipboard = self
        self._reads = detail is Copies.DIGEST
        self._copy: _Copy | None = None
        self._owner = 0
        self._pasted_ms = self._asked_ms = -ONE_PASTE_MS
        self._timer: asyncio.TimerHandle | None = None

    # -- what the desktop tells

    def held(self, client: int) -> None:
        """Who has the clipboard at the start: what they copied before is not asked."""
        self._owner = client

    def copied(self, t_ms: int, client: int) -> None:
        """A client took the clipboard: ask what it is, if its application may be recorded."""
        self.leave()
        self._owner, self._copy = client, None
        window = self._in_focus(client)
        if window is None:
            return
        self._copy = _Copy(t_ms, self._around.has_words(), {"source": window.app})
        self._desktop.ask_clipboard("types")
        self._timer = asyncio.get_running_loop().call_later(ANSWER_S, self._tell)

    def offered(self, t_ms: int, offer: Offer) -> None:
        """The owner told its types: tell them, or ask for the size of its text first."""
        copy = self._pending()
        if copy is None:
            return
        if offer.secret:
            copy.fields["secret"] = True
        elif offer.types:
            copy.fields["types"] = ",".join(offer.types)
        if offer.text and not offer.secret and copy.words:
            self._desktop.ask_clipboard("text", content=self._reads)
        else:
            self._tell()

    def told_text(self, t_ms: int, text: Text) -> None:
        """The owner handed out its text."""
        copy = self._pending()
        if copy is None:
            return
        if text.size_bytes is not None:
            copy.fields["size"] = text.size_bytes
        if text.content is not None:
            copy.fields["digest"] = digest(self._key, text.content)
        self._tell()

    def pasted(self, t_ms: int, client: int) -> None:
        """A client asked for what the clipboard holds: a paste, if it is the application in focus."""
        if self._owner and t_ms - self._pasted_ms >= ONE_PASTE_MS and self._tell_paste(t_ms, client):
            self._asked_ms = t_ms

    def shortcut(self, t_ms: int, name: str) -> None:
        """A shortcut was pressed, and passed the gate."""
        if name in PASTES and self._owner and t_ms - self._asked_ms >= SAME_TIME_MS:
            self._tell_paste(t_ms, self._owner)

    def leave(self) -> None:
        """What the owner was asked is not of interest any more, or may no longer be known."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._copy = None
            self._desktop.leave_clipboard()

    def end(self) -> None:
        """Tell what is known."""
        self._tell()

    # -- what is told

    def _in_focus(self, client: int) -> Window | None:
        """Return the window in focus, if it may be recorded and is of a client."""
        window = self._around.focused()
        if not client or window is None or not self._around.is_open() or self._desktop.client_of(window) != client:
            return None
        return window

    def _pending(self) -> _Copy | None:
        """Return the copy that is asked about, if it may still be."""
        if not self._around.is_open():
            self.leave()
        return self._copy if self._timer is not None else None

    def _tell(self) -> None:
        copy = self._copy
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._desktop.leave_clipboard()
        if copy is None or copy.told:
            return
        copy.told = True
        if not self._around.row("clipboard", {"ago": self._around.now_ms() - copy.t_ms, **copy.fields}):
            self._copy = None

    def _tell_paste(self, t_ms: int, client: int) -> bool:
        """Tell a paste, if its client is the application in focus; return whether it is."""
        window = self._in_focus(client)
        if window is None:
            return False
        self._tell()
        self._pasted_ms = t_ms
        fields: dict[str, Scalar] = {"ago": self._around.now_ms() - t_ms, "target": window.app}
        copy = self._copy
        if copy is not None:
            fields["since"] = t_ms - copy.t_ms
            if "digest" in copy.fields:
                fields["digest"] = copy.fields["digest"]
        self._around.row("paste", fields)
        return True
