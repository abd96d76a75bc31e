"""Shell: the screenshots of copies as pictures for the page, decoded when asked for, in bounded memory.

A screen section is decoded from its beginning on. So where the frames are is listed without decoding any; pictures are
decoded from where an earlier request left off, of which the last few places are kept; and of every frame that is passed on
the way, a small picture is kept, so that scrubbing back finds it. What was made lately is kept, up to a number of bytes.

Not thread-safe: call it from one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from capture.review.png import shrink, to_png
from codec.model import Frame
from codec.picture import Listed
from codec.screen import decode_frames, list_frames

THUMB_WIDTH_PX = 320
KEPT_PICTURES_BYTES = 32 << 20
"""Some hundred 1080p screenshots: a few minutes of scrubbing back and forth."""
KEPT_THUMBS_BYTES = 24 << 20
"""Some thousand."""
MAX_FILMS = 256
"""Lists of frames that are kept; each takes some kilobytes."""
MAX_PLACES = 2
"""Decoders that are kept, each with a picture, the tiles that it remembers and its script: some 50 MB at 1080p."""


class Shelf:
    """Bytes by key, the least lately used given up beyond a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self.held_bytes = 0

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._held

    def get(self, key: tuple[str, int]) -> bytes | None:
        """Return what is held."""
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def put(self, key: tuple[str, int], content: bytes) -> None:
        """Hold it."""
        self.held_bytes += len(content) - len(self._held.pop(key, b""))
        self._held[key] = content
        while self.held_bytes > self._limit_bytes and len(self._held) > 1:
            self.held_bytes -= len(self._held.popitem(last=False)[1])

    def forget(self, name: str) -> None:
        """Let go of everything of one copy."""
        for key in [key for key in self._held if key[0] == name]:
            self.held_bytes -= len(self._held.pop(key))


class Films:
    """The screenshots of all copies.

    Args:
        section: returns a copy's screen section by the copy's name. It may raise KeyError (deleted since) and the codec's errors.
    """

    def __init__(self, section: Callable[[str], bytes]) -> None:
        self._section = section
        self._shots: OrderedDict[str, list[Listed]] = OrderedDict()
        self._thumbs = Shelf(KEPT_THUMBS_BYTES)
        self._pictures = Shelf(KEPT_PICTURES_BYTES)
        self._places: list[tuple[str, int, Iterator[Frame]]] = []  # copy, its next frame's number, decoder; newest last

    @property
    def held_bytes(self) -> int:
        """What is kept of pictures."""
        return self._thumbs.held_bytes + self._pictures.held_bytes

    def shots(self, name: str) -> list[Listed]:
        """Return the frames of a copy, in the order stored.

        Raises:
            KeyError: there is no such copy. CodecError: it cannot be decoded.
        """
        if name not in self._shots:
            self._shots[name] = list(list_frames(self._section(name)))
            while len(self._shots) > MAX_FILMS:
                self._shots.popitem(last=False)
        self._shots.move_to_end(name)
        return self._shots[name]

    def thumb(self, name: str, number: int) -> bytes:
        """Return a frame as a small PNG. Raises: as `shots`; KeyError also for a frame that there is not."""
        found = self._thumbs.get((name, number))
        if found is None:
            self._decode(name, number)
            found = self._thumbs.get((name, number)) or b""
        return found

    def picture(self, name: str, number: int) -> bytes:
        """Return a frame as a PNG of its full size. Raises: as `thumb`."""
        found = self._pictures.get((name, number))
        if found is None:
            found = to_png(self._decode(name, number).pixels)
            self._pictures.put((name, number), found)
        return found

    def forget(self, name: str) -> None:
        """Let go of everything of a copy that was deleted."""
        self._shots.pop(name, None)
        self._thumbs.forget(name)
        self._pictures.forget(name)
        self._places = [place for place in self._places if place[0] != name]

    def _decode(self, name: str, number: int) -> Frame:
        if not 0 <= number < len(self.shots(name)):
            raise KeyError(f"{name} has no frame {number}")
        near = [place for place in self._places if place[0] == name and place[1] <= number]
        if near:
            place = max(near, key=lambda place: place[1])
            self._places.remove(place)
        else:
            place = (name, 0, decode_frames(self._section(name)))
        _, at, frames = place
        for passed, frame in enumerate(frames, at):
            if (name, passed) not in self._thumbs:
                self._thumbs.put((name, passed), to_png(shrink(frame.pixels, THUMB_WIDTH_PX)))
            if passed == number:
                self._places = [*self._places, (name, number + 1, frames)][-MAX_PLACES:]
                return frame
        raise KeyError(f"{name} has no frame {number}")
