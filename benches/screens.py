"""Measure the screen codec against its peers: `python -m benches.screens [VIDEO] [--spacing 2s] [--json OUT] [--plot
OUT]`.

VIDEO: any file whose frames PyAV decodes; frames are taken when they differ from the one before and are at least
`--spacing` apart. Without one, a seeded desktop is painted on the spot. Every codec gets the same frames in chunks of
at most 15 min, each in a forked child of its own, in one run; what it made is decoded and compared with what went in.
Bytes are of whole sealed chunks for this project, of bare files and packets for the others. CPU is process time with
children's, from a frame's pixels to the chunk's last byte. Peak memory is the child's above what it began with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from benches.events import parse_duration
from benches.painted import paint
from benches.screen_codecs import ScreenCodec, screen_codecs
from benches.text_ssim import text_ssim
from codec.errors import CodecError
from codec.model import Frame
from codec.video import pyav

CHUNK_MS = 15 * 60_000


@dataclass(frozen=True, slots=True)
class Result:
    """What one codec did with the frames; None where it was not measured (`note` says why)."""

    codec: str
    kib_per_frame: float | None = None
    cpu_ms_per_frame: float | None = None
    decode_ms_per_frame: float | None = None
    text_ssim: float | None = None
    worst_frame: float | None = None
    peak_mib: float | None = None
    note: str = ""


class Reel:
    """Frames, held losslessly compressed: a quarter of an hour raw would be gigabytes."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        squeeze = zstandard.ZstdCompressor(level=1)
        self._frames: list[tuple[int, tuple[int, ...], bytes]] = []
        before: Any = None
        for frame in frames:
            frame.pixels[..., 3] = 255
            if before is None or not np.array_equal(before, frame.pixels):
                self._frames.append((frame.t_ms, frame.pixels.shape, squeeze.compress(frame.pixels.tobytes())))
                before = frame.pixels

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        unsqueeze = zstandard.ZstdDecompressor()
        for t_ms, shape, data in self._frames:
            yield Frame(t_ms, np.frombuffer(unsqueeze.decompress(data), np.uint8).reshape(shape))

    @property
    def size(self) -> str:
        """Width x height, px."""
        return "x".join(map(str, self._frames[0][1][1::-1]))

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return (self._frames[-1][0] - self._frames[0][0]) / 1000


def read_video(path: Path, spacing_ms: int) -> Iterator[Frame]:
    """Yield a video's frames that are at least so far apart."""
    with pyav().open(str(path)) as container:
        latest_ms = -math.inf
        for picture in container.decode(video=0):
            t_ms = round(picture.time * 1000)
            if t_ms - latest_ms >= spacing_ms:
                latest_ms = t_ms
                yield Frame(t_ms, picture.to_ndarray(format="bgra"))


def measure(codec: ScreenCodec, reel: Reel) -> Result:
    """Run one codec over all chunks, in this process."""
    if codec.missing:
        return Result(codec.name, note=codec.missing)
    for frame in reel:  # what is loaded on first use is not a chunk's cost
        warm = codec.start()
        warm.add(Frame(0, np.ascontiguousarray(frame.pixels[:64, :64])))
        warm.finish()
        break
    _forget_peak()
    before_kib, peak_kib = _memory_kib("VmRSS"), 0
    cpu_s = decode_s = 0.0
    total_bytes = 0
    similar: list[Any] = []

    def timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
        start = _cpu_s()
        answer = call(*arguments)
        return answer, _cpu_s() - start

    def close() -> None:
        nonlocal cpu_s, decode_s, total_bytes, peak_kib
        cpu_s += timed(encoding.finish)[1]
        peak_kib = max(peak_kib, _memory_kib("VmHWM"))
        total_bytes += encoding.total_bytes
        decoded = encoding.decode()
        for frame in reel:
            if first_ms <= frame.t_ms <= last_ms:
                pixels, spent_s = timed(next, decoded, None)
                decode_s += spent_s
                if pixels is None:
                    raise ValueError("fewer frames came out than went in")
                height_px, width_px = pixels.shape[:2]
                similar.append(text_ssim(frame.pixels[:height_px, :width_px], pixels))
        if next(decoded, None) is not None:
            raise ValueError("more frames came out than went in")

    encoding, first_ms, last_ms = codec.start(), 0, -1
    for frame in reel:
        if last_ms < 0:
            first_ms = frame.t_ms
        elif frame.t_ms - first_ms >= CHUNK_MS:
            close()
            encoding, first_ms = codec.start(), frame.t_ms
            _forget_peak()
        last_ms = frame.t_ms
        cpu_s += timed(encoding.add, frame)[1]
    close()
    return Result(
        codec.name,
        kib_per_frame=total_bytes / 1024 / len(reel),
        cpu_ms_per_frame=cpu_s / len(reel) * 1000,
        decode_ms_per_frame=decode_s / len(reel) * 1000,
        text_ssim=float(np.concatenate(similar).mean(dtype=np.float64)),
        worst_frame=min((float(one.mean(dtype=np.float64)) for one in similar if len(one)), default=1.0),
        peak_mib=(peak_kib - before_kib) / 1024,
    )


