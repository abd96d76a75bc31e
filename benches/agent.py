"""The bench of cost: what recording takes of a machine, phase by phase, beside others on the same script.

    python -m benches.agent [--minutes 5] [--seed 1] [--peer NAME ...] [--json OUT]

For each recorder a fresh virtual desktop with real applications is started, and the same scripted person (same seed) works on
it: idle, typing, browsing, scrolling, a video playing, `--minutes` in all. Around that, how long input takes to an application
is measured, with nothing recording first. `benches/README.md` says how to read the table.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benches import latency
from benches.cost import Cost, Meter, SyncCounter
from benches.desktop import DesktopError, VirtualDesktop
from benches.person import SHARES, Person
from benches.recorders import NAMES, Nothing, Recorder, make, to_json

PHASES = ("idle", "typing", "browsing", "scrolling", "video")
CALM_S = 6.0
"""Before a phase's idleness is measured: what came before is closed and sent, and the connection has lingered."""

DAY_H = 8.0
WORK = {"idle": 0.30, "typing": 0.30, "browsing": 0.20, "scrolling": 0.15, "video": 0.05}
"""The share of each phase in an hour at the desk, for the bytes of a working day: reading counts as idle here."""


@dataclass(slots=True)
class Phase:
    """What one phase cost. bytes_h: bytes of recordings an hour, by kind; written: as measured."""

    cost: Cost | None
    bytes_h: dict[str, float] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """What one recorder cost.

    Attributes:
        phases: by name. whole: the active phases together. latency_us: median and p99 while it records.
        stop_s: seconds until it had ended; None: it had to be killed. ended: it ended by itself, early.
        day_bytes: of a working day, by WORK.
    """

    name: str
    phases: dict[str, Phase] = field(default_factory=dict)
    whole: Cost | None = None
    latency_us: tuple[float, float] | None = None
    stop_s: float | None = None
    ended: bool = False
    day_bytes: float = 0.0


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benches.agent", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5, help="of work, for each recorder (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="what the scripted person does (default 1)")
    parser.add_argument("--peer", action="append", choices=NAMES, help="only these; may be repeated (default: all)")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has openadapt-capture")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--display", type=int, help="the display's number (default: a free one)")
    options = parser.parse_args(arguments)
    # In the background a shell has Ctrl-C ignored, which what is started here would inherit: it could not be stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results = [run(Nothing(), options.seed, 0.0, options.display)]
    for name in options.peer or NAMES:
        recorder = make(name, options.peer_python)
        if isinstance(recorder, str):
            print(f"left out: {recorder}", flush=True)
            continue
        print(f"{recorder.name}: {options.minutes:g} min ...", file=sys.stderr, flush=True)
        try:
            results.append(run(recorder, options.seed, options.minutes * 60, options.display))
        except DesktopError as error:
            print(f"modicum: {error}", file=sys.stderr)
            return 1
    print(table(results))
    if options.json:
        options.json.write_text(to_json(plain(results)), encoding="utf-8")
    return 0


def run(recorder: Recorder, seed: int, seconds: float, number: int | None = None) -> Result:
    """Let the person work beside a recorder, and measure.

    Args:
        seconds: of work, all phases together; 0: only the latency. number: the display's.
    """
    result = Result(recorder.name)
    with tempfile.TemporaryDirectory(prefix="modicum-bench-") as name, VirtualDesktop(display=number) as desktop:
        apps = sorted({window.app for window in desktop.display.windows() if window.app != "Tint2"})
        person = Person(desktop, seed)
        recorder.start(desktop.environment, Path(name), apps)
        meter = Meter(recorder.pid)
        try:
            if seconds:
                meter.start()
                _phases(recorder, person, meter, seconds / len(PHASES), result)
            found = latency.measure(desktop.name, desktop.authority, seed=seed)
            result.latency_us = found.median_us, found.p99_us
        finally:
            result.ended = recorder.ended()
            if seconds:
                meter.stop()
            result.stop_s = recorder.stop()
            person.close()
    return result


