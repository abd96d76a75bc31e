"""Shell: an archive's recordings as files that other programs open: MP4 and JSON lines.

Guarantees: only what the stated purpose, the expiry and the key permit is written, and what was left out is counted by
reason; memory stays within one chunk and one frame, whatever the archive's size. JSON lines lose nothing of events and
rows. MP4 loses pixels (it is encoded again), and frames of another size are scaled to the first one's.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from codec import reader
from codec.errors import CodecError, Denied
from codec.model import ChunkId, Frame, KeyClass, PointerKind, Row
from codec.reader import Event, KeyEvent, Recording
from transport.errors import Missing

if TYPE_CHECKING:
    from codec.seal import KeyRing
    from transport.archive import Store

Progress = Callable[[int, int], None]
"""Called with (chunks done, chunks in all)."""

Range = tuple[int, int]
"""First and last of a run of sequence numbers."""

POINTER_NAMES = {int(kind): kind.name.lower().replace("_", "-") for kind in PointerKind}
KEY_NAMES = {int(kind): kind.name.lower() for kind in KeyClass}


@dataclass(slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: where. devices: how many folders in it.
        chunks, events, rows, frames: how many.
        left_out: chunks that were not permitted or did not decode, by reason.
    """

    folder: str
    devices: int = 0
    chunks: int = 0
    events: int = 0
    rows: int = 0
    frames: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def export(
    store: Store,
    private: KeyRing,
    folder: Path,
    *,
    purpose: str,
    now_s: int,
    devices: Sequence[str] = (),
    progress: Progress = lambda done, of: None,
) -> Exported:
    """Write each device's recording into a folder of its own: `events.jsonl`, `screens.mp4`, `about.json`.

    Args:
        store: the archive.
        private: its key.
        folder: is made; a device's folder in it must not exist yet.
        purpose: what the files are for; chunks whose person did not agree to it are left out.
        now_s: wall seconds since 1970; what has expired is left out.
        devices: only these; empty: all.
        progress: see there.

    Raises:
        FileExistsError: the export would overwrite an earlier one.
    """
    made = Exported(str(folder))
    by_device: dict[str, list[ChunkId]] = {}
    for chunk_id in store.iterate():
        if not devices or chunk_id.device in devices:
            by_device.setdefault(chunk_id.device, []).append(chunk_id)
    of = sum(map(len, by_device.values()))
    for device, chunk_ids in sorted(by_device.items()):
        target = folder / device
        target.mkdir(mode=0o700, parents=True)
        made.devices += 1
        _export_device(store, private, target, chunk_ids, made, purpose, now_s, lambda: progress(made.chunks, of))
    return made


def _export_device(
    store: Store,
    private: KeyRing,
    folder: Path,
    chunk_ids: Sequence[ChunkId],
    made: Exported,
    purpose: str,
    now_s: int,
    step: Callable[[], None],
) -> None:
    from codec.video import write_mp4

    about: dict[str, Any] = {"purpose": purpose, "purposes": set(), "consents": set(), "regions": set(), "expires_s": 0}

    def recordings() -> Iterator[Recording]:
        for chunk_id in sorted(chunk_ids):
            try:
                recording = reader.open(store.get(chunk_id), private, purpose=purpose, now_s=now_s)
            except Missing:  # erased since the archive was listed
                continue
            except Denied:
                made.left_out["not permitted, expired, or sealed for another key"] += 1
                continue
            except CodecError:
                made.left_out["does not decode: `modicum archive verify` says why"] += 1
                continue
            made.chunks += 1
            meta = recording.meta
            about["purposes"].update(meta.purposes)
            about["consents"].add(meta.consent.hex())
            about["regions"].add(meta.region)
            about["expires_s"] = min(filter(None, (about["expires_s"], meta.expires_s)), default=0)
            step()
            yield recording

    def frames(lines: IO[str]) -> Iterator[Frame]:
        for recording in recordings():
            for event in recording.events():
                lines.write(json.dumps(to_line(recording, event), ensure_ascii=False, separators=(",", ":")) + "\n")
                made.rows += isinstance(event, Row)
                made.events += not isinstance(event, Row)
            for frame in recording.frames():
                made.frames += 1
                yield Frame(frame.t_ms + recording.meta.t0_ms, frame.pixels, frame.screen)

    with _private(folder / "events.jsonl") as lines:
        write_mp4(folder / "screens.mp4", frames(lines))
    if (folder / "screens.mp4").exists():
        os.chmod(folder / "screens.mp4", 0o600)
    with _private(folder / "about.json") as file:
        json.dump(
            {key: sorted(value) if isinstance(value, set) else value for key, value in about.items()}, file, indent=1
        )


