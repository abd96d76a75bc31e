"""Pure: what consumers of an archive call: open a chunk for a purpose, then walk through its events and its frames.

Guaranteed: nothing is returned of a chunk that has expired, whose person didn't agree to the stated purpose, or that
this key doesn't open; events come in one order, that of `codec.model`. Frames are decoded while they are iterated, so
that a chunk of many screenshots takes the memory of a few.
Not guaranteed: who wrote the chunk, unless the device's key is given.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from codec import chunk as chunks
from codec.chunk import Body, Header
from codec.errors import Denied
from codec.model import Frame, Meta, Row
from codec.seal import DeviceVerifyKey, KeyRing


@dataclass(frozen=True, slots=True)
class PointerEvent:
    """One pointer event. Attributes: as PointerEvents' columns, as plain integers."""

    t_ms: int
    kind: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """One key event. Attributes: as KeyEvents' columns, as plain values."""

    t_ms: int
    down: bool
    code: int
    slot: int


Event = Row | KeyEvent | PointerEvent


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One opened chunk. Attributes: its header in clear, and its body."""

    header: Header
    body: Body

    @property
    def meta(self) -> Meta:
        """What the chunk says of itself."""
        return self.body.meta

    def wall_ns(self, t_ms: int) -> int:
        """Return the wall clock (ns since 1970) of an event's or a frame's `t_ms`."""
        return self.meta.wall_t0_ns + t_ms * 1_000_000

    def events(self) -> Iterator[Event]:
        """Yield rows, keys and pointer events in the order of `t_ms`; at the same millisecond in that order of kinds.

        Within a kind the source's own order stands, even where its clock went back.
        """
        body = self.body
        pointer = map(
            PointerEvent,
            body.pointer.t_ms.tolist(),
            body.pointer.kind.tolist(),
            body.pointer.x.tolist(),
            body.pointer.y.tolist(),
        )
        keys = map(
            KeyEvent,
            body.keys.t_ms.tolist(),
            body.keys.down.tolist(),
            body.keys.code.tolist(),
            body.keys.slot.tolist(),
        )
        # heapq.merge is stable: of equal times, the stream named first comes first.
        return heapq.merge(body.rows, keys, pointer, key=_time)

    def frames(self) -> Iterator[Frame]:
        """Yield the screenshots, decoding as it goes.

        Raises:
            Corrupt, Truncated, TooLarge, Unsupported: while iterating, when the section can't be decoded.
        """
        if not self.body.screen:
            return iter(())
        from codec.screen import decode_frames

        return decode_frames(self.body.screen)


def open(  # read as `reader.open`, like gzip.open
    chunk: bytes,
    private: KeyRing,
    *,
    purpose: str,
    now_s: int,
    device_key: DeviceVerifyKey | None = None,
) -> Recording:
    """Open a chunk for a purpose.

    Args:
        chunk: exactly one chunk.
        private: the archive's key.
        purpose: what the reader will do with it, one of those that the person agreed to.
        now_s: wall seconds since 1970.
        device_key: where given, the chunk must be signed by it.

    Raises:
        Denied: another key, purpose or signer than the chunk's, or it has expired.
        Truncated, Corrupt, TooLarge, Unsupported: as `chunk.open_chunk` and `chunk.decode_body`.
    """
    header = chunks.parse_header(chunk)
    if header.has_expired(now_s):  # before any of it is decrypted
        raise _expired(header)
    if device_key is not None:
        chunks.verify_chunk(chunk, device_key)
    _, data = chunks.open_chunk(chunk, private)
    body = chunks.decode_body(data)
    if body.meta.expires_s and now_s >= body.meta.expires_s:
        raise _expired(header)
    if purpose not in body.meta.purposes:
        agreed = ", ".join(map(repr, body.meta.purposes)) or "nothing"
        raise Denied(f"chunk {header.chunk_id} may not be read for {purpose!r}: its person agreed to {agreed}")
    return Recording(header, body)


def _expired(header: Header) -> Denied:
    return Denied(f"chunk {header.chunk_id} has expired: it may not be read, and `modicum archive expire` deletes it")


def _time(event: Event) -> int:
    return event.t_ms
