"""Shell: a look over a whole archive: does everything decode, and is anything missing that no gap record explains?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from codec.errors import CodecError, Denied
from codec.model import ChunkId, Row
from codec.reader import Recording
from transport.errors import Missing
from transport.exports.lines import kind_of

if TYPE_CHECKING:
    from codec.seal import KeyRing
    from transport.archive import Store

Progress = Callable[[int, int], None]
"""Called with (chunks done, chunks in all)."""

Range = tuple[int, int]
"""First and last of a run of sequence numbers."""


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


def verify(
    store: Store,
    private: KeyRing,
    *,
    progress: Progress = lambda done, of: None,
    signature: Callable[[bytes], str] = lambda chunk: "",
) -> Report:
    """Decode everything, and look for holes in the sequences.

    Args:
        store: the archive. private: its key. progress: see there.
        signature: given a chunk, says what is wrong with its signature, "": nothing (transport.registry.Registry.signature).

    Raises:
        Denied: not one chunk is sealed for this key.
    """
    report = Report()
    denied: Denied | None = None
    chunk_ids = sorted(store.iterate())
    explained: dict[tuple[str, int], list[Range]] = {}
    for done, chunk_id in enumerate(chunk_ids, 1):
        try:
            _verify_chunk(store.get(chunk_id), chunk_id, private, report, explained, signature)
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
    for device in {device for device, _ in present}:
        for range_ in store.gone(device):
            explained.setdefault((device, range_.epoch), []).append((range_.first, range_.last))
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
    signature: Callable[[bytes], str],
) -> None:
    from codec.chunk import decode_body, open_chunk

    header, body_bytes = open_chunk(data, private)
    if header.chunk_id != chunk_id:
        report.problems.append(f"{chunk_id}: holds chunk {header.chunk_id}")
        return
    if why := signature(data):
        report.problems.append(f"{chunk_id}: {why}")
    recording = Recording(header, decode_body(body_bytes))
    for event in recording.events():
        if isinstance(event, Row):
            report.rows += 1
            report.by_kind[event.kind] += 1
            if event.kind == "gap" and isinstance(seqs := event.fields.get("seqs"), str):
                explained.setdefault((chunk_id.device, chunk_id.epoch), []).extend(read_ranges(seqs))
        else:
            report.events += 1
            report.by_kind[kind_of(event)] += 1
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