def _private(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")


def to_line(recording: Recording, event: Event) -> dict[str, Any]:
    """Return an event as the object of one JSON line.

    `t_ms` is the source clock (comparable over a device's chunks), `wall_ns` the wall clock by the chunk's binding.
    """
    line: dict[str, Any] = {"t_ms": recording.meta.t0_ms + event.t_ms, "wall_ns": recording.wall_ns(event.t_ms)}
    if isinstance(event, Row):
        fields = {key: value.hex() if isinstance(value, bytes) else value for key, value in event.fields.items()}
        return line | {"kind": event.kind, **fields}
    if isinstance(event, KeyEvent):
        name = KEY_NAMES.get(event.code, str(event.code))
        return line | {"kind": "key-press" if event.down else "key-release", "class": name, "slot": event.slot}
    name = POINTER_NAMES.get(event.kind, f"button-{event.kind // 2}-{'release' if event.kind % 2 else 'press'}")
    return line | {"kind": name, "x": event.x, "y": event.y}


@dataclass(slots=True)
class Report:
    """What a verification found.

    Attributes:
        chunks, events, rows, frames, bytes: what decoded.
        holes: sequence numbers that are missing without a gap record that explains them, by device and epoch.
        problems: chunks that are damaged or can't be opened, each with what is wrong.
        by_kind: events and rows by kind.
    """

    chunks: int = 0
    events: int = 0
    rows: int = 0
    frames: int = 0
    bytes: int = 0
    holes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    by_kind: Counter[str] = field(default_factory=Counter)

    @property
    def is_sound(self) -> bool:
        """Nothing is damaged, nothing is missing."""
        return not (self.holes or self.problems)

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"is_sound": self.is_sound}


def verify(store: Store, private: KeyRing, *, progress: Progress = lambda done, of: None) -> Report:
    """Decode everything, and look for holes in the sequences.

    Args:
        store: the archive. private: its key. progress: see there.

    Raises:
        Denied: not one chunk is sealed for this key.
    """
    report = Report()
    denied: Denied | None = None
    chunk_ids = sorted(store.iterate())
    explained: dict[tuple[str, int], list[Range]] = {}
    for done, chunk_id in enumerate(chunk_ids, 1):
        try:
            _verify_chunk(store.get(chunk_id), chunk_id, private, report, explained)
        except Missing:  # erased since the archive was listed
            continue
        except Denied as error:
            denied = error
            report.problems.append(f"{chunk_id}: {error}")
        except CodecError as error:
            report.problems.append(f"{chunk_id}: {error}")
        progress(done, len(chunk_ids))
    if denied is not None and not report.chunks:
        raise denied
    present: dict[tuple[str, int], list[Range]] = {}
    for chunk_id in chunk_ids:
        present.setdefault((chunk_id.device, chunk_id.epoch), []).append((chunk_id.seq, chunk_id.seq))
    for (device, epoch), numbers in sorted(present.items()):
        missing = holes(numbers + explained.get((device, epoch), []))
        if missing:
            report.holes.append(f"{device}/{epoch:08x}: {show_ranges(missing)}")
    return report


