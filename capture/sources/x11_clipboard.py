"""Source: an X server's clipboard: who owns it, of which types and how large it is, and who asks for what it holds.

Guarantees: nothing is asked but by a call, and what it holds is read only where that call says so; an owner is never waited
for: its answer comes as a notice, if it comes; when another takes the clipboard, the answer of the one before is not read.
Does not guarantee to see what an application pastes of its own: most don't ask the server for that.

Only CLIPBOARD, what is copied and pasted by intent; PRIMARY changes with every mark that somebody sets.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import xcffib.xfixes
import xcffib.xproto as xp

from capture.sources.notices import ClipboardAnswered, ClipboardOwned

CONVERT_SELECTION = 24
"""Core request by which a client asks for what a selection holds (X11 protocol, appendix B)."""
_REQUEST = struct.Struct("=BxHIIIII")
"""opcode, length in words, requestor, selection, target, property, time."""

MAX_TARGETS = 128
MAX_TYPES = 8
MAX_TEXT_BYTES = 1 << 16
"""Longer text is not read: its size is known."""
ANY_TYPE, CURRENT_TIME = 0, 0
INPUT_ONLY = xp.WindowClass.InputOnly

SECRET = "x-kde-passwordManagerHint"  # noqa: S105 - the name of a type
"""Offered beside a password by the managers that were asked to (KeePassXC and others)."""
TEXTS = frozenset({"UTF8_STRING", "STRING", "TEXT", "COMPOUND_TEXT"})
"""X11's own names for text (ICCCM, 2.6.2)."""
_MIME = re.compile(r"(application|audio|font|image|model|text|video)/[a-z0-9.+_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a clipboard's owner offers.

    Attributes:
        types: MIME types without parameters, at most MAX_TYPES; X11's names for text are "text/plain".
        secret: it hints at a password.
        text: it can be had as UTF-8 text.
    """

    types: tuple[str, ...]
    secret: bool
    text: bool


@dataclass(frozen=True, slots=True)
class Text:
    """What is known of a clipboard's text.

    Attributes:
        size_bytes: of its UTF-8; at least so much where its owner gives it piece by piece; None: it gave nothing.
        content: itself; None where it was not to be read, or is longer than MAX_TEXT_BYTES.
    """

    size_bytes: int | None
    content: bytes | None


def offer_of(names: Iterable[str]) -> Offer:
    """Return what a list of targets means."""
    names = list(names)
    types: dict[str, None] = {}
    for name in names:
        kind = "text/plain" if name in TEXTS else name.partition(";")[0].strip().lower()
        if _MIME.fullmatch(kind) and "internal" not in kind:  # LibreOffice puts its process's id into one
            types[kind] = None
    return Offer(tuple(types)[:MAX_TYPES], SECRET in names, "UTF8_STRING" in names)


class Clipboard:
    """The clipboard of one X server.

    State: the time of the last change of owner; a window of ours while something is asked, to which the answer comes.

    Args:
        connection: xcffib's. root: the root window. atoms: ids by name (ATOMS).
        client_mask: the bits of a resource's id that name its client.
        answered: returns a cookie's reply, None on an error of the server.
    """

    ATOMS = (
        "CLIPBOARD",
        "TARGETS",
        "TIMESTAMP",
        "MULTIPLE",
        "SAVE_TARGETS",
        "UTF8_STRING",
        "INCR",
        "_MODICUM_CLIPBOARD",
    )

    def __init__(
        self,
        connection: Any,
        *,
        root: int,
        atoms: Mapping[str, int],
        client_mask: int,
        answered: Callable[[Any], Any],
    ) -> None:
        self._connection, self._core, self._root = connection, connection.core, root
        self._atoms, self._client_mask, self._answered = atoms, client_mask, answered
        # Asked for by a menu that wants to know whether there is anything to paste, or by a clipboard manager.
        self._talk = {atoms[name] for name in ("TARGETS", "TIMESTAMP", "MULTIPLE", "SAVE_TARGETS")}
        self._owned = CURRENT_TIME
        self._window = 0

    def watch(self) -> int | None:
        """Let the server tell of every change of owner from now on; return the present one's client (0: nobody).

        None: the server can't.
        """
        extension = self._core.QueryExtension(6, "XFIXES").reply()
        if not extension.present:
            return None
        xfixes = self._connection(xcffib.xfixes.key)
        xfixes.QueryVersion(5, 0).reply()
        mask = xcffib.xfixes.SelectionEventMask
        told = mask.SetSelectionOwner | mask.SelectionWindowDestroy | mask.SelectionClientClose
        xfixes.SelectSelectionInput(self._root, self._atoms["CLIPBOARD"], told)
        return int(self._core.GetSelectionOwner(self._atoms["CLIPBOARD"]).reply().owner & self._client_mask)

    def notice(self, event: Any) -> ClipboardOwned | ClipboardAnswered | None:
        """Return what an event means; None: nothing to us."""
        match event:
            case xcffib.xfixes.SelectionNotifyEvent() if event.selection == self._atoms["CLIPBOARD"]:
                self.leave()
                self._owned = event.selection_timestamp
                return ClipboardOwned(event.timestamp, event.owner & self._client_mask)
            case xp.SelectionNotifyEvent() if self._window and event.requestor == self._window:
                return ClipboardAnswered("types" if event.target == self._atoms["TARGETS"] else "text")
        return None

    def ask(self, what: str) -> None:
        """Ask the owner: its answer comes as a notice.

        Args:
            what: "types" or "text". The owner then hands its text to the server; what of it is read is `text`'s to say.
        """
        if not self._window:
            self._window = self._connection.generate_id()
            self._core.CreateWindow(0, self._window, self._root, 0, 0, 1, 1, 0, INPUT_ONLY, 0, 0, [])
        target = self._atoms["TARGETS" if what == "types" else "UTF8_STRING"]
        # With the time at which the owner took it: one that came later refuses.
        self._core.ConvertSelection(
            self._window, self._atoms["CLIPBOARD"], target, self._atoms["_MODICUM_CLIPBOARD"], self._owned
        )
        self._connection.flush()

    def leave(self) -> None:
        """Ask no more: an answer under way finds no window."""
        if self._window:
            self._core.DestroyWindow(self._window)
            self._window = 0

    def offer(self) -> Offer | None:
        """Return what the owner answered to "types"; None: nobody wants to know any more."""
        if not self._window:
            return None
        reply = self._property(MAX_TARGETS)
        if reply is None or reply.format != 32:  # some owners call the list's type TARGETS, not ATOM
            return Offer((), secret=False, text=False)
        words = struct.iter_unpack("=I", bytes(reply.value.buf()))
        names = [self._answered(cookie) for cookie in [self._core.GetAtomName(word) for (word,) in words if word]]
        return offer_of(name.name.to_string() for name in names if name is not None)

    def text(self, *, content: bool) -> Text | None:
        """Return what is known of the text that the owner answered; None: nobody wants to know any more.

        Args:
            content: read it; else its length only.
        """
        if not self._window:
            return None
        reply = self._property(0)
        if reply is None or not reply.type:
            return Text(None, None)
        if reply.type == self._atoms["INCR"]:  # a lower bound stands there; to read it would ask for all pieces
            reply = self._property(1)
            (size,) = struct.unpack_from("=I", bytes(reply.value.buf()).ljust(4, b"\0"))
            return Text(size, None)
        size = reply.bytes_after
        read = content and size <= MAX_TEXT_BYTES
        return Text(size, bytes(self._property(MAX_TEXT_BYTES // 4).value.buf()) if read else None)

    def _property(self, words: int) -> Any:
        asked = self._core.GetProperty(False, self._window, self._atoms["_MODICUM_CLIPBOARD"], ANY_TYPE, 0, words)
        return self._answered(asked)

    def asks(self, requests: bytes) -> int:
        """Return how many of recorded requests (CONVERT_SELECTION) ask for what the clipboard holds."""
        whole = requests[: len(requests) // _REQUEST.size * _REQUEST.size]
        return sum(
            opcode == CONVERT_SELECTION and selection == self._atoms["CLIPBOARD"] and target not in self._talk
            for opcode, _, _, selection, target, _, _ in _REQUEST.iter_unpack(whole)
        )
