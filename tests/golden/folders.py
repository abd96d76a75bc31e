"""Write the golden folders: `python -m tests.golden.folders`: what an agent and an archive of today leave on a disk.

A spool, a budget's ledger with a lease that was open when the process died, an index of chunks, what the governor has learned,
a record of consent, and an archive with a device's record. They are written once and then only opened, by every later version
(tests/test_golden_folders.py): an upgrade finds everything that the version before has left. One that is there is kept, unless
`--replace` is given, which is right only before a version's release.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

from capture.conditions import Settings
from capture.consent import Consent, digest
from capture.governor import Governor
from codec.chunk import seal_chunk
from codec.model import ChunkId
from codec.seal import Suite
from tests.golden.write import ARCHIVES, DEVICE
from transport.archive import FolderStore
from transport.chunk_index import ChunkIndex
from transport.devices import Device, SigningKey
from transport.fs import RealFiles
from transport.ledger import Ledger
from transport.limits import Lease, Limits, Link
from transport.registry import Registry
from transport.spool import Spool

FOLDER = Path(__file__).resolve().parent / "folders-v1"
NAME = "golden-device-01"
WALL_NS, MONO_NS = 1_790_000_000_000_000_000, 5_000_000_000
LIMITS = Limits(month_bytes=1_500_000_000, day_bytes=100_000_000)
SETTLED_BYTES, OPEN_BYTES = 40_000, 70_000
NOTICE = "what you agree to\n"


def body(number: int, size: int) -> bytes:
    """Return reproducible bytes."""
    return random.Random(number).randbytes(size)


def sealed(chunk_id: ChunkId, number: int, size: int) -> bytes:
    """Return a chunk; its seal differs each time."""
    return seal_chunk(
        chunk_id,
        body(number, size),
        recipient=ARCHIVES[Suite.X25519].public,
        signer=DEVICE,
        expires_s=1_900_000_000,
        value=200 if number % 2 else 0,
    )


def write(folder: Path) -> None:
    """Write everything into an empty folder."""
    files = RealFiles()
    spool = Spool.open(files, folder / "spool", device=NAME, limit_bytes=10_000_000)
    index = ChunkIndex(files, folder / "chunks", NAME)
    archive = FolderStore(files, folder / "archive")
    expected: dict[str, Any] = {"spool": {}, "archive": {}}
    for number in range(6):
        chunk_id = spool.next_id()
        chunk = sealed(chunk_id, number, 400 + 300 * number)
        spool.put(chunk_id, chunk, value=200 if number % 2 else 0, ready_wall_ns=WALL_NS + number)
        index.add(
            chunk_id, t0_wall_ms=1_790_000_000_000 + 300_000 * number, duration_ms=300_000, screens=number % 2 == 0
        )
        place = "archive" if number < 2 else "spool"
        if place == "archive":
            archive.put([(chunk_id, chunk)])
            spool.ack([chunk_id])
        expected[place][str(chunk_id.seq)] = hashlib.sha256(chunk).hexdigest()
        expected["epoch"] = chunk_id.epoch
    spool.close()
    record = Device(NAME, 1_790_000_000, (SigningKey(DEVICE.public, 1_790_000_000),))
    Registry(files, folder / "archive" / ".devices").change(NAME, lambda _: record)
    ledger = Ledger(files, folder / "ledger", LIMITS, wall_ns=WALL_NS, mono_ns=MONO_NS)
    for size in (50_000, OPEN_BYTES):
        lease = ledger.reserve(size, link=Link.UNMETERED, wall_ns=WALL_NS, mono_ns=MONO_NS)
        assert isinstance(lease, Lease)
        if size != OPEN_BYTES:
            ledger.settle(lease.id, SETTLED_BYTES, wall_ns=WALL_NS, mono_ns=MONO_NS, kinds={"events": SETTLED_BYTES})
    # It is not closed: this process dies here, and its open lease counts as spent.
    governor = Governor(Settings())
    governor.active(WALL_NS, 1800, "unmetered")
    (folder / "learned.json").write_text(json.dumps(governor.to_state(), indent=1) + "\n")
    (folder / "consent.json").write_bytes(Consent(digest(NOTICE), 1_790_000_000, NOTICE).to_json() + b"\n")
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def main() -> None:
    """Write the golden folders."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replace", action="store_true", help="write them anew: only before a version's release")
    if parser.parse_args().replace and FOLDER.exists():
        shutil.rmtree(FOLDER)
    if FOLDER.exists():
        print(f"{FOLDER.name} is there already")
        return
    FOLDER.mkdir()
    write(FOLDER)
    print(f"{FOLDER.name} is written")


if __name__ == "__main__":
    main()
