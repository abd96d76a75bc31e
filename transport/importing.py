"""Shell: recordings of DuckTrack and AgentNetTool become chunks of an archive, so that they can be shrunk and compared.

Guarantees: importing the same folder again adds nothing (ids are made of the event file's digest); what was left out is
counted by reason, here and in the chunks. Does not guarantee what those tools did not write down: whose time zone their
wall clock is in (it is taken for UTC), and what people had agreed to: that text must be given, and its SHA-256 is the
consent of every chunk.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from codec.chunk import Body, encode_body, seal_chunk
from codec.model import ChunkId, Frame, KeyEvents, Meta, PointerEvents
from transport import foreign
from transport.errors import Missing, TooLarge

if TYPE_CHECKING:
    from codec.seal import ArchivePublicKey, DeviceSigningKey
    from transport.archive import Store
EVENTS_MS = 5 * 60_000
SCREENS_MS = 15 * 60_000
"""As the agent closes its chunks."""
SCREENS_BYTES = 6 << 20
MAX_METADATA_BYTES = 1 << 20
VALUE_EVENTS, VALUE_SCREENS = 200, 0
VIDEOS = (".mp4", ".mkv", ".mov")


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for an imported recording: its purposes, the SHA-256 of what its people agreed to, its expiry (wall
    seconds since 1970) and where it may be kept ("" = anywhere)."""

    purposes: tuple[str, ...]
    consent: bytes
    expires_s: int
    region: str = ""


@dataclass(slots=True)
class Imported:
    """What an import did.

    Attributes:
        device: the id it has in the archive. chunks, new: how many there are of it, and how many were not there before.
        events, frames: how many. source_bytes, chunk_bytes: the folder's event file and video, and its chunks.
        left_out: lines that could not be read, by reason.
    """

    device: str = ""
    chunks: int = 0
    new: int = 0
    events: int = 0
    frames: int = 0
    source_bytes: int = 0
    chunk_bytes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def import_recording(
    folder: Path,
    store: Store,
    *,
    recipient: ArchivePublicKey,
    signer: DeviceSigningKey,
    terms: Terms,
    frame_interval_ms: int = 2000,
    progress: Callable[[Imported], None] = lambda done: None,
) -> Imported:
    """Add one recording's folder to an archive.

    Args:
        folder: with `events.jsonl`, `metadata.json` and, where there is one, a video.
        store: the archive. recipient: its key. signer: signs the chunks; whoever imports answers for them.
        terms: see there. frame_interval_ms: the shortest time between two screenshots that are kept.
        progress: called after every chunk.

    Raises:
        Missing: the folder has no `events.jsonl`. Corrupt, TooLarge: it is none of theirs.
    """
    events = folder / "events.jsonl"
    if not events.is_file():
        raise Missing(f"{folder} has no events.jsonl: name the folder of one recording of DuckTrack or AgentNetTool")
    done = Imported()
    with events.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    done.device, epoch = f"import-{digest.hex()[:20]}", int.from_bytes(digest[10:14])
    metadata = _metadata(folder / "metadata.json")
    video = next((path for path in sorted(folder.iterdir()) if path.suffix.lower() in VIDEOS), None)
    done.source_bytes = events.stat().st_size + (video.stat().st_size if video else 0)

    def keep(body: Body, value: int) -> None:
        chunk_id = ChunkId(done.device, epoch, done.chunks)
        chunk = seal_chunk(
            chunk_id,
            encode_body(body),
            recipient=recipient,
            signer=signer,
            expires_s=terms.expires_s,
            value=value,
        )
        (stored,) = store.put([(chunk_id, chunk)])
        done.chunks += 1
        done.new += stored.new
        done.chunk_bytes += len(chunk)
        progress(done)

    clock = _Clock(metadata, events)
    meta = Meta(
        t0_ms=0,
        wall_t0_ns=0,
        duration_ms=0,
        purposes=terms.purposes,
        consent=terms.consent,
        expires_s=terms.expires_s,
        region=terms.region,
        agent="imported",
        lossy=foreign.LOSSY,
    )
    for part in foreign.parts(_lines(folder), part_ms=EVENTS_MS):
        done.events += len(part.pointer) + len(part.keys)
        done.left_out.update(part.left_out)
        keep(
            Body(
                replace(
                    meta,
                    t0_ms=part.t0_ms,
                    wall_t0_ns=clock.wall_ns(part.t0_ms),
                    duration_ms=part.duration_ms,
                    counters=part.left_out,
                ),
                part.pointer,
                part.keys,
                list(part.rows),
                b"",
            ),
            VALUE_EVENTS,
        )
    if video is not None:
        for t0_ms, duration_ms, screen, frames in _reels(video, clock.video_ms, frame_interval_ms):
            done.frames += frames
            timed = replace(meta, t0_ms=t0_ms, wall_t0_ns=clock.wall_ns(t0_ms), duration_ms=duration_ms)
            keep(Body(timed, PointerEvents.empty(), KeyEvents.empty(), [], screen), VALUE_SCREENS)
    return done


