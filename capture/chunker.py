"""Shell: closes drafts and reels when they are due, and has them packed and spooled in one owned thread.

Guarantees: chunks get their sequence numbers in the order in which they were closed; each is on the disk before it
counts. When the disk is full, closed drafts wait in memory within `MAX_WAITING_BYTES`; what does not fit is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol

from capture.anchor import NS_PER_MS, Anchor, Clocks
from capture.camera import Camera, Reel
from capture.packer import Packed, Stamp, Thinning, pack_draft, pack_screens
from capture.recorder import Draft, Recorder
from codec.model import ChunkId

DISK_RETRY_S = 30.0
"""A full disk is asked again after so long, and whenever a chunk is closed."""
MAX_WAITING_BYTES = 32 << 20
"""Drafts and reels that wait for a full disk: some hours of events; more would cost the machine its memory instead."""


class Gap(Protocol):
    """A chunk that will not arrive."""

    @property
    def chunk_id(self) -> ChunkId:
        """Which."""

    @property
    def reason(self) -> str:
        """Why."""


class Spool(Protocol):
    """Keeps chunks durably (transport/spool.py)."""

    def next_id(self) -> ChunkId:
        """Return the id that the next chunk must carry."""

    def put(self, chunk_id: ChunkId, chunk: bytes, *, value: int, ready_wall_ns: int) -> Sequence[Gap]:
        """Store a chunk durably; return what was dropped to make room. After a failure, the same chunk is put again."""

    def expire(self, before_wall_ns: int) -> Sequence[Gap]:
        """Give up what was ready before a moment; return it."""

    def take_losses(self) -> Sequence[Gap]:
        """Return, once, what was lost otherwise, also by an earlier run that did not come to tell of it."""

    def told(self, ids: Sequence[ChunkId]) -> None:
        """Note that what tells of these losses is stored: they need not come up again."""


@dataclass(frozen=True, slots=True)
class Negative:
    """A developed reel: its facts and its screen section."""

    reel: Reel
    section: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """What waits to be packed: zero_wall_ns is the wall clock at the source clock's zero; size_bytes, its memory."""

    item: Draft | Negative
    zero_wall_ns: int
    size_bytes: int


@dataclass(slots=True)
class Sizes:
    """Bytes since the start, by stage and kind, and how many chunks."""

    raw: int = 0
    encoded: int = 0
    sealed: int = 0
    chunks: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)

    def add(self, packed: Packed, kind: str) -> None:
        """Count a chunk that is in the spool."""
        self.raw += packed.raw_bytes
        self.encoded += packed.encoded_bytes
        self.sealed += len(packed.chunk)
        self.chunks += 1
        self.by_kind[kind] = self.by_kind.get(kind, 0) + len(packed.chunk)


@dataclass(frozen=True, slots=True)
class Ages:
    """How old things become.

    Attributes:
        screens_ms, screens_bytes: an open reel, until it is closed.
        hold_back_ns: a chunk, until it may be sent.
        spool_ns: a chunk that could be sent and was not, until it is given up.
    """

    screens_ms: int = 15 * 60_000
    screens_bytes: int = 4 << 20
    hold_back_ns: int = 10 * 60 * 1_000_000_000
    spool_ns: int = 30 * 86_400 * 1_000_000_000


