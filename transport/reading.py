"""Shell: the one entry point for who learns from an archive: its actions, events and frames, filtered and in order.

    archive = open_archive(Path("archive"), Path("archive.key").read_text(), purpose="computer-use-training")
    for action in archive.actions(application="libreoffice-*", since=yesterday):
        if action.before is not None:
            learn(action.before.pixels(), action)

Guarantees: only what the stated purpose, the expiry and the key permit is given out, and what was left out is counted by
reason; actions of a device come in the order of their beginning, frames are decoded when they are asked for; memory stays within
some chunks of one device, whatever the archive's size (an `Action` that is kept keeps the section of screenshots it refers to).
`since` is found by halving, not by reading all before it. Does not guarantee that what is filtered by application is cheap: that
is known only after a chunk has been opened.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from codec import reader
from codec.acting import Actions
from codec.actions import Action, Load, Origin
from codec.errors import CodecError, Denied
from codec.model import ChunkId, Frame, Meta, Row
from codec.reader import Event, Recording
from codec.seal import ArchivePrivateKey, KeyRing
from transport.errors import Missing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from transport.archive import Store

AHEAD = 8
"""Chunks that are opened before they are needed: screenshots are closed less often than events, so the chunk with an event's
frames comes up to so many chunks later (three at the default ages)."""
BEHIND = 3
"""Chunks of screenshots that are kept to look back at: an action's before-frame may stand in the one before."""
CACHED_FRAMES = 4
"""Decoded frames that are kept of a section: the before-frame of an action is often the after-frame of the last."""
BIND_NS = 60_000_000_000
"""The rows that complete an action come within this time after it."""
MIXED_MS = 60_000
NS_PER_MS = 1_000_000
SAME_CLOCK_NS = 60_000_000_000
"""Two chunks whose source clocks began this close together tell the same clock: after a reboot it begins anew."""

Progress = Callable[[int, int], None]
"""Called with (chunks done, chunks in all) of the device that is being read."""

