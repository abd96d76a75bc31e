"""Shell: what a process and its children take of the machine, from /proc: sampled from outside, four times a second.

CPU is user and system time of every live process of the tree and of children that were waited for. Resident memory is the
sum over the tree, pages that two of them share counted twice (a tree of one process has none). Syncs are counted by perf
where it may (root), else not at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

STEP_S = 0.25
WINDOW_S = 1.0
"""The p99 of the CPU share is over windows of so long."""

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SYNCS = ("syscalls:sys_enter_fsync", "syscalls:sys_enter_fdatasync")


@dataclass(frozen=True, slots=True)
class Sample:
    """A tree at one moment: cpu_s and switches (voluntary) since it began; rss_bytes, threads, files (descriptors) now."""

    at_s: float
    cpu_s: float
    switches: int
    rss_bytes: int
    written_bytes: int
    threads: int
    files: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a tree took over a stretch.

    Attributes:
        seconds: how long. cpu_mean, cpu_p99: shares of one core. switches_s: voluntary context switches a second.
        rss_steady, rss_peak: bytes: the median and the most. written_bytes: to the disk. syncs: fsync and fdatasync; None =
            not counted. threads, files: at the end.
    """

    seconds: float
    cpu_mean: float
    cpu_p99: float
    switches_s: float
    rss_steady: int
    rss_peak: int
    written_bytes: int
    syncs: int | None
    threads: int
    files: int


@dataclass
class Meter:
    """Samples a tree until it is stopped; `between` tells of a stretch."""

    pid: int
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="meter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            sample = look(self.pid)
            if sample is not None:
                self.samples.append(sample)
            self._stop.wait(STEP_S)

    def between(self, began_s: float, ended_s: float, syncs: int | None = None) -> Cost | None:
        """Return what was taken between two moments of the monotonic clock; None when the tree was not there."""
        return self.over([(began_s, ended_s)], syncs)

    def over(self, stretches: Sequence[tuple[float, float]], syncs: int | None = None) -> Cost | None:
        """Return what was taken in several stretches together, without what lies between them."""
        parts = [[one for one in self.samples if began <= one.at_s <= ended] for began, ended in stretches]
        return cost_of(parts, syncs)


def cost_of(parts: Sequence[Sequence[Sample]], syncs: int | None = None) -> Cost | None:
    """Return what stretches of samples, each in order of time, say together; None when none has two."""
    parts = [part for part in parts if len(part) >= 2]
    if not parts:
        return None
    shares: list[float] = []
    for part in parts:
        start = part[0]
        for sample in part[1:]:
            if sample.at_s - start.at_s >= WINDOW_S:
                shares.append((sample.cpu_s - start.cpu_s) / (sample.at_s - start.at_s))
                start = sample
    shares.sort()
    rss = sorted(sample.rss_bytes for part in parts for sample in part)
    seconds = sum(part[-1].at_s - part[0].at_s for part in parts)
    mean = sum(part[-1].cpu_s - part[0].cpu_s for part in parts) / seconds
    return Cost(
        seconds=seconds,
        cpu_mean=mean,
        cpu_p99=shares[min(len(shares) - 1, int(len(shares) * 0.99))] if shares else mean,
        switches_s=sum(part[-1].switches - part[0].switches for part in parts) / seconds,
        rss_steady=rss[len(rss) // 2],
        rss_peak=rss[-1],
        written_bytes=sum(part[-1].written_bytes - part[0].written_bytes for part in parts),
        syncs=syncs,
        threads=parts[-1][-1].threads,
        files=parts[-1][-1].files,
    )


def tree(pid: int) -> list[int]:
    """Return the process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += children.get(one, [])
    return found


def look(pid: int) -> Sample | None:
    """Return the tree's state now; None when its root is gone."""
    cpu = switches = rss = written = threads = files = 0
    at_s = time.monotonic()
    for one in tree(pid):
        try:
            process = Path(f"/proc/{one}")
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            cpu += sum(map(int, stat[11:15]))  # utime, stime, and those of children that were waited for
            rss += int(stat[21]) * PAGE_BYTES
            for task in (process / "task").iterdir():
                text = (task / "status").read_text()
                switches += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
                threads += 1
            with contextlib.suppress(PermissionError):
                written += int((process / "io").read_text().partition("\nwrite_bytes:")[2].split()[0])
                files += len(list((process / "fd").iterdir()))
        except (OSError, IndexError):
            if one == pid:
                return None
    return Sample(at_s, cpu / TICKS, switches, rss, written, threads, files)


class SyncCounter:
    """Counts fsync and fdatasync of a process and its children by perf, for the length of a `with` block.

    Attributes:
        count: how many; None where perf cannot tell.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._perf: subprocess.Popen[bytes] | None = None
        self.count: int | None = None

    def __enter__(self) -> SyncCounter:
        self.count = None
        program = shutil.which("perf")
        if program is not None:
            self._out = tempfile.NamedTemporaryFile(prefix="modicum-perf-", suffix=".csv")
            events = [word for event in SYNCS for word in ("-e", event)]
            self._perf = subprocess.Popen(
                [program, "stat", *events, "-x,", "-o", self._out.name, "-p", str(self._pid)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._perf is None:
            return
        self._perf.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._perf.wait(5)
        if self._perf.poll() is None:
            self._perf.kill()
        lines = Path(self._out.name).read_text().splitlines()
        counts = [line.split(",")[0] for line in lines if "sys_enter_f" in line]
        if len(counts) == len(SYNCS):
            self.count = sum(int(count) for count in counts if count.isdigit())  # else "<not counted>": it never ran
        self._out.close()