class _Clock:
    """How the recorder's clock stands to the video and to the wall clock.

    Attributes:
        video_ms: the recorder's clock (ms) at the video's first picture.
    """

    def __init__(self, metadata: dict[str, Any], events: Path) -> None:
        started = metadata.get("obs_record_state_timings")
        started = started.get("OBS_WEBSOCKET_OUTPUT_STARTED") if isinstance(started, dict) else None
        at_s = metadata.get("video_start_timestamp", started[-1] if isinstance(started, list) and started else None)
        if isinstance(at_s, bool) or not isinstance(at_s, int | float) or not abs(at_s) < foreign.MAX_SECONDS:
            with events.open("rb") as lines:  # neither says when the video began: with the first event
                first = next(foreign.parts(lines, part_ms=1), None)
            at_s = 0.0 if first is None else first.t0_ms / 1000
        self.video_ms = round(at_s * 1000)
        try:
            began = datetime.strptime(str(metadata.get("start_time")), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            began = datetime.fromtimestamp(events.stat().st_mtime, UTC)
        self._wall_ns = int(began.timestamp()) * 1_000_000_000

    def wall_ns(self, t_ms: int) -> int:
        """Return the wall clock at a time of the recorder's clock; never before 1970."""
        return max(0, self._wall_ns + (t_ms - self.video_ms) * 1_000_000)


def _metadata(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if (size := path.stat().st_size) > MAX_METADATA_BYTES:
        raise TooLarge(f"{path.name} in bytes", actual=size, limit=MAX_METADATA_BYTES)
    try:
        read = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _lines(folder: Path) -> Iterator[bytes]:
    """Yield the events' lines, with AgentNetTool's window changes as events of their own between them."""
    with (folder / "events.jsonl").open("rb") as events:
        windows = folder / "top_window.jsonl"
        if not windows.is_file():
            yield from _bounded(events)
            return
        with windows.open("rb") as changes:
            yield from merge(_bounded(events), map(_focus, _bounded(changes)), key=_time_of)


def _bounded(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.readline(foreign.MAX_LINE_BYTES + 1), b"")


def _time_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["time_stamp"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0.0  # it is counted where the lines are read


def _focus(line: bytes) -> bytes:
    try:
        change = json.loads(line)
        event = {"time_stamp": change["time_stamp"], "action": "focus", "app": change["top_window_name"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return line
    return json.dumps(event).encode()


def _reels(video: Path, start_ms: int, interval_ms: int) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield (t0_ms, duration_ms, screen section, frames) for some minutes of the video each."""
    from codec.screen import Effort, ScreenEncoder
    from codec.video import read_frames

    encoder: ScreenEncoder | None = None
    t0_ms = latest_ms = count = 0
    for frame in read_frames(video, interval_ms=interval_ms):
        t_ms = start_ms + frame.t_ms
        if encoder is not None and (t_ms - t0_ms >= SCREENS_MS or encoder.pending_bytes >= SCREENS_BYTES):
            yield t0_ms, latest_ms - t0_ms, encoder.finish(), count
            encoder = None
        if encoder is None:
            encoder, t0_ms, count = ScreenEncoder(effort=Effort.SMALL), t_ms, 0
        latest_ms = t_ms
        count += encoder.add(Frame(t_ms - t0_ms, frame.pixels))
    if encoder is not None:
        yield t0_ms, latest_ms - t0_ms, encoder.finish(), count


def describe_import(done: Imported) -> str:
    """Return an import's outcome as lines for a person."""
    lines = [
        f"{done.device}: {done.chunks:,} chunks ({done.new:,} new), {done.events:,} events, {done.frames:,} frames",
        f"{done.source_bytes:,} bytes there, {done.chunk_bytes:,} bytes here",
    ]
    lines += [f"left out: {count:,} × {reason}" for reason, count in done.left_out.items()]
    return "\n".join(lines)
