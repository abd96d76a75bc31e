"""The transport's processes for tests: `python -m tests.integration.transport_roles publisher|collector --folder ...`.

The publisher also makes the chunks, and writes a line for each after the spool has confirmed it: that is the truth that
the archive is compared with. It leaves in its folder:

    confirmed   a line for each chunk that the spool took: id, SHA-256
    lost        a line for each chunk that the spool gave up: id, reason
    totals      a line at each sending: process id, sent, sent again
    states      a line for each state that the publisher goes through
    finished    exists once everything was made and the spool is empty
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.transport.kit import parse_tiny, tiny_chunk
from transport.archive import FolderStore
from transport.collector import Collector, CollectorEvent, CollectorSettings
from transport.errors import SpoolFull, StorageFailed
from transport.exchange import Permit
from transport.fs import RealFiles
from transport.ledger import Ledger
from transport.limits import Limits, Link
from transport.mqtt import Broker, Protocol, Tls
from transport.publisher import Progress, Publisher, PublisherSettings
from transport.session import SessionLimits
from transport.spool import Gap, Spool


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("publisher", "collector"))
    parser.add_argument("--folder", type=Path, required=True, help="of the run; the role's own is NAME in it")
    parser.add_argument("--archive", type=Path, help="the collector's; by default FOLDER/archive")
    parser.add_argument("--notes", type=Path, help="where the publisher's notes go; by default FOLDER/NAME")
    parser.add_argument("--name", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", default="5")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--chunks", type=int, default=0)
    parser.add_argument("--sizes", default="200,2000,20000,100000", help="of chunks, in bytes")
    parser.add_argument("--values", default="0,100,200", help="of chunks")
    parser.add_argument("--pause", type=float, default=0.05, help="longest pause between two chunks, in seconds")
    parser.add_argument("--day-bytes", type=int, default=1 << 34)
    parser.add_argument("--time-zone", default="UTC")
    parser.add_argument("--spool-bytes", type=int, default=256 << 20)
    parser.add_argument("--clock", type=Path, help="a file with seconds that the wall clock is off; read at SIGUSR1")
    parser.add_argument("--answer-min", type=float, default=1.0)
    parser.add_argument("--answer-cap", type=float, default=4.0)
    parser.add_argument("--answer-delay", type=float, default=0.1)
    parser.add_argument("--later", type=int, default=1)
    return parser


def broker_of(its: argparse.Namespace) -> Broker:
    """Return where to connect."""
    tls = Tls(its.ca, its.certificate, its.key) if its.ca else None
    return Broker(its.host, its.port, its.name, tls=tls, protocol=Protocol(its.protocol), connect_timeout_s=5.0)


def follow(clock: Path) -> None:
    """Let this process's wall clock be off by what a file says, from now on and whenever SIGUSR1 comes."""
    true_ns, off_ns = time.time_ns, 0

    def read(*_: object) -> None:
        nonlocal off_ns
        off_ns = int(float(clock.read_text()) * 1e9)

    read()
    signal.signal(signal.SIGUSR1, read)
    time.time_ns = lambda: true_ns() + off_ns


async def publish(its: argparse.Namespace) -> None:
    """Make chunks until the log has `chunks` of them, publish them, and end when the spool is empty."""
    files, folder = RealFiles(), its.folder / its.name
    folder.mkdir(exist_ok=True)
    notes = its.notes or folder
    rng = random.Random(its.seed)
    sizes, values = ([int(word) for word in words.split(",")] for words in (its.sizes, its.values))
    spool = Spool.open(files, folder / "spool", device=its.name, limit_bytes=its.spool_bytes, when_full="pause")
    ledger = Ledger(
        files,
        folder / "ledger",
        Limits(day_bytes=its.day_bytes, time_zone=its.time_zone),
        wall_ns=time.time_ns(),
        mono_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    )
    log = (notes / "confirmed").open("a+")
    totals = (notes / "totals").open("a")
    states = (notes / "states").open("a")
    losses = (notes / "lost").open("a")
    log.seek(0)
    made = len(log.readlines())
    progress = Progress("")

    def note(now: Progress) -> None:
        nonlocal progress
        if now.sent_chunks != progress.sent_chunks:
            print(os.getpid(), now.sent_chunks, now.resent_chunks, file=totals, flush=True)
        if now.state != progress.state:
            print(os.getpid(), now.state, *now.reasons, file=states, flush=True)
        progress = now

    def lose(gaps: list[Gap]) -> None:
        for gap in gaps:
            print(gap.chunk_id, gap.reason, file=losses, flush=True)

    settings = PublisherSettings(
        broker_of(its),
        SessionLimits(answer_min_s=its.answer_min, answer_cap_s=its.answer_cap),
        linger_s=0.3,
        reconnect_base_s=0.1,
        reconnect_cap_s=0.5,
        unheard_base_s=0.1,
        unheard_cap_s=0.5,
    )
    publisher = Publisher(
        settings,
        spool,
        ledger,
        conditions=lambda: Permit(Link.UNMETERED),
        on_progress=note,
        on_loss=lose,
        ledger_clock_ns=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        rng=rng,
    )
    work = asyncio.create_task(publisher.run())
    chunk_id = chunk = None
    while not work.done():
        if made < its.chunks:
            if chunk_id is None:
                chunk_id = spool.next_id()
                chunk = tiny_chunk(chunk_id, rng.randbytes(rng.choice(sizes)))
                value = rng.choice(values)
            try:
                spool.put(chunk_id, chunk, value=value, ready_wall_ns=0)
            except SpoolFull:
                chunk_id = None if spool.next_id() != chunk_id else chunk_id
                await asyncio.sleep(0.2)
                continue
            except StorageFailed:
                await asyncio.sleep(0.2)  # the disk is full: the same chunk once more, as the recorder does
                continue
            print(chunk_id, hashlib.sha256(chunk).hexdigest(), file=log, flush=True)
            chunk_id = None
            made += 1
        elif not spool.usage().chunks:
            break
        await asyncio.sleep(rng.uniform(0, its.pause) if made < its.chunks else 0.05)
    if work.done():
        work.result()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    spool.close()
    (notes / "finished").touch()


async def collect(its: argparse.Namespace) -> None:
    """Collect until killed."""
    settings = CollectorSettings(
        broker_of(its),
        answer_delay_s=its.answer_delay,
        later_s=its.later,
        reconnect_base_s=0.1,
        reconnect_cap_s=0.5,
    )

    def note(event: CollectorEvent) -> None:
        if event.kind in ("failed", "refused", "disconnected"):
            print(
                f"{time.time():.3f} {its.name} {event.kind} {event.chunk_id} {event.text}", file=sys.stderr, flush=True
            )

    archive = FolderStore(RealFiles(), its.archive or its.folder / "archive")
    await Collector(settings, archive, note, parse=parse_tiny, rng=random.Random(its.seed)).run()


def main() -> None:
    """Play the role that the arguments name."""
    its = arguments().parse_args()
    if its.clock:
        follow(its.clock)
    asyncio.run(publish(its) if its.role == "publisher" else collect(its))


if __name__ == "__main__":
    main()