class Chunker:
    """Turns what is open into chunks in the spool.

    Args:
        recorder, camera: hold the open draft and the open reel; the camera may be None (no pictures on this machine).
        spool: where chunks go.
        stamp: what each of them says.
        ages: when a reel is closed, and the hold-back.
        now_ms: the source clock.
        slept_ns: how long the machine was suspended, in all.
        thinning: the plan's lossy steps now.
        thread: one owned thread; packing and the disk happen there, in order.
        on_stored: called in the loop's thread after each chunk with it and its kind ("events", "screens").
        on_error: called in the loop's thread with what the disk said, and with None when it works again.
        keep: called in `thread` with each chunk that the spool has, for the person's own copy; it may not raise.
    """

    def __init__(
        self,
        recorder: Recorder,
        camera: Camera | None,
        spool: Spool,
        *,
        stamp: Stamp,
        ages: Ages,
        now_ms: Callable[[], int],
        slept_ns: Callable[[], int],
        thinning: Callable[[], Thinning],
        thread: Executor,
        on_stored: Callable[[Packed, str], None],
        on_error: Callable[[Exception | None], None],
        keep: Callable[[Packed], None] = lambda packed: None,
    ) -> None:
        self._recorder = recorder
        self._camera = camera
        self._spool = spool
        self._stamp = stamp
        self._ages = ages
        self._now_ms = now_ms
        self._slept_ns = slept_ns
        self._draft_anchor, self._reel_anchor = Anchor(), Anchor()
        self._thinning = thinning
        self._thread = thread
        self._on_stored = on_stored
        self._on_error = on_error
        self._keep = keep
        self._waiting: deque[Closed] = deque()
        self._packed: tuple[Packed, str] | None = None
        self._telling: list[ChunkId] = []  # losses that the open draft tells of
        self._telling_waiting: deque[list[ChunkId]] = deque()  # the same of each draft that waits to be stored
        self._waiting_bytes = 0
        self._storing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.sizes = Sizes()

    def arm(self) -> None:
        """Set the one timer for whatever is due first; called when a draft or a reel was opened."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dues = []
        if self._recorder.opened_ms is not None:
            self._draft_anchor.opened(self._slept_ns())
            dues.append(self._recorder.opened_ms + self._recorder.limits.max_age_ms)
        if self._camera is not None and self._camera.reel is not None:
            self._reel_anchor.opened(self._slept_ns())
            dues.append(self._camera.reel.t0_ms + self._ages.screens_ms)
        if dues:
            wait_s = max(0, min(dues) - self._now_ms()) / 1000
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._due)

    def _due(self) -> None:
        self._timer = None
        now_ms = self._now_ms()
        if self._recorder.is_full(now_ms):
            self.close_events()
        reel = self._camera.reel if self._camera is not None else None
        if reel is not None and (
            now_ms - reel.t0_ms >= self._ages.screens_ms or reel.encoder.pending_bytes >= self._ages.screens_bytes
        ):
            self.close_screens()
        self.arm()

    def check(self) -> None:
        """Close what has reached a limit; called after each frame and when a draft is full."""
        self._due()

    @property
    def open(self) -> int:
        """How many future chunks are open or on their way to the spool."""
        reel = self._camera.reel if self._camera is not None else None
        waiting = len(self._waiting) + (self._packed is not None) + len(self._tasks)
        return waiting + (self._recorder.opened_ms is not None) + (reel is not None and reel.frames > 0)

    def close_events(self) -> None:
        """Close the open draft and begin to store it."""
        now = self._clocks()
        draft = self._recorder.close(now.source_ms)
        zero_wall_ns = self._draft_anchor.closed(now)
        if draft is not None:
            self._hold(Closed(draft, zero_wall_ns, draft.raw_bytes))
            self._start(self._store_waiting())

    def close_screens(self) -> None:
        """Close the open reel and begin to develop and store it."""
        if self._camera is not None and self._camera.reel is not None:
            self._start(self._develop(self._camera, self._reel_anchor.closed(self._clocks())))

    def retry(self) -> None:
        """Store what waits for the disk, if anything does."""
        if self._waiting or self._packed:
            self._start(self._store_waiting())

    def discard_waiting(self) -> None:
        """Forget what waits in memory for a disk that would not take it."""
        self._waiting.clear()
        self._telling_waiting.clear()
        self._waiting_bytes = 0
        if not self._tasks:
            self._packed = None

    async def settle(self) -> None:
        """Before something is deleted: give up what waits for the disk, and return when what was closed is stored, where it
        can be named and deleted."""
        self.discard_waiting()
        await self.close_all()
        self.arm()

    async def close_all(self) -> None:
        """Close everything and return when it is stored (or waits for the disk)."""
        self.close_events()
        self.close_screens()
        self.retry()
        if self._timer is not None:
            self._timer.cancel()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="store a chunk")
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._recorder.drop("chunks that could not be made")
            self._on_error(error if isinstance(error, Exception) else RuntimeError(str(error)))

    def _clocks(self) -> Clocks:
        return Clocks(time.time_ns(), self._now_ms(), self._slept_ns())

    async def _develop(self, camera: Camera, zero_wall_ns: int) -> None:
        reel = await camera.cut()
        if reel is not None:
            section = await asyncio.get_running_loop().run_in_executor(self._thread, reel.develop)
            self._hold(Closed(Negative(reel, section), zero_wall_ns, len(section)))
            await self._store_waiting()

    def _hold(self, closed: Closed) -> None:
        if self._waiting_bytes + closed.size_bytes > MAX_WAITING_BYTES:
            self._recorder.drop("the disk is full and so is memory: chunk lost")
            return
        if isinstance(closed.item, Draft):
            self._telling_waiting.append(self._telling)
            self._telling = []
        self._waiting.append(closed)
        self._waiting_bytes += closed.size_bytes

    async def _store_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._storing:
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            while self._waiting or self._packed:
                if self._packed is None:
                    closed = self._waiting.popleft()
                    self._waiting_bytes -= closed.size_bytes
                    self._packed = await loop.run_in_executor(self._thread, self._pack, closed)
                packed, kind = self._packed
                try:
                    gaps = await loop.run_in_executor(self._thread, self._put, packed)
                except Exception as error:  # whatever the disk says: the chunk stays, the person is told
                    self._on_error(error)
                    self._retry = loop.call_later(DISK_RETRY_S, self.retry)
                    return
                self._packed = None
                if kind == "events" and self._telling_waiting:
                    told = self._telling_waiting.popleft()
                    await loop.run_in_executor(self._thread, self._spool.told, told)
                self._on_error(None)
                self.sizes.add(packed, kind)
                self.note(gaps)
                self._on_stored(packed, kind)

    def _pack(self, closed: Closed) -> tuple[Packed, str]:
        item, chunk_id = closed.item, self._spool.next_id()
        if isinstance(item, Draft):
            packed = pack_draft(
                item,
                chunk_id,
                wall_t0_ns=closed.zero_wall_ns + item.t0_ms * NS_PER_MS,
                thinning=self._thinning(),
                stamp=self._stamp,
            )
            return packed, "events"
        packed = pack_screens(
            item.section,
            chunk_id,
            t0_ms=item.reel.t0_ms,
            wall_t0_ns=closed.zero_wall_ns + item.reel.t0_ms * NS_PER_MS,
            duration_ms=item.reel.duration_ms,
            raw_bytes=item.reel.raw_bytes,
            stamp=self._stamp,
        )
        return packed, "screens"

    def _put(self, packed: Packed) -> list[Gap]:
        now_wall_ns = time.time_ns()
        ready_wall_ns = now_wall_ns + self._ages.hold_back_ns
        gaps = self._spool.put(packed.chunk_id, packed.chunk, value=packed.value, ready_wall_ns=ready_wall_ns)
        self._keep(packed)
        return [*gaps, *self._spool.expire(now_wall_ns - self._ages.spool_ns), *self._spool.take_losses()]

    def tell_nothing(self) -> None:
        """The open draft is discarded, and with it what it tells of losses: they come up again at the next opening."""
        self._telling.clear()

    def note(self, gaps: Sequence[Gap]) -> None:
        """Record that chunks of this device will not arrive, so that nobody looks for them in the archive."""
        by_reason: dict[str, list[int]] = {}
        for gap in gaps:
            self._telling.append(gap.chunk_id)
            by_reason.setdefault(gap.reason, []).append(gap.chunk_id.seq)
        for reason, seqs in by_reason.items():
            self._recorder.row(self._now_ms(), "gap", {"cause": reason, "seqs": ",".join(map(str, sorted(seqs)))})
            self._recorder.drop(f"chunks: {reason}", len(seqs))
        self.arm()
