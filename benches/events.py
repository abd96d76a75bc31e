"""Measure the events codec against its peers: `python -m benches.events PATH… [--chunk 5min] [--json OUT] [--plot
OUT]`.

PATH: recordings in a layout of `benches.recordings` (SapiMouse's CSV, JSON lines), folders or archives of them;
without one, a seeded corpus of invented persons is made on the spot. Every codec gets the same chunks, in one run;
each chunk's round trip is verified before its bytes count. Times are CPU time. Peak memory is that of a forked child
above what it began with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import platform
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benches.event_codecs import EventCodec, event_codecs
from benches.persons import Typist, move_hand
from benches.recordings import LayoutError, Piece, Recording, cut, read_recordings
from codec.errors import CodecError
from codec.model import KeyEvents, PointerEvents

UNITS_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class Result:
    """What one codec did with the corpus; None where it was not measured (`note` says why)."""

    codec: str
    bytes_per_event: float | None = None
    median_chunk_bytes: float | None = None
    encode_us: float | None = None
    decode_us: float | None = None
    peak_mib: float | None = None
    verified: bool = False
    note: str = ""


def parse_duration(text: str) -> int:
    """Return milliseconds of `30s`, `5min`, `1h`, …"""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)", text)
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 30s, 5min or 1h")
    return max(1, round(float(match[1]) * UNITS_MS[match[2]]))


def invented(seed: int = 7) -> list[Recording]:
    """Return a corpus of invented persons: pointers at 60 Hz to 1 kHz, and typing; the same for the same seed."""
    recordings = []
    for number, rate_hz in enumerate((60, 125, 125, 250, 500, 1000)):
        name = f"invented pointer {number} at {rate_hz} Hz"
        motion = move_hand(seed * 1000 + number, 240_000, rate_hz=rate_hz)
        recordings.append(Recording(name, name, motion, KeyEvents.empty()))
    for number in range(4):
        name = f"invented typist {number}"
        keys = Typist(seed * 1000 + number).type_for(240_000)
        recordings.append(Recording(name, name, PointerEvents.empty(), keys))
    return recordings


def same(one: Piece, other: Piece) -> bool:
    """Tell whether two pieces hold the same events, value for value."""
    return all(
        np.array_equal(getattr(getattr(one, stream), column), getattr(getattr(other, stream), column))
        for stream in ("pointer", "keys")
        for column in type(getattr(one, stream)).__slots__
    )


def measure(codec: EventCodec, pieces: Sequence[Piece]) -> Result:
    """Run one codec over all chunks, in this process."""
    if codec.missing:
        return Result(codec.name, note=codec.missing)
    before = _memory_kib("VmRSS")
    sizes, encode_ns, decode_ns = [], 0, 0
    codec.decode(codec.encode(pieces[0]))  # what is loaded on first use is not a chunk's cost
    for piece in pieces:
        start = time.process_time_ns()
        data = codec.encode(piece)
        middle = time.process_time_ns()
        again = codec.decode(data)
        decode_ns += time.process_time_ns() - middle
        encode_ns += middle - start
        if not same(piece, again):
            return Result(codec.name, note="WRONG: a chunk did not come back as it was")
        sizes.append(len(data))
    events = sum(map(len, pieces))
    peak = _memory_kib("VmHWM")
    return Result(
        codec.name,
        bytes_per_event=sum(sizes) / events,
        median_chunk_bytes=statistics.median(sizes),
        encode_us=encode_ns / events / 1000,
        decode_us=decode_ns / events / 1000,
        peak_mib=(peak - before) / 1024 if peak and before else None,
        verified=True,
    )


def measure_apart(codec: EventCodec, pieces: Sequence[Piece]) -> Result:
    """Run one codec in a forked child, so that its peak memory is its own."""
    if not hasattr(os, "fork"):
        return measure(codec, pieces)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            _forget_peak()
            result = measure(codec, pieces)
        except (CodecError, ValueError, TypeError, RuntimeError) as error:
            result = Result(codec.name, note=f"failed: {str(error).splitlines()[0]}")
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        return Result(codec.name, note="failed: its process died")
    result = pickle.loads(data)  # noqa: S301 - our own child wrote it
    return result if isinstance(result, Result) else Result(codec.name, note="failed: its process said nothing")


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _memory_kib(name: str) -> int:
    try:
        match = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(match[1]) if match else 0


def table(results: Sequence[Result]) -> str:
    """Return the results as a table for a terminal."""
    head = ("codec", "bytes/event", "median chunk", "encode µs/ev", "decode µs/ev", "peak MiB")
    rows = [head]
    for r in results:
        if r.bytes_per_event is None:
            rows.append((r.codec, r.note, "", "", "", ""))
            continue
        rows.append(
            (
                r.codec,
                f"{r.bytes_per_event:.3f}",
                f"{r.median_chunk_bytes:,.0f} B",
                f"{r.encode_us:.2f}",
                f"{r.decode_us:.2f}",
                "?" if r.peak_mib is None else f"{r.peak_mib:.1f}",
            )
        )
    widths = [max(len(row[i]) for row in rows if len(row[1]) < 15 or i == 0) for i in range(len(head))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def plot(results: Sequence[Result]) -> str:
    """Return an SVG: bytes per event against encoding time, both on logarithmic scales."""
    points = [(r.codec, r.encode_us, r.bytes_per_event) for r in results if r.encode_us and r.bytes_per_event]
    if not points:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="720" height="440"/>'
    width, height, left, bottom = 720, 440, 60, 50
    xs, ys = ([math.log10(point[i]) for point in points] for i in (1, 2))  # type: ignore[arg-type]
    x0, x1, y0, y1 = min(xs) - 0.15, max(xs) + 0.6, min(ys) - 0.1, max(ys) + 0.1

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - x0) / (x1 - x0) * (width - left - 20),
            height - bottom - (y - y0) / (y1 - y0) * (height - bottom - 20),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">encoding, µs of CPU per event</text>',
        f'<text transform="translate(14 {height / 2}) rotate(-90)" text-anchor="middle">bytes per event</text>',
    ]
    for value in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        if x0 < math.log10(value) < x1:
            x, y = at(math.log10(value), y0)
            parts.append(f'<path d="M{x:.0f} 20V{y:.0f}" stroke="#ddd"/>')
            parts.append(f'<text x="{x:.0f}" y="{y + 14:.0f}" text-anchor="middle">{value:g}</text>')
        if y0 < math.log10(value) < y1:
            x, y = at(x0, math.log10(value))
            parts.append(f'<path d="M{x:.0f} {y:.0f}H{width - 20}" stroke="#ddd"/>')
            parts.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{value:g}</text>')
    labels: list[tuple[float, float]] = []
    for (name, *_), x_log, y_log in zip(points, xs, ys, strict=True):
        x, y = at(x_log, y_log)
        level = y + 4
        while any(abs(level - other) < 12 and abs(x - place) < 200 for place, other in labels):
            level += 3
        labels.append((x, level))
        colour = "#c33" if name.startswith("modicum") else "#358"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 7:.1f}" y="{level:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return the exit code: 0, 1 if a round trip failed, 2 for a bad path."""
    parser = argparse.ArgumentParser(
        prog="python -m benches.events", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", metavar="PATH")
    parser.add_argument(
        "--chunk", type=parse_duration, default="5min", help="a chunk's duration: 30s, 5min (default), …"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results as JSON")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="write bytes against CPU as SVG")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="take only every N-th chunk")
    args = parser.parse_args(arguments)
    try:
        recordings = read_recordings(args.paths) if args.paths else invented()
    except (LayoutError, OSError) as error:
        print(f"benches.events: {error}", file=sys.stderr)
        return 2
    pieces = [piece for recording in recordings for piece in cut(recording, args.chunk)]
    pieces = pieces[:: args.sample or 1]
    events, keys = sum(map(len, pieces)), sum(len(piece.keys) for piece in pieces)
    print(
        f"{len(recordings)} recordings of {len({r.person for r in recordings})} persons"
        f"{'' if args.paths else ', invented'}: {events:,} events ({keys:,} of keys) "
        f"in {len(pieces)} chunks of ≤ {args.chunk / 1000:g} s"
    )
    results = []
    for codec in event_codecs():
        results.append(measure_apart(codec, pieces))
        if sys.stdout.isatty():
            print(f"\r{codec.name} done\033[K", end="", flush=True)
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    print(table(results))
    if args.json:
        document = {
            "corpus": list(args.paths) or "invented",
            "chunk_ms": args.chunk,
            "chunks": len(pieces),
            "events": events,
            "key_events": keys,
            "python": platform.python_version(),
            "results": [asdict(result) for result in results],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        args.plot.write_text(plot(results) + "\n", encoding="utf-8")
    return int(any(result.note.startswith(("WRONG", "failed")) for result in results))


if __name__ == "__main__":
    sys.exit(main())
