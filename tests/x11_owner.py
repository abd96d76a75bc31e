"""An application for tests that copies and pastes: a window with a class of its own, as owner of the clipboard and as its user.

It answers within the test's event loop, and writes down what it was asked: what somebody who looks at the clipboard has read of it.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from typing import Any

import xcffib
import xcffib.xproto as xp

WM_CLASS = 67
PIECE_BYTES = 1 << 18
"""Larger text is handed out piece by piece (INCR), as toolkits do."""


@dataclass
class Owner:
    """One application.

    Attributes:
        display: where. name: its window's class.
        targets: what it offers. text: what it hands out. silent: it answers nothing.
        asked: the targets it was asked for, since the last copy.
    """

    display: str
    name: str
    targets: tuple[str, ...] = ("TARGETS", "UTF8_STRING", "STRING")
    text: bytes = b""
    silent: bool = False
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._connection: Any = xcffib.connect(self.display)
        self._core: Any = self._connection.core
        self._atoms: dict[str, int] = {}
        self.window: int = self._connection.generate_id()
        root = self._connection.get_setup().roots[0].root
        kind = xp.WindowClass.InputOutput
        self._core.CreateWindow(0, self.window, root, 0, 0, 300, 200, 0, kind, 0, xp.CW.EventMask, [0])
        both = f"{self.name}\0{self.name}\0".encode()
        self._core.ChangeProperty(xp.PropMode.Replace, self.window, WM_CLASS, xp.Atom.STRING, 8, len(both), both)
        self._core.MapWindow(self.window)
        self._core.GetInputFocus().reply()
        asyncio.get_running_loop().add_reader(self._connection.get_file_descriptor(), self._serve)

    def close(self) -> None:
        """End it: the clipboard has no owner then."""
        asyncio.get_running_loop().remove_reader(self._connection.get_file_descriptor())
        self._connection.disconnect()

    async def activate(self) -> None:
        """Have the window manager give it the focus, once it manages the window."""
        state = self._atom("WM_STATE")
        for _ in range(1000):
            if self._core.GetProperty(False, self.window, state, 0, 0, 2).reply().type:
                break
            await asyncio.sleep(0.02)
        await self.hand("windowactivate", "--sync", str(self.window))

    async def hand(self, *words: str) -> None:
        """Do something with xdotool on its display."""
        environment = {"DISPLAY": self.display, "PATH": "/usr/bin:/bin"}
        process = await asyncio.create_subprocess_exec("xdotool", *words, env=environment)
        assert await asyncio.wait_for(process.wait(), 30) == 0

    def copy(self, text: bytes = b"words", *targets: str) -> None:
        """Take the clipboard."""
        self.text, self.asked = text, []
        if targets:
            self.targets = ("TARGETS", *targets)
        self._core.SetSelectionOwner(self.window, self._atom("CLIPBOARD"), 0)
        self._done()

    def paste(self, *targets: str) -> None:
        """Ask for what the clipboard holds."""
        for target in targets or ("UTF8_STRING",):
            here = self._atom("_PASTED")
            self._core.ConvertSelection(self.window, self._atom("CLIPBOARD"), self._atom(target), here, 0)
        self._done()

    def _done(self) -> None:
        """Wait until the server has done what was asked; what came meanwhile is in xcb's queue, not on the socket."""
        self._core.GetInputFocus().reply()
        self._serve()

    def _atom(self, name: str) -> int:
        if name not in self._atoms:
            self._atoms[name] = self._core.InternAtom(False, len(name), name).reply().atom
        return self._atoms[name]

    def _name(self, atom: int) -> str:
        return str(self._core.GetAtomName(atom).reply().name.to_string())

    def _serve(self) -> None:
        while (event := self._connection.poll_for_event()) is not None:
            if isinstance(event, xp.SelectionRequestEvent):
                self.asked.append(self._name(event.target))
                if not self.silent:
                    self._answer(event)
        self._connection.flush()

    def _answer(self, event: Any) -> None:
        self._core.GetInputFocus().reply()
        target = self._name(event.target)
        if target == "TARGETS":
            words = [self._atom(name) for name in self.targets]
            data = struct.pack(f"={len(words)}I", *words)
            self._put(event, xp.Atom.ATOM, 32, len(words), data)
        elif len(self.text) > PIECE_BYTES:
            self._put(event, self._atom("INCR"), 32, 1, struct.pack("=I", len(self.text)))
        else:
            self._put(event, event.target, 8, len(self.text), self.text)
        answer = struct.pack(
            "=BxHIIIII8x", 31, 0, event.time, event.requestor, event.selection, event.target, event.property
        )
        self._core.SendEvent(False, event.requestor, 0, answer)

    def _put(self, event: Any, kind: int, form: int, length: int, data: bytes) -> None:
        self._core.ChangeProperty(xp.PropMode.Replace, event.requestor, event.property, kind, form, length, data)
