"""Shell: the screenshots of copies as pictures for the page, decoded when asked for, in bounded memory.

A screen section is decoded from its beginning; so the first look at one makes a pass over all of it, which notes when each
frame was taken and makes a small picture of it. Whole pictures are decoded from where the last one was left, or from the
beginning when an earlier one is wanted. What was made lately is kept, up to a number of bytes.

Not thread-safe: call it from one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from capture.review.png import shrink, to_png
from codec.model import Frame
from codec.screen import decode_frames

THUMB_WIDTH_PX = 320
KEPT_PICTURES_BYTES = 48 << 20
"""Some hundred 1080p screenshots: a few minutes of scrubbing back and forth."""
KEPT_THUMBS_BYTES = 24 << 20
"""Some thousand."""
MAX_FILMS = 256
"""Lists of frames that are kept; each takes some kilobytes."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame of a chunk. t_ms: since the chunk's t0. width_px, height_px: its size. screen: as codec.model.Frame."""

    t_ms: int
    width_px: int
    height_px: int
    screen: int


class Shelf:
    """Bytes by key, the least lately used given up beyond a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self.held_bytes = 0

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
        self._shots: OrderedDict[str, list[Shot]] = OrderedDict()
        self._thumbs = Shelf(KEPT_THUMBS_BYTES)
        self._pictures = Shelf(KEPT_PICTURES_BYTES)
        self._open: tuple[str, int, Iterator[Frame]] | None = None  # which copy, the next frame's number, the decoder

    @property
    def held_bytes(self) -> int:
        """What is kept of pictures."""
        return self._thumbs.held_bytes + self._pictures.held_bytes

    def shots(self, name: str) -> list[Shot]:
        """Return the frames of a copy, in the order stored.

        Raises:
            KeyError: there is no such copy. CodecError: it cannot be decoded.
        """
        found = self._shots.get(name)
        if found is None:
            found = []
            for number, frame in enumerate(decode_frames(self._section(name))):
                height_px, width_px = frame.pixels.shape[:2]
                found.append(Shot(frame.t_ms, width_px, height_px, frame.screen))
                self._thumbs.put((name, number), _thumb(frame))
            self._shots[name] = found
            while len(self._shots) > MAX_FILMS:
                self._shots.popitem(last=False)
        self._shots.move_to_end(name)
        return found

    def thumb(self, name: str, number: int) -> bytes:
        """Return a frame as a small PNG. Raises: as `shots`; KeyError also for a frame that there is not."""
        return self._thumbs.get((name, number)) or self._remember(self._thumbs, name, number, _thumb)

    def picture(self, name: str, number: int) -> bytes:
        """Return a frame as a PNG of its full size. Raises: as `thumb`."""
        return self._pictures.get((name, number)) or self._remember(
            self._pictures, name, number, lambda frame: to_png(frame.pixels)
        )

    def forget(self, name: str) -> None:
        """Let go of everything of a copy that was deleted."""
        self._shots.pop(name, None)
        self._thumbs.forget(name)
        self._pictures.forget(name)
        if self._open is not None and self._open[0] == name:
            self._open = None

    def _remember(self, shelf: Shelf, name: str, number: int, make: Callable[[Frame], bytes]) -> bytes:
        content = make(self._decode(name, number))
        shelf.put((name, number), content)
        return content

    def _decode(self, name: str, number: int) -> Frame:
        if self._open is None or self._open[0] != name or self._open[1] > number:
            self._open = (name, 0, decode_frames(self._section(name)))
        _, at, frames = self._open
        self._open = None  # a decoder that raised is of no more use
        for passed, frame in enumerate(frames, at):
            if passed == number:
                self._open = (name, number + 1, frames)
                return frame
        raise KeyError(f"{name} has no frame {number}")


def _thumb(frame: Frame) -> bytes:
    return to_png(shrink(frame.pixels, THUMB_WIDTH_PX), level=6)
