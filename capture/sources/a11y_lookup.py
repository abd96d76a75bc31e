"""Source: what an object of an application's interface is: role, name, place, bounds; what lies at a point; a page's host.

Guarantees: an answer within LOOKUP_S or none, asked for at most six times in a second; no tree is ever walked: an object is asked about itself and its parent, a
point is followed down. An application that keeps not answering is left alone for a while (Breaker).
Nothing is kept of what was looked up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import urlsplit

from capture.breaker import Breaker
from capture.sources.a11y import Found, bounds_of, path_of
from capture.sources.a11y_bus import ACCESSIBLE, ROOT, Accessibility
from capture.sources.dbus import PROPERTIES

LOOKUP_S = 0.05
"""An application in a good mood answers in 1 ms; one that doesn't in 50 is busy, and must not be kept busier."""

PAUSES_S = (0.0, 0.03, 0.06, 0.12, 0.25, 0.25)
"""Before each look at what did not answer: an application that opens a menu is busy for 100 ms, on a busy machine for more."""

COMPONENT, DOCUMENT, TABLE = "org.a11y.atspi.Component", "org.a11y.atspi.Document", "org.a11y.atspi.Table"
COLLECTION, CANONICAL, MATCH_ALL, FOCUSED = "org.a11y.atspi.Collection", 1, 1, 12
SCREEN = 0  # coordinates of the whole display
MAX_DEPTH = 16

EMBEDS = 13
"""AT-SPI's number of the relation from a browser's window to the document in front."""

NAME_CHARACTERS = 120
"""Longer names are cut: some programs put their help texts there."""

CELLS = frozenset({"table cell", "table row", "tree item"})


class Lookup:
    """Asks applications. State: the breakers.

    Args:
        accessibility: the bus.
    """

    def __init__(self, accessibility: Accessibility) -> None:
        self._accessibility = accessibility
        self._breaker = Breaker()
        self.asked = 0
        self.late = 0

    async def element(self, app: str, path: str) -> Found | None:
        """Describe an object; None when the application doesn't in time."""
        found: Found | None = await self._bounded(app, lambda: self._element(app, path))
        return found

    async def at_point(self, app: str, frame: str, x: int, y: int) -> Found | None:
        """Describe the innermost object of a window at a point of the display."""
        found: Found | None = await self._bounded(app, lambda: self._at_point(app, frame, x, y))
        return found

    async def frames(self, app: str) -> list[str]:
        """Return the paths of an application's windows."""
        answer = await self._bounded(app, lambda: self._call(app, ROOT, ACCESSIBLE, "GetChildren"))
        return [path for path in map(path_of, answer[0]) if path] if answer else []

    async def focused(self, app: str, frame: str) -> str | None:
        """Return the object of a window that has the focus; None when none has, or the application doesn't tell in time."""
        wanted = [[1 << FOCUSED, 0], MATCH_ALL, {}, MATCH_ALL, [0, 0, 0, 0], MATCH_ALL, [], MATCH_ALL, False]
        try:
            async with asyncio.timeout(4 * LOOKUP_S):
                answer = await self._call(
                    app, frame, COLLECTION, "GetMatches", "(aiia{ss}iaiiasib)uib", [wanted, CANONICAL, 1, True]
                )
        except TimeoutError:
            return None
        found = [path for path in map(path_of, answer[0]) if path] if answer else []
        return found[0] if found else None

    async def name(self, app: str, path: str) -> str | None:
        """Return an object's whole name; None when the application doesn't tell it in time."""
        try:
            async with asyncio.timeout(4 * LOOKUP_S):
                name = await self._property(app, path, ACCESSIBLE, "Name")
        except TimeoutError:
            return None
        return None if name is None else str(name).strip()

    async def document_host(self, app: str, frame: str) -> str | None:
        """Return the host of the document in front of a browser's window; "" for one without (a local file); None: unknown."""
        url = await self._bounded(app, lambda: self._document_url(app, frame))
        return None if url is None else (urlsplit(url).hostname or "")

    async def _bounded(self, app: str, look: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Look, each time for LOOKUP_S at most, until there is an answer; never while the breaker is open."""
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            if not self._breaker.permits(app, time.monotonic_ns()):
                return None
            self.asked += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOKUP_S):
                    found = await look()
                self._breaker.worked(app)
                return found
            self.late += 1
        self._breaker.failed(app, time.monotonic_ns())
        return None

    async def _call(self, app: str, path: str, interface: str, member: str, *how: Any) -> list[Any] | None:
        bus = self._accessibility.bus
        if bus is None:
            return None
        return await bus.call(app, path, interface, member, *how, within_s=2 * LOOKUP_S)

    async def _property(self, app: str, path: str, interface: str, name: str) -> Any:
        answer = await self._call(app, path, PROPERTIES, "Get", "ss", [interface, name])
        return answer[0] if answer else None

    async def _role(self, app: str, path: str) -> str:
        answer = await self._call(app, path, ACCESSIBLE, "GetRoleName")
        return str(answer[0]) if answer else ""

    async def _element(self, app: str, path: str) -> Found | None:
        role, name, index, extents, parent = await asyncio.gather(
            self._role(app, path),
            self._property(app, path, ACCESSIBLE, "Name"),
            self._call(app, path, ACCESSIBLE, "GetIndexInParent"),
            self._call(app, path, COMPONENT, "GetExtents", "u", [SCREEN]),
            self._property(app, path, ACCESSIBLE, "Parent"),
        )
        if not role or role == "invalid":
            return None
        above = path_of(parent)
        place = int(index[0]) if index else -1
        container, count = "", None
        if above:
            container, count = await asyncio.gather(
                self._role(app, above), self._property(app, above, ACCESSIBLE, "ChildCount")
            )
            if role in CELLS and place >= 0:
                row, rows = await asyncio.gather(
                    self._call(app, above, TABLE, "GetRowAtIndex", "i", [place]),
                    self._property(app, above, TABLE, "NRows"),
                )
                if row and isinstance(rows, int):
                    place, count = int(row[0]), rows
        return Found(
            app=app,
            path=path,
            role=role,
            name=str(name or "").strip()[:NAME_CHARACTERS],
            index=place if place >= 0 else None,
            count=count if isinstance(count, int) and count > 0 else None,
            bounds=bounds_of(extents[0]) if extents else None,
            parent=above,
            container=container,
        )

    async def _at_point(self, app: str, frame: str, x: int, y: int) -> Found | None:
        path = frame
        for _ in range(MAX_DEPTH):
            answer = await self._call(app, path, COMPONENT, "GetAccessibleAtPoint", "iiu", [x, y, SCREEN])
            below = path_of(answer[0]) if answer else ""
            if below in ("", path):
                break
            path = below
        found = await self._element(app, path)
        if found is not None and found.container == "combo box" and found.role == "menu":
            found = await self._element(app, found.parent)  # Chromium's closed dropdown lies below its own menu
        return found if found is not None and found.has(x, y) else None

    async def _document_url(self, app: str, frame: str) -> str | None:
        relations = await self._call(app, frame, ACCESSIBLE, "GetRelationSet")
        for relation in relations[0] if relations else ():
            if relation[0] == EMBEDS and relation[1]:
                return await self._url(app, path_of(relation[1][0]))
        return None

    async def _url(self, app: str, path: str) -> str | None:
        answer = await self._call(app, path, DOCUMENT, "GetAttributes")
        said: Mapping[str, str] = answer[0] if answer else {}
        return said.get("DocURL") or said.get("URI")  # Firefox's word, Chromium's