DENIED = "not permitted, expired, or sealed for another key"
DAMAGED = "does not decode: `modicum archive verify` says why"


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """An event with what its own chunk knows: its time on both clocks, and its origin."""

    t_ms: int
    wall_ns: int
    event: Event
    origin: Origin


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A frame with its time on both clocks, and its origin. Attributes: pixels: uint8 BGRA (H, W, 4)."""

    t_ms: int
    wall_ns: int
    screen: int
    pixels: npt.NDArray[np.uint8]
    origin: Origin


def open_archive(archive: Path | Store, key: str | KeyRing, *, purpose: str, now_s: int | None = None) -> Archive:
    """Open an archive for a purpose.

    Args:
        archive: its folder, or any store (transport.archive.Store).
        key: its private key (or a vault of many), or that key's text as in the file that `modicum keys archive` makes.
        purpose: what will be done with it; chunks whose person did not agree to it are left out.
        now_s: wall seconds since 1970, for the expiry; None: now.

    Raises:
        FileNotFoundError: there is no such folder. CodecError: the key is none.
    """
    if isinstance(archive, Path):
        from transport.archive import FolderStore
        from transport.fs import RealFiles

        if not archive.is_dir():
            raise FileNotFoundError(f"there is no archive {archive}: name the folder that `modicum collect` writes to")
        archive = FolderStore(RealFiles(), archive)
    private = ArchivePrivateKey.from_text(key) if isinstance(key, str) else key
    return Archive(archive, private, purpose, int(time.time()) if now_s is None else now_s)


@dataclass(slots=True)
class Archive:
    """An opened archive. `left_out` counts, by reason, the chunks that a walk did not give out."""

    store: Store
    private: KeyRing
    purpose: str
    now_s: int
    left_out: Counter[str] = field(default_factory=Counter)

    def devices(self) -> list[str]:
        """Return the devices that the archive has chunks of."""
        return sorted({chunk_id.device for chunk_id in self.store.iterate()})

    def actions(
        self,
        *,
        device: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        application: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Action]:
        """Yield actions, device by device, each device's in the order of time.

        Args:
            device: only this one's. since, until: by the wall clock, `until` excluded; a naive datetime is local time.
            application: a pattern of window classes in lower case, `*` and `?` as in file names.
            progress: see there.
        """
        since_ns, until_ns = _ns(since), _ns(until)
        for walk in self._walks(device, since_ns, until_ns, progress):
            for action in _actions(walk):
                if _within(action.wall_ns, since_ns, until_ns) and _is(action.application, application):
                    yield action

    def events(
        self,
        *,
        device: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        application: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Observed]:
        """Yield the raw events and rows, in the same order and with the same filters as `actions`."""
        since_ns, until_ns = _ns(since), _ns(until)
        for walk in self._walks(device, since_ns, until_ns, progress):
            focused = ""
            for recording, origin in walk.recordings():
                for event in recording.events():
                    if isinstance(event, Row) and event.kind == "focus":
                        focused = str(event.fields.get("app", ""))
                    wall_ns = recording.wall_ns(event.t_ms)
                    if _within(wall_ns, since_ns, until_ns) and _is(focused, application):
                        yield Observed(recording.meta.t0_ms + event.t_ms, wall_ns, event, origin)

    def frames(
        self,
        *,
        device: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Picture]:
        """Yield every screenshot, in the order of time within a device."""
        since_ns, until_ns = _ns(since), _ns(until)
        for walk in self._walks(device, since_ns, until_ns, progress):
            for recording, origin in walk.recordings():
                for frame in recording.frames():
                    wall_ns = recording.wall_ns(frame.t_ms)
                    if _within(wall_ns, since_ns, until_ns):
                        t_ms = recording.meta.t0_ms + frame.t_ms
                        yield Picture(t_ms, wall_ns, frame.screen, frame.pixels, origin)

    def _walks(
        self, device: str | None, since_ns: int | None, until_ns: int | None, progress: Progress | None
    ) -> Iterator[_Walk]:
        """Yield one walk for each epoch of each device, the epochs in the order of their first chunk's time."""
        for name in [device] if device is not None else self.devices():
            epochs: dict[int, list[ChunkId]] = {}
            for chunk_id in self.store.iterate(name):
                epochs.setdefault(chunk_id.epoch, []).append(chunk_id)
            walks = [_Walk(self, sorted(chunk_ids), until_ns, progress) for chunk_ids in epochs.values()]
            for walk in sorted(walks, key=_Walk.began_ns):
                walk.seek(since_ns)
                yield walk

    def open(self, chunk_id: ChunkId) -> Recording | None:
        """Open a chunk; None (and counted) when it may not be read, does not decode, or is gone."""
        try:
            return reader.open(self.store.get(chunk_id), self.private, purpose=self.purpose, now_s=self.now_s)
        except Missing:  # erased since the archive was listed
            return None
        except Denied:
            self.left_out[DENIED] += 1
        except CodecError:
            self.left_out[DAMAGED] += 1
        return None


