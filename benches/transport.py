"""Measure the archive's side: `python -m benches.transport [--json OUT] [--million]`.

In one run, on one broker: sealed and signed chunks are published as fast as the broker takes them, and archived by 1, 2 and 4
collectors (each a process, sharing the work, verifying signatures, fsyncing before they acknowledge); beside them a bare
aiomqtt subscriber that writes each payload to a file, once without and once with an fsync. What a machine that does other
work says of the wall clock is noise; chunks per second of a collector's processor are what is to be compared.

Then the archive itself, filled with names of chunks (hard links: they take no room), from a thousand to 100,000 or, with
--million, to a million: how storing, looking up, listing and an expiry run grow with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benches import transport_roles
from codec.model import ChunkId
from transport.archive import CHUNKS_PER_FOLDER, FolderStore
from transport.broker import embedded
from transport.expiry import expire
from transport.fs import RealFiles

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 300.0
SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
LINKS_PER_FILE = 30_000
"""ext4 allows 65,000 names for one file."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one arrangement did.

    Attributes:
        name: what archived. processes: how many. chunks, payload_bytes: archived by all together.
        wall_s: from the first publish to the last file. cpu_s: of all the processes together.
        rss_start_bytes, rss_end_bytes: resident, of the largest, connected and idle, and after the last file.
    """

    name: str
    processes: int
    chunks: int
    payload_bytes: int
    wall_s: float
    cpu_s: float
    rss_start_bytes: int
    rss_end_bytes: int

    def row(self) -> str:
        """Return it as a line of the table."""
        return (
            f"| {self.name} | {self.chunks / self.wall_s:,.0f} | {self.payload_bytes / self.wall_s / 1e6:.1f} "
            f"| {self.chunks / self.cpu_s:,.0f} | {self.payload_bytes / self.cpu_s / 1e6:.1f} "
            f"| {self.rss_start_bytes / 2**20:.0f} → {self.rss_end_bytes / 2**20:.0f} |"
        )


@dataclass(frozen=True, slots=True)
class Growth:
    """What an archive of so many chunks takes. Times in µs a chunk, median; list_s, expire_s: of all of it; rss: of this process."""

    chunks: int
    open_ms: float
    put_us: float
    contains_us: float
    list_us: float
    expire_us: float
    rss_bytes: int

    def row(self) -> str:
        """Return it as a line of the table."""
        return (
            f"| {self.chunks:,} | {self.open_ms:.1f} | {self.put_us:,.0f} | {self.contains_us:.1f} | {self.list_us:.1f} "
            f"| {self.expire_us:.1f} | {self.rss_bytes / 2**20:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--chunks", type=int, default=2000, help="to archive in each arrangement")
    parser.add_argument("--kib", type=int, default=20, help="size of a chunk")
    parser.add_argument("--devices", type=int, default=16)
    parser.add_argument("--million", action="store_true", help="let the archive grow to a million chunks")
    parser.add_argument("--only", choices=["throughput", "growth"], help="only this half")
    args = parser.parse_args()
    figures: list[Figures] = []
    growth: list[Growth] = []
    with tempfile.TemporaryDirectory(prefix="modicum-bench-") as scratch:
        if args.only != "growth":
            print(
                f"{args.chunks:,} chunks of {args.kib} KiB of {args.devices} devices, one broker\n\n"
                "| what archives | chunks/s | MB/s | chunks a CPU second | MB a CPU second | MiB resident |\n|---|---|---|---|---|---|"
            )
            for made in throughput(Path(scratch), args.chunks, args.kib << 10, args.devices):
                figures.append(made)
                print(made.row(), flush=True)
        if args.only != "throughput":
            print(
                "\n| chunks in the archive | open ms | put µs | contains µs | list µs | expire µs | MiB resident |\n"
                "|---|---|---|---|---|---|---|"
            )
            for size in (*SIZES, *([MILLION] if args.million else [])):
                growth.append(grown(Path(scratch) / "growing", size))
                print(growth[-1].row(), flush=True)
    if args.json:
        found = {"throughput": [asdict(one) for one in figures], "growth": [asdict(one) for one in growth]}
        args.json.write_text(json.dumps(found, indent=1))


# -- throughput


def throughput(scratch: Path, chunks: int, chunk_bytes: int, devices: int) -> Iterator[Figures]:
    """Measure each arrangement in turn, on a broker of its own."""
    arrangements = [("aiomqtt and files", "bare", 1), ("aiomqtt and files, fsync", "bare-sync", 1)]
    arrangements += [(f"modicum, {n} collector{'s' * (n > 1)}", "collector", n) for n in (1, 2, 4)]
    for name, role, count in arrangements:
        folder = scratch / f"{role}-{count}"
        folder.mkdir()
        with embedded(folder / "broker") as broker:
            yield measure(name, role, count, folder, broker.port, chunks, chunk_bytes, devices)
        shutil.rmtree(folder)


def measure(
    name: str, role: str, count: int, folder: Path, port: int, chunks: int, chunk_bytes: int, devices: int
) -> Figures:
    archive = folder / "archive"
    sealed = transport_roles.sealed_chunks(archive / ".devices", chunks, chunk_bytes, devices)
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(running(role, port, archive, number)) for number in range(count)]
        for number in range(count):
            waited_for(lambda number=number: (archive / f".ready-{number}").exists(), "a collector to subscribe")
        rss_start = max(rss_bytes(worker.pid) for worker in workers)
        cpu_before = sum(cpu_s(worker.pid) for worker in workers)
        started = time.monotonic()
        asyncio.run(transport_roles.publish(port, sealed, lambda: stored(archive)))
        waited_for(lambda: stored(archive) >= chunks, "the last chunk to be stored")
        wall_s = time.monotonic() - started
        return Figures(
            name,
            count,
            chunks,
            sum(len(payload) for _, payload in sealed),
            wall_s,
            sum(cpu_s(worker.pid) for worker in workers) - cpu_before,
            rss_start,
            max(rss_bytes(worker.pid) for worker in workers),
        )


@contextlib.contextmanager
def running(role: str, port: int, archive: Path, number: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "benches.transport_roles", role, str(port), str(archive), str(number)]
    worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()


def stored(archive: Path) -> int:
    return sum(1 for path in archive.rglob("*.chunk"))


def waited_for(probe: object, what: str) -> None:
    assert callable(probe)
    deadline = time.monotonic() + PATIENCE_S
    while not probe():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE_S:.0f} s in vain for {what}")
        time.sleep(0.05)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_bytes(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


# -- growth


def grown(root: Path, size: int, *, batches: int = 9) -> Growth:
    """Let the archive grow to `size` chunks, and measure it."""
    grow(root, size)
    started = time.perf_counter()
    store = FolderStore(RealFiles(), root)
    open_ms = (time.perf_counter() - started) * 1e3
    puts = timed_puts(store, batches)
    asked = [ChunkId(device_of(number), 1, number // 16) for number in range(0, size, max(1, size // 2000))]
    started = time.perf_counter()
    found = sum(store.contains(chunk_id) for chunk_id in asked)
    contains_us = (time.perf_counter() - started) / len(asked) * 1e6
    assert found == len(asked)
    started = time.perf_counter()
    listed = sum(1 for _ in store.iterate())
    list_us = (time.perf_counter() - started) / listed * 1e6
    started = time.perf_counter()
    looked = expire(store, int(time.time()), dry_run=True)
    assert looked.looked_at == listed
    expire_us = (time.perf_counter() - started) / listed * 1e6
    return Growth(size, open_ms, sorted(puts)[len(puts) // 2], contains_us, list_us, expire_us, rss_bytes(os.getpid()))


def device_of(number: int) -> str:
    return f"bench-{number % 16:02d}"


def grow(root: Path, size: int) -> None:
    """Add names until there are `size` chunks of 16 devices; the files behind the names are few."""
    base = root.parent / "base"
    base.mkdir(exist_ok=True)
    store = FolderStore(RealFiles(), root)
    have = sum(1 for _ in store.iterate())
    payload = transport_roles.sealed(ChunkId("bench-00", 1, 0), 2 << 10)
    for number in range(have, size):
        source = base / f"{number // LINKS_PER_FILE}"
        if not source.exists():
            source.write_bytes(payload)
        path = store.path_of(ChunkId(device_of(number), 1, number // 16))
        if number // 16 % CHUNKS_PER_FOLDER == 0 or number == have:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, path)
        except FileExistsError:
            continue


def timed_puts(store: FolderStore, batches: int) -> list[float]:
    """Return what batches of 32 chunks of 20 KiB take, in µs a chunk; the first, which makes folders, does not count.

    They are removed again.
    """
    took, done = [], []
    for batch in range(batches):
        ids = [ChunkId(device_of(number), 2, batch * 2 + number // 16) for number in range(32)]
        payloads: Sequence[tuple[ChunkId, bytes]] = [(chunk_id, os.urandom(20 << 10)) for chunk_id in ids]
        started = time.perf_counter()
        store.put(payloads)
        took.append((time.perf_counter() - started) / len(ids) * 1e6)
        done += ids
    store.remove(done)
    return took[1:]


if __name__ == "__main__":
    main()
