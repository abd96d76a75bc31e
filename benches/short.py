"""A short form of every bench, and whether anything got worse: what continuous integration runs.

    python -m benches.short [--check | --write] [--only NAME ...] [--out FOLDER]

Compared are ratios of lines of one run, never absolute times: bytes over a peer's bytes, CPU over a peer's CPU, so that a
slower machine changes nothing. Each ratio has its tolerance: 10 %, and more where the same code was seen to differ by more
from run to run (CPU, on a machine that has other things to do). `--check` holds them against `benches/baseline.json` and fails
on what is worse; `--write` writes a new baseline.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.recorders import to_json

BASELINE = Path(__file__).resolve().parent / "baseline.json"
MINUTES = 0.5
HOUSEHOLDS = 12
SCREEN_CODECS = ("modicum", "x264 veryfast", "JPEG q75")


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of a run.

    Attributes:
        name: BENCH.WHAT. value: lower is better. tolerance: by how much it may be worse than the baseline's. means: in words.
    """

    name: str
    value: float
    tolerance: float
    means: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A ratio beside the baseline's. before: None where there is none. worse: it fails."""

    ratio: Ratio
    before: float | None

    @property
    def change(self) -> float | None:
        """By how much it is larger, as a share; None without a baseline."""
        if self.before is None:
            return None
        if self.before == 0:
            return 0.0 if self.ratio.value == 0 else float("inf")
        return self.ratio.value / self.before - 1

    @property
    def worse(self) -> bool:
        """Whether it is worse by more than its tolerance."""
        return self.change is not None and self.change > self.ratio.tolerance


def events(folder: Path) -> list[Ratio]:
    """Run `benches.events` on invented persons."""
    _run("benches.events", ["--sample", "8", "--json", str(folder / "events.json")])
    by = {one["codec"]: one for one in _read(folder / "events.json")["results"]}
    smaller, json_lines = by["modicum, the smaller"], by["JSON lines + zstd-19"]
    columns = by["modicum, method A (columns)"]
    return [
        Ratio(
            "events.bytes",
            smaller["bytes_per_event"] / json_lines["bytes_per_event"],
            0.10,
            "bytes an event, of JSON lines with zstd-19",
        ),
        Ratio(
            "events.columns-bytes",
            columns["bytes_per_event"] / json_lines["bytes_per_event"],
            0.10,
            "the same by the cheap method",
        ),
        Ratio(
            "events.cpu",
            smaller["encode_us"] / json_lines["encode_us"],
            0.60,
            "CPU of encoding, of JSON lines with zstd-19",
        ),
    ]


def screens(folder: Path) -> list[Ratio]:
    """Run `benches.screens` on a painted desktop."""
    only = [word for name in SCREEN_CODECS for word in ("--only", name)]
    _run("benches.screens", [*only, "--json", str(folder / "screens.json")])
    by = {one["codec"]: one for one in _read(folder / "screens.json")["results"]}
    small, fast, jpeg, x264 = (by[n] for n in ("modicum small", "modicum fast", "JPEG q75", "x264 veryfast crf 28"))
    return [
        Ratio(
            "screens.small-bytes", small["kib_per_frame"] / jpeg["kib_per_frame"], 0.10, "bytes a frame, of JPEG q75"
        ),
        Ratio("screens.fast-bytes", fast["kib_per_frame"] / x264["kib_per_frame"], 0.10, "bytes a frame, of x264"),
        Ratio("screens.loss", (1 - fast["text_ssim"]) / (1 - jpeg["text_ssim"]), 0.10, "lost of text, of JPEG q75"),
        Ratio(
            "screens.fast-cpu",
            fast["cpu_ms_per_frame"] / x264["cpu_ms_per_frame"],
            0.50,
            "CPU a frame, of x264 veryfast",
        ),
        Ratio("screens.fast-memory", fast["peak_mib"] / x264["peak_mib"], 0.25, "peak memory, of x264 veryfast"),
    ]