def _phases(recorder: Recorder, person: Person, meter: Meter, seconds: float, result: Result) -> None:
    before = recorder.written()
    stretches = []
    for name in PHASES:
        if name == "idle":
            time.sleep(CALM_S)
        began = time.monotonic()
        with SyncCounter(recorder.pid) as syncs:
            person.do(name, seconds)
            ended = time.monotonic()
        cost = meter.between(began, ended, syncs.count)
        after = recorder.written()
        written = {kind: after.get(kind, 0) - before.get(kind, 0) for kind in sorted({*before, *after})}
        result.phases[name] = Phase(cost, written=written)
        before = after
        if name != "idle":
            stretches.append((began, ended))
        if recorder.ended():
            break
    result.whole = meter.over(stretches)
    hourly(result.phases, seconds, recorder.chunks_h)
    result.day_bytes = sum(DAY_H * WORK[name] * sum(phase.bytes_h.values()) for name, phase in result.phases.items())


def hourly(phases: dict[str, Phase], seconds: float, chunks_h: Mapping[str, float]) -> None:
    """Set each phase's bytes an hour.

    Each phase was closed as a chunk of its own, which in an hour of work are few: a chunk's fixed bytes (its first whole
    picture), which are all that the idle phase has, are counted as often as chunks are closed in an hour, and the rest by time.

    Args:
        phases: with what was written. seconds: each phase's length. chunks_h: by kind, how many are closed in an hour; a kind
            that is not there has no chunks.
    """
    fixed = phases["idle"].written if "idle" in phases else {}
    for phase in phases.values():
        for kind, size in phase.written.items():
            once = fixed.get(kind, 0) if kind in chunks_h else 0
            phase.bytes_h[kind] = max(0, size - once) * 3600 / seconds + once * chunks_h.get(kind, 0)


def plain(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Return results as values for JSON."""
    return [asdict(result) for result in results]


def table(results: list[Result]) -> str:
    """Return two Markdown tables: by recorder, and by recorder and phase."""
    nothing = next((one for one in results if one.name == "nothing"), None)
    base = nothing.latency_us if nothing else None
    lines = [
        "| recorder | CPU, active: mean / p99 | CPU, idle | wake-ups/s, active / idle | RSS, steady / peak | input latency, p50 / p99 | "
        "8 h of work | stop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        idle = one.phases.get("idle", Phase(None)).cost
        whole = one.whole
        late = "" if one.latency_us is None else f"{one.latency_us[0]:.0f} / {one.latency_us[1]:.0f} µs"
        if base and one.latency_us and one is not nothing:
            late += f" ({one.latency_us[0] - base[0]:+.0f})"
        stopped = "ended by itself" if one.ended else "killed" if one.stop_s is None else f"{one.stop_s:.1f} s"
        cells = [
            one.name,
            f"{whole.cpu_mean:.2%} / {whole.cpu_p99:.1%}" if whole else "",
            f"{idle.cpu_mean:.3%}" if idle else "",
            f"{whole.switches_s:.1f} / {idle.switches_s:.2f}" if whole and idle else "",
            f"{whole.rss_steady / 2**20:.0f} / {whole.rss_peak / 2**20:.0f} MiB" if whole else "",
            late,
            f"{one.day_bytes / 1e6:.1f} MB" if one.phases else "",
            stopped if one.phases else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| recorder | phase | CPU | wake-ups/s | RSS | written | syncs | events/h | screens/h |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        for name, phase in one.phases.items():
            cost = phase.cost
            if cost is None:
                lines.append(f"| {one.name} | {name} | it was not there | | | | | | |")
                continue
            cells = [
                one.name,
                name,
                f"{cost.cpu_mean:.2%}",
                f"{cost.switches_s:.1f}",
                f"{cost.rss_steady / 2**20:.0f} MiB",
                f"{cost.written_bytes / 1e6:.1f} MB",
                "?" if cost.syncs is None else str(cost.syncs),
                f"{phase.bytes_h.get('events', 0) / 1e3:.0f} kB",
                f"{phase.bytes_h.get('screens', 0) / 1e3:.0f} kB",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


assert set(WORK) == set(PHASES)
assert set(PHASES) <= set(SHARES)

if __name__ == "__main__":
    sys.exit(main())
