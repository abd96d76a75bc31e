"""Shell: the copies, opened with the person's own key: outlines for the timeline, events and pictures for the player.

What is opened is kept in memory only: outlines (some kilobytes a chunk) for all, events for none, pictures as film.py says.
A copy that cannot be opened is named, not hidden: it can be deleted all the same.

Not thread-safe: call it from one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capture.review.copies import Copies, Copy
from capture.review.film import Films
from capture.review.moments import Outline, joined, outline
from codec.chunk import decode_body, open_chunk
from codec.errors import CodecError
from codec.meta import decode_meta
from codec.model import PointerKind
from codec.picture import Listed
from codec.rows import decode_rows
from codec.seal import ArchivePrivateKey
from codec.sections import SectionFlag, SectionKind, decode_sections

Id = tuple[int, int]
"""A chunk's epoch and sequence number."""


@dataclass(frozen=True, slots=True)
class Item:
    """A copy with what it shows; outline None: it could not be opened."""

    copy: Copy
    outline: Outline | None

    @property
    def id(self) -> Id:
        """The chunk's."""
        return self.copy.chunk_id.epoch, self.copy.chunk_id.seq

    @property
    def start_ms(self) -> int:
        """Wall ms of what it shows first; of its close where that is not known."""
        return self.outline.start_ms if self.outline else self.copy.closed_wall_ms

    @property
    def end_ms(self) -> int:
        """Wall ms of what it shows last."""
        return self.outline.end_ms if self.outline else self.copy.closed_wall_ms


class Library:
    """See the module.

    Args:
        copies: where they lie. key: the person's own.
    """

    def __init__(self, copies: Copies, key: ArchivePrivateKey) -> None:
        self._copies = copies
        self._key = key
        self._items: dict[str, Item] = {}
        self._films = Films(self._section)

    def items(self) -> list[Item]:
        """Look at the folder anew; return what there is, by when it begins.

        Raises:
            OSError: the folder cannot be read.
        """
        entries = {copy.name: copy for copy in self._copies.entries()}
        for name in self._items.keys() - entries.keys():
            del self._items[name]
            self._films.forget(name)
        for name, copy in entries.items():
            if name not in self._items:
                self._items[name] = Item(copy, self._outline(copy))
        return sorted(self._items.values(), key=lambda item: (item.start_ms, item.id))

    def timeline(self) -> list[Item]:
        """Return `items` with gaps cut out of what was in front."""
        items = self.items()
        whole = iter(joined([item.outline for item in items if item.outline]))
        return [Item(item.copy, next(whole) if item.outline else None) for item in items]

    def events(self, wanted: Id) -> dict[str, Any]:
        """Return a chunk's pointer and key events as columns; times are wall ms.

        Raises:
            KeyError: there is no such copy. CodecError: it cannot be decoded.
        """
        item = self._find(wanted)
        _, data = open_chunk(self._content(item.copy), self._key)
        body = decode_body(data)
        start_ms = body.meta.wall_t0_ns // 1_000_000
        pointer, keys = body.pointer, body.keys
        return {
            "start_ms": start_ms,
            "pointer": {
                "t": pointer.t_ms.tolist(),
                "kind": pointer.kind.tolist(),
                "x": pointer.x.tolist(),
                "y": pointer.y.tolist(),
            },
            "keys": {"t": keys.t_ms.tolist(), "down": keys.down.tolist(), "code": keys.code.tolist()},
            "clicks": int(sum(kind in _PRESSES for kind in pointer.kind.tolist())),
            "displays": [
                [row.t_ms, row.fields.get("w"), row.fields.get("h")] for row in body.rows if row.kind == "display"
            ],
            "lossy": list(body.meta.lossy),
        }

    def shots(self, wanted: Id) -> tuple[int, list[Listed]]:
        """Return the wall ms that a chunk's frames count from, and its frames. Raises: as `events`."""
        item = self._find(wanted)
        return item.start_ms, self._films.shots(item.copy.name)

    def thumb(self, wanted: Id, number: int) -> bytes:
        """Return a frame as a small PNG. Raises: as `events`; KeyError for a frame that there is not."""
        return self._films.thumb(self._find(wanted).copy.name, number)

    def picture(self, wanted: Id, number: int) -> bytes:
        """Return a frame as PNG. Raises: as `thumb`."""
        return self._films.picture(self._find(wanted).copy.name, number)

    def _find(self, wanted: Id) -> Item:
        for item in self._items.values() or self.items():
            if item.id == wanted:
                return item
        raise KeyError(f"there is no copy of {wanted[0]:08x}/{wanted[1]}")

    def _content(self, copy: Copy) -> bytes:
        try:
            return self._copies.read(copy)
        except FileNotFoundError as error:
            raise KeyError(f"{copy.name} was deleted") from error

    def _section(self, name: str) -> bytes:
        _, data = open_chunk(self._content(self._items[name].copy), self._key)
        return decode_body(data).screen

    def _outline(self, copy: Copy) -> Outline | None:
        try:
            _, data = open_chunk(self._copies.read(copy), self._key)
            found = {section.kind: section for section in decode_sections(data)}
            head = found[SectionKind.META]
            meta = decode_meta(head.content, is_zstd=SectionFlag.ZSTD in head.flags)
            rows = decode_rows(found[SectionKind.ROWS].content) if SectionKind.ROWS in found else []
        except (CodecError, OSError, KeyError):
            return None
        return outline(meta, rows, has_screens=SectionKind.SCREEN in found)


_PRESSES = {PointerKind.PRESS_LEFT, PointerKind.PRESS_MIDDLE, PointerKind.PRESS_RIGHT}