class _Walk:
    """A walk through the chunks of one epoch, with some opened ahead for their screenshots."""

    def __init__(
        self, archive: Archive, chunk_ids: Sequence[ChunkId], until_ns: int | None, progress: Progress | None
    ) -> None:
        self._archive = archive
        self._ids = chunk_ids
        self._first = 0
        self._until_ns = until_ns
        self._progress = progress
        self._sections: deque[_Section] = deque()

    def began_ns(self) -> int:
        """Return the wall time of the first chunk that can be opened."""
        meta = next((one for one in map(self._meta, range(len(self._ids))) if one is not None), None)
        return 0 if meta is None else meta.wall_t0_ns

    def seek(self, since_ns: int | None) -> None:
        """Begin with the first chunk that ends after a time: they are numbered in the order of their ends."""
        if since_ns is None:
            return
        low, high = 0, len(self._ids)
        while low < high:
            middle = (low + high) // 2
            meta = next((one for one in map(self._meta, range(middle, high)) if one is not None), None)
            if meta is None or meta.wall_t0_ns + meta.duration_ms * 1_000_000 >= since_ns:
                high = middle
            else:
                low = middle + 1
        # Some earlier ones, for the focus in force and for the frames before the first action.
        self._first = max(0, low - BEHIND)

    def _meta(self, index: int) -> Meta | None:
        counted = self._archive.left_out.copy()
        recording = self._archive.open(self._ids[index])
        self._archive.left_out = counted  # it is counted when it is read
        return None if recording is None else recording.meta

    def recordings(self) -> Iterator[tuple[Recording, Origin]]:
        """Yield the chunks in their order; the screenshots around each are at hand while it is looked at."""
        ahead: deque[Recording] = deque()
        number = self._first
        while True:
            while len(ahead) < AHEAD and number < len(self._ids):
                recording = self._archive.open(self._ids[number])
                number += 1
                if self._progress is not None:
                    self._progress(number, len(self._ids))
                if recording is not None:
                    ahead.append(recording)
                    if recording.body.screen:
                        self._sections.append(_Section(recording))
            if not ahead:
                return
            recording = ahead.popleft()
            began_ns = recording.meta.wall_t0_ns
            if self._until_ns is not None and began_ns >= self._until_ns + BIND_NS and not recording.body.screen:
                return
            while len(self._sections) > AHEAD + BEHIND:
                self._sections.popleft()
            yield recording, _origin(recording)

    def find(self, t_ms: int, zero_ns: int) -> Load | None:
        """Return what decodes the frame of a time; see codec.acting.Find."""
        for section in self._sections:
            if section.t0_ms <= t_ms <= section.end_ms and abs(section.zero_ns - zero_ns) < SAME_CLOCK_NS:
                return partial(section.pixels, t_ms)
        return None


def _actions(walk: _Walk) -> Iterator[Action]:
    making = Actions(walk.find)
    told_ms = -(1 << 62)
    for recording, origin in walk.recordings():
        if recording.body.screen:
            continue
        t0_ms, zero_ns = recording.meta.t0_ms, _zero_ns(recording.meta)
        if t0_ms < told_ms - MIXED_MS:  # the machine was started anew, and its clock with it
            yield from making.end()
            making = Actions(walk.find)
        told_ms = t0_ms
        for event in recording.events():
            yield from making.feed(t0_ms + event.t_ms, event, origin, zero_ns)
    yield from making.end()


class _Section:
    """The screenshots of a chunk, decoded forwards as they are asked for; asked backwards, it begins anew."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.t0_ms = recording.meta.t0_ms
        self.end_ms = self.t0_ms + recording.meta.duration_ms
        self.zero_ns = _zero_ns(recording.meta)
        self._frames: Iterator[Frame] | None = None
        self._recent: deque[Frame] = deque(maxlen=CACHED_FRAMES)

    def pixels(self, t_ms: int) -> npt.NDArray[np.uint8]:
        """Decode the frame of a time (source clock)."""
        wanted_ms = t_ms - self.t0_ms
        for frame in self._recent:
            if frame.t_ms == wanted_ms:
                return frame.pixels
        if self._frames is None or (self._recent and self._recent[-1].t_ms > wanted_ms):
            self._recent.clear()
            self._frames = self._recording.frames()
        for frame in self._frames:
            self._recent.append(frame)
            if frame.t_ms == wanted_ms:
                return frame.pixels
            if frame.t_ms > wanted_ms:
                break
        else:
            self._frames = None
        raise LookupError(f"chunk {self._recording.header.chunk_id} has no frame at {wanted_ms} ms")


def _origin(recording: Recording) -> Origin:
    meta, chunk_id = recording.meta, recording.header.chunk_id
    return Origin(
        device=chunk_id.device,
        epoch=chunk_id.epoch,
        seq=chunk_id.seq,
        purposes=meta.purposes,
        consent=meta.consent,
        expires_s=meta.expires_s,
        region=meta.region,
        agent=meta.agent,
        lossy=meta.lossy,
    )


def _zero_ns(meta: Meta) -> int:
    """Return the wall clock when the source clock was 0."""
    return meta.wall_t0_ns - meta.t0_ms * NS_PER_MS


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1e6) * 1000


def _within(wall_ns: int, since_ns: int | None, until_ns: int | None) -> bool:
    return (since_ns is None or wall_ns >= since_ns) and (until_ns is None or wall_ns < until_ns)


def _is(application: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(application, pattern)