def measure_apart(codec: ScreenCodec, reel: Reel) -> Result:
    """Run one codec in a forked child, so that its peak memory is its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            result = measure(codec, reel)
        except (CodecError, ValueError, TypeError, RuntimeError, OSError) as error:
            result = Result(codec.name, note=f"failed: {error}")
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    answer: Any = pickle.loads(data) if data else None  # noqa: S301 - our own child wrote it
    return answer if isinstance(answer, Result) else Result(codec.name, note="failed: its process died")


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _memory_kib(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def table(results: Sequence[Result]) -> str:
    """Return the results as a table for a terminal."""
    rows = [("codec", "KiB/frame", "CPU ms/frame", "text-ssim", "worst frame", "peak MiB", "decode ms")]
    for r in results:
        if r.kib_per_frame is None:
            rows.append((r.codec, r.note, "", "", "", "", ""))
            continue
        numbers = (r.kib_per_frame, r.cpu_ms_per_frame, r.text_ssim, r.worst_frame, r.peak_mib, r.decode_ms_per_frame)
        forms = ("{:.2f}", "{:.1f}", "{:.5f}", "{:.5f}", "{:.0f}", "{:.1f}")
        cells = [form.format(number) for form, number in zip(forms, numbers, strict=True)]
        rows.append((r.codec, *cells))  # type: ignore[arg-type]
    widths = [max(len(row[place]) for row in rows if row[2] or not place) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def plot(results: Sequence[Result]) -> str:
    """Return an SVG: KiB per frame against CPU, both on logarithmic scales."""
    points = [(r.codec, r.cpu_ms_per_frame, r.kib_per_frame) for r in results if r.cpu_ms_per_frame and r.kib_per_frame]
    width, height, left, bottom = 720, 440, 60, 50
    xs = [math.log10(point[1] or 1) for point in points] or [0.0]
    ys = [math.log10(point[2] or 1) for point in points] or [0.0]
    x0, x1, y0, y1 = min(xs) - 0.15, max(xs) + 0.5, min(ys) - 0.15, max(ys) + 0.15

    def at(x: float, y: float) -> tuple[float, float]:
        right, up = (x - x0) / (x1 - x0), (y - y0) / (y1 - y0)
        return left + right * (width - left - 20), height - bottom - up * (height - bottom - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">encoding, ms of CPU per frame</text>',
        f'<text transform="translate(14 {height / 2}) rotate(-90)" text-anchor="middle">KiB per frame</text>',
    ]
    for value in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        if x0 < math.log10(value) < x1:
            x, y = at(math.log10(value), y0)
            parts.append(f'<path d="M{x:.0f} 20V{y:.0f}" stroke="#ddd"/>')
            parts.append(f'<text x="{x:.0f}" y="{y + 14:.0f}" text-anchor="middle">{value:g}</text>')
        if y0 < math.log10(value) < y1:
            x, y = at(x0, math.log10(value))
            parts.append(f'<path d="M{x:.0f} {y:.0f}H{width - 20}" stroke="#ddd"/>')
            parts.append(f'<text x="{x - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{value:g}</text>')
    for (name, *_), x_log, y_log in zip(points, xs, ys, strict=False):
        x, y = at(x_log, y_log)
        colour = "#c33" if name.startswith("modicum") else "#358"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 7:.1f}" y="{y + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return the exit code: 0, 1 if a codec failed, 2 for a bad path."""
    parser = argparse.ArgumentParser(
        prog="python -m benches.screens", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path, metavar="VIDEO")
    parser.add_argument("--spacing", type=parse_duration, default="2s", help="the least between frames: 500ms, 2s, …")
    parser.add_argument("--only", action="append", metavar="TEXT", help="only codecs whose name holds it (repeatable)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results as JSON")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="write bytes against CPU as SVG")
    args = parser.parse_args(arguments)
    try:
        reel = Reel(read_video(args.video, args.spacing) if args.video else paint())
    except (OSError, ValueError, pyav().FFmpegError) as error:
        print(f"benches.screens: {args.video} cannot be read as a video: {error}", file=sys.stderr)
        return 2
    if not len(reel):
        print(f"benches.screens: {args.video} has no frames", file=sys.stderr)
        return 2
    print(f"{args.video or 'a painted desktop'}: {len(reel)} frames of {reel.size} px in {reel.seconds:.0f} s")
    results = []
    for codec in screen_codecs():
        if args.only and not any(text in codec.name for text in args.only):
            continue
        if sys.stdout.isatty():
            print(f"\r{codec.name} …\033[K", end="", flush=True)
        results.append(measure_apart(codec, reel))
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    print(table(results))
    if args.json:
        document = {
            "corpus": str(args.video or "painted"),
            "spacing_ms": args.spacing,
            "frames": len(reel),
            "size_px": reel.size,
            "python": platform.python_version(),
            "results": [asdict(result) for result in results],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        args.plot.write_text(plot(results) + "\n", encoding="utf-8")
    return int(any(result.note.startswith("failed") for result in results))


if __name__ == "__main__":
    sys.exit(main())