def budget(folder: Path) -> list[Ratio]:
    """Run `benches.budget` for some households."""
    _run("benches.budget", ["--households", str(HOUSEHOLDS), "--json", str(folder / "budget.json")])
    ours = _read(folder / "budget.json")["rules"]["modicum"]
    return [
        Ratio("budget.over", ours["months_over"] / ours["months"], 0.0, "months over budget, of all"),
        Ratio("budget.unused", 2 - ours["used_median"], 0.10, "2 less the share of a scarce budget that was used"),
        Ratio(
            "budget.dark", 2 - ours["hours_with_screenshots"], 0.10, "2 less the share of hours that have screenshots"
        ),
    ]


def agent(folder: Path) -> list[Ratio]:
    """Run `benches.agent` beside the pynput logger."""
    _run(
        "benches.agent",
        ["--minutes", str(MINUTES), "--peer", "modicum-fast", "--peer", "pynput", "--json", str(folder / "agent.json")],
    )
    by = {one["name"]: one for one in _read(folder / "agent.json")}
    ours, peer = (by.get(name, {}).get("whole") for name in ("modicum, fast", "pynput logger"))
    if ours is None or peer is None:
        raise SystemExit("benches.agent: a recorder is not installed or ended by itself (xhost and pynput are needed)")
    return [
        Ratio("agent.memory", ours["rss_steady"] / peer["rss_steady"], 0.10, "steady memory, of a pynput logger's"),
        Ratio("agent.cpu", ours["cpu_mean"] / peer["cpu_mean"], 0.75, "CPU with screenshots, of a pynput logger's"),
        Ratio("agent.wakeups", ours["switches_s"] / peer["switches_s"], 0.75, "wake-ups, of a pynput logger's"),
    ]


BENCHES: dict[str, Callable[[Path], list[Ratio]]] = {
    "events": events,
    "screens": screens,
    "budget": budget,
    "agent": agent,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benches; return 1 when something got worse."""
    parser = argparse.ArgumentParser(prog="python -m benches.short", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail on what is worse than the baseline")
    parser.add_argument("--write", action="store_true", help="write the baseline")
    parser.add_argument("--only", action="append", choices=tuple(BENCHES), help="only these benches (repeatable)")
    parser.add_argument("--out", type=Path, help="write results.json, results.md and each bench's own JSON there")
    options = parser.parse_args(arguments)
    baseline = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    with tempfile.TemporaryDirectory(prefix="modicum-short-") as name:
        folder = options.out or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        verdicts = []
        for bench in options.only or BENCHES:
            began = time.monotonic()
            ratios = BENCHES[bench](folder)
            print(f"{bench}: {time.monotonic() - began:.0f} s\n", flush=True)
            verdicts += [Verdict(ratio, baseline.get(ratio.name)) for ratio in ratios]
        text = table(verdicts)
        print(text)
        if options.out:
            (folder / "results.md").write_text(text + "\n", encoding="utf-8")
            (folder / "results.json").write_text(
                to_json({one.ratio.name: {"value": one.ratio.value, "baseline": one.before} for one in verdicts}),
                encoding="utf-8",
            )
    if options.write:
        baseline |= {one.ratio.name: round(one.ratio.value, 4) for one in verdicts}
        BASELINE.write_text(to_json(dict(sorted(baseline.items()))), encoding="utf-8")
    worse = [one.ratio.name for one in verdicts if one.worse]
    if options.check and worse:
        print(f"worse than the baseline: {', '.join(worse)}", file=sys.stderr)
        return 1
    return 0


def table(verdicts: list[Verdict]) -> str:
    """Return a Markdown table."""
    lines = ["| ratio | now | baseline | change | may be | | what it is |", "|---|---|---|---|---|---|---|"]
    for one in verdicts:
        before = "none" if one.before is None else f"{one.before:.4f}"
        change = "" if one.change is None else f"{one.change:+.1%}"
        mark = "**worse**" if one.worse else "ok"
        ratio = one.ratio
        lines.append(
            f"| {ratio.name} | {ratio.value:.4f} | {before} | {change} | +{ratio.tolerance:.0%} | {mark} | {ratio.means} |"
        )
    return "\n".join(lines)


def _run(module: str, arguments: list[str]) -> None:
    """Run a bench as a process of its own: what one leaves in memory is none of the next one's."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=BASELINE.parent.parent)
    if done.returncode:
        raise SystemExit(f"{module} failed ({done.returncode})")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
