"""The transport's processes for the kill tests: `python -m tests.integration.transport_roles publisher|collector ...`.

The publisher also makes the chunks, and writes a line for each after the spool has confirmed it: that is the truth that
the archive is compared with.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
import time
from pathlib import Path

from tests.transport.kit import parse_tiny, tiny_chunk
from transport.archive import FolderStore
from transport.collector import Collector, CollectorSettings
from transport.exchange import Permit
from transport.fs import RealFiles
from transport.ledger import Ledger
from transport.limits import Limits, Link
from transport.mqtt import Broker, Protocol
from transport.publisher import Progress, Publisher, PublisherSettings
from transport.session import SessionLimits
from transport.spool import Spool


async def publish(folder: Path, device: str, port: int, protocol: str, seed: int, until_count: int) -> None:
    """Make chunks until the log has `until_count` of them, publish them, and end when the spool is empty."""
    files = RealFiles()
    rng = random.Random(seed)
    spool = Spool.open(files, folder / device / "spool", device=device, limit_bytes=256 << 20)
    ledger = Ledger(
        files,
        folder / device / "ledger",
        Limits(day_bytes=1 << 34),
        wall_ns=time.time_ns(),
        mono_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    )
    log = (folder / device / "confirmed").open("a+")
    totals = (folder / device / "totals").open("a")
    log.seek(0)
    made = len(log.readlines())
    progress = Progress("idle")

    def note(now: Progress) -> None:
        nonlocal progress
        if now.sent_chunks != progress.sent_chunks:
            print(os.getpid(), now.sent_chunks, now.resent_chunks, file=totals, flush=True)
        progress = now

    settings = PublisherSettings(
        Broker("127.0.0.1", port, device, protocol=Protocol(protocol), connect_timeout_s=3.0),
        SessionLimits(answer_min_s=1.0, answer_cap_s=4.0),
        linger_s=0.3,
        reconnect_base_s=0.1,
        reconnect_cap_s=0.5,
        unheard_base_s=0.1,
        unheard_cap_s=0.5,
    )
    publisher = Publisher(settings, spool, ledger, conditions=lambda: Permit(Link.UNMETERED), on_progress=note, rng=rng)
    work = asyncio.create_task(publisher.run())
    while not work.done():
        if made < until_count:
            chunk_id = spool.next_id()
            chunk = tiny_chunk(chunk_id, rng.randbytes(rng.choice([200, 2_000, 20_000, 100_000])))
            spool.put(chunk_id, chunk, value=rng.choice([0, 100, 200]), ready_wall_ns=0)
            print(chunk_id, hashlib.sha256(chunk).hexdigest(), file=log, flush=True)
            made += 1
        elif not spool.usage().chunks:
            break
        await asyncio.sleep(rng.uniform(0, 0.05))
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    spool.close()
    (folder / device / "finished").touch()


async def collect(folder: Path, name: str, port: int, protocol: str, seed: int) -> None:
    """Collect until killed."""
    settings = CollectorSettings(
        Broker("127.0.0.1", port, name, protocol=Protocol(protocol), connect_timeout_s=3.0),
        answer_delay_s=0.1,
        reconnect_base_s=0.1,
        reconnect_cap_s=0.5,
    )
    archive = FolderStore(RealFiles(), folder / "archive")
    await Collector(settings, archive, parse=parse_tiny, rng=random.Random(seed)).run()


def main() -> None:
    """Play the role that the arguments name."""
    role, folder, name, port, protocol, seed, *rest = sys.argv[1:]
    if role == "publisher":
        asyncio.run(publish(Path(folder), name, int(port), protocol, int(seed), int(rest[0])))
    else:
        asyncio.run(collect(Path(folder), name, int(port), protocol, int(seed)))


if __name__ == "__main__":
    main()