def _verify_chunk(
    data: bytes,
    chunk_id: ChunkId,
    private: KeyRing,
    report: Report,
    explained: dict[tuple[str, int], list[Range]],
) -> None:
    from codec.chunk import decode_body, open_chunk

    header, body_bytes = open_chunk(data, private)
    if header.chunk_id != chunk_id:
        report.problems.append(f"{chunk_id}: holds chunk {header.chunk_id}")
        return
    recording = Recording(header, decode_body(body_bytes))
    for event in recording.events():
        if isinstance(event, Row):
            report.rows += 1
            report.by_kind[event.kind] += 1
            if event.kind == "gap" and isinstance(seqs := event.fields.get("seqs"), str):
                explained.setdefault((chunk_id.device, chunk_id.epoch), []).extend(read_ranges(seqs))
        else:
            report.events += 1
            report.by_kind[str(to_line(recording, event)["kind"])] += 1
    frames = sum(1 for _ in recording.frames())
    report.frames += frames
    report.by_kind["frame"] += frames
    report.chunks += 1
    report.bytes += len(data)


def read_ranges(text: str) -> Iterator[Range]:
    """Read "3, 7-9" as (3, 3) and (7, 9); what is no such list explains nothing."""
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (last.isdecimal() or not last):
            yield int(first), int(last or first)


def show_ranges(ranges: Iterable[Range]) -> str:
    """Return ranges as "3, 7-9"."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def holes(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges of numbers from 0 to the largest that none of `ranges` covers."""
    found: list[Range] = []
    expected = 0
    for first, last in sorted(ranges):
        if first > expected:
            found.append((expected, first - 1))
        expected = max(expected, last + 1)
    return found


def describe_export(done: Exported) -> str:
    """Return an export's outcome as lines for a person."""
    lines = [
        f"{done.folder}: {done.devices} device{'s' * (done.devices != 1)}, {done.chunks:,} chunks, {done.events:,} events, "
        f"{done.rows:,} rows, {done.frames:,} frames"
    ]
    lines += [f"left out: {count:,} chunks, {reason}" for reason, count in done.left_out.items()]
    return "\n".join(lines)


def describe_report(report: Report) -> str:
    """Return a verification's outcome as lines for a person."""
    lines = [
        f"{report.chunks:,} chunks decoded: {report.events:,} events, {report.rows:,} rows, {report.frames:,} frames, "
        f"{report.bytes:,} bytes"
    ]
    lines += [f"damaged: {problem}" for problem in report.problems]
    lines += [f"missing, with no gap record: {hole}" for hole in report.holes]
    lines.append("sound" if report.is_sound else "NOT sound")
    return "\n".join(lines)


def describe(recording: Recording) -> str:
    """Return what a chunk says of itself and holds, as lines for a person."""
    meta, body = recording.meta, recording.body
    wall = datetime.fromtimestamp(meta.wall_t0_ns / 1e9, UTC)
    frames = sum(1 for _ in recording.frames())
    facts = {
        "chunk": recording.header.chunk_id,
        "recorded": f"{wall:%Y-%m-%d %H:%M:%S} UTC, for {meta.duration_ms / 1000:.1f} s, by {meta.agent}",
        "purposes": ", ".join(meta.purposes) or "none",
        "consent": meta.consent.hex() or "none",
        "expires": f"{datetime.fromtimestamp(meta.expires_s, UTC):%Y-%m-%d}" if meta.expires_s else "never",
        "holds": f"{len(body.pointer):,} pointer events, {len(body.keys):,} key events, {len(body.rows):,} rows, "
        f"{frames:,} frames",
        "lossy steps": ", ".join(meta.lossy) or "none",
        "counters": ", ".join(f"{name}: {count:,}" for name, count in meta.counters.items()) or "none",
    }
    rows = [f"  {row.t_ms / 1000:9.3f} s  {row.kind}  {dict(row.fields)}" for row in body.rows]
    return "\n".join([*(f"{name:12}{value}" for name, value in facts.items()), *rows])
