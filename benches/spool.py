"""Measure how the spool opens with much in it: `python -m benches.spool [--gigabytes 10] [--json OUT]`.

Fills a spool through its own `put` (payloads are holes in the file, so that 10 GB take some megabytes of disk and seconds of time), then
opens it in a fresh process, as after a crash, and prints the time, how much memory that took, and the same for smaller spools beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from codec.model import ChunkId
from transport.fs import Handle, Open, RealFiles
from transport.spool import Spool

CHUNK_BYTES = 200_000
DEVICE = "dev-0"

PROBE = """\
import sys, time
from pathlib import Path
from transport.fs import RealFiles
from transport.spool import Spool
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
began = time.perf_counter()
spool = Spool.open(RealFiles(), Path(sys.argv[1]), device="dev-0", limit_bytes=int(sys.argv[2]))
opened = time.perf_counter()
first = spool.ready(1, most=16)
usage = spool.usage()
print(opened - began, time.perf_counter() - opened, peak() - before, usage.chunks,
      usage.live_bytes, len(first))
"""


class SparseHandle:
    """A file that leaves holes where zeros are written, and syncs only its small writes."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def pread(self, size_bytes: int, offset: int) -> bytes:
        return self._handle.pread(size_bytes, offset)

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        size = len(data)
        if size > 1 << 16:
            self._handle.pwrite(data[:4096], offset)
            self._handle.truncate(max(self._handle.size_bytes(), offset + size))
            return size
        return self._handle.pwrite(data, offset)

    def size_bytes(self) -> int:
        return self._handle.size_bytes()

    def truncate(self, size_bytes: int) -> None:
        self._handle.truncate(size_bytes)

    def allocate(self, size_bytes: int) -> None:
        self._handle.allocate(size_bytes)

    def sync(self) -> None:
        """Nothing is to survive here."""

    def close(self) -> None:
        self._handle.close()


class SparseFiles(RealFiles):
    """The operating system's files, written with holes."""

    def open(self, path: Path, how: Open) -> Handle:
        return SparseHandle(super().open(path, how))

    def sync_dir(self, path: Path) -> None:
        """As for files."""


def fill(folder: Path, size_bytes: int) -> None:
    """Fill a spool and leave it as a crash would: by the sudden end of this process."""
    spool = Spool.open(SparseFiles(), folder, device=DEVICE, limit_bytes=2 * size_bytes + (64 << 20))
    chunk = bytes(CHUNK_BYTES)
    count = max(1, size_bytes // CHUNK_BYTES)
    for number in range(count):
        chunk_id: ChunkId = spool.next_id()
        spool.put(chunk_id, chunk, value=0 if number % 8 else 200, ready_wall_ns=0)
    os._exit(0)


def measure(folder: Path, size_bytes: int) -> dict[str, float]:
    """Open the spool in a fresh process; return seconds, bytes and counts."""
    limit = str(2 * size_bytes + (64 << 20))
    done = subprocess.run([sys.executable, "-c", PROBE, str(folder), limit], capture_output=True, text=True, check=True)
    opening_s, ready_s, grown_kib, chunks, live_bytes, ready = map(float, done.stdout.split())
    return {
        "opening_s": opening_s,
        "ready_s": ready_s,
        "memory_bytes": grown_kib * 1024,
        "chunks": chunks,
        "live_bytes": live_bytes,
        "ready": ready,
    }


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.1, 1.0, 10.0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fill", nargs=2, help=argparse.SUPPRESS)
    its = parser.parse_args()
    if its.fill:
        fill(Path(its.fill[0]), int(its.fill[1]))
    results: dict[str, dict[str, float]] = {}
    print(f"{'spool':>8}  {'chunks':>7}  {'filling':>9}  {'opening':>9}  {'first 16':>9}  {'memory':>9}")
    for gigabytes in its.gigabytes:
        with tempfile.TemporaryDirectory() as name:
            folder, size = Path(name) / "spool", int(gigabytes * 1e9)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "benches.spool", "--fill", str(folder), str(size)], check=True)
            filling_s = time.perf_counter() - began
            found = measure(folder, size)
        results[f"{gigabytes:g} GB"] = found
        print(
            f"{gigabytes:5g} GB  {found['chunks']:7.0f}  {filling_s:7.1f} s  {found['opening_s'] * 1000:6.0f} ms  "
            f"{found['ready_s'] * 1000:6.0f} ms  {found['memory_bytes'] / 1e6:6.1f} MB"
        )
    if its.json:
        its.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
