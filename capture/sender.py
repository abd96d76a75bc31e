"""Shell: the composition root of what erases and sends orders without recording: where no agent runs, and after a withdrawal."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture import effects
from capture.agreement import answer_keys
from capture.forgetting import leave_note
from capture.parts import broker_of
from capture.review.copies import Copies
from capture.sources import clock
from capture.sources.network import NetworkSource
from transport.chunk_index import ChunkIndex
from transport.exchange import Permit
from transport.folder import Folder
from transport.fs import RealFiles
from transport.ledger import Ledger
from transport.limits import Limits, Link, boot_name
from transport.orders import Orders, Wanted
from transport.outbox import Outbox
from transport.outgoing import Outgoing
from transport.publisher import Progress, Publisher, PublisherSettings
from transport.spool import Spool

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home

EVENTS_VALUE = 1
"""Orders are worth more than any chunk; screenshots are not sent here."""


def spool_folder(config: Config, home: Home) -> Path:
    """Return where the spool lies."""
    return Path(config.spool.directory).expanduser() if config.spool.directory else home.spool


@contextlib.contextmanager
def opened_spool(config: Config, home: Home) -> Iterator[Spool]:
    """Open the spool for the length of a `with` block. Raises: Busy where an agent runs."""
    spool = Spool.open(
        RealFiles(),
        spool_folder(config, home),
        device=home.device(),
        limit_bytes=config.spool.limit,
        when_full=str(config.spool.when_full),
    )
    try:
        yield spool
    finally:
        spool.close()


def erase(config: Config, home: Home, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Erase where no agent runs; the orders wait for whoever sends next.

    Args:
        wanted: the fields of `transport.orders.Wanted`.

    Returns:
        See transport/orders.py, `Erased.to_answer`.
    """
    files = RealFiles()
    copies = Copies(Folder(files, home.copies), effects.bounds_of(config))
    with opened_spool(config, home) as spool:
        orders = Orders(
            home.device(),
            spool,
            ChunkIndex(files, home.index, home.device()),
            Outbox(files, home.erasures),
            signer=home.signing_key,
            forget_copies=lambda which: copies.forget(lambda copy: which(copy.chunk_id)),
        )
        done = orders.erase(Wanted(**wanted))
    leave_note(home.forgotten, done.here)
    return done.to_answer()


async def send(
    config: Config,
    home: Home,
    device: str,
    folder: Path,
    environment: Mapping[str, str],
    *,
    wait_s: float | None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """Send a device's orders, inside the budget, and wait for the archive's answers.

    Args:
        config, home: whose. device: the pseudonym; its topics are used. folder: of the outbox. environment: for the time zone.
        wait_s: at most so long; None: until all are answered. on_progress: told where it stands.

    Returns:
        Whether all were answered.
    """
    files, answered = RealFiles(), asyncio.Event()
    loop = asyncio.get_running_loop()
    outbox = Outbox(files, folder)

    def look(number: int, text: str) -> None:  # runs in the disk's thread
        if not outbox.waiting():
            loop.call_soon_threadsafe(answered.set)

    if not outbox.waiting():
        return True
    network = NetworkSource()
    with ThreadPoolExecutor(1, thread_name_prefix="ledger") as thread, _ledger(config, home, environment) as ledger:

        def permit() -> Permit:
            now = network.current()
            return Permit(Link(effects.link_class(config, now.link, now.name)), EVENTS_VALUE)

        publisher = Publisher(
            PublisherSettings(broker_of(config, device), answer_keys=answer_keys(config)),
            Outgoing(device, outbox, on_answer=look),
            ledger,
            conditions=permit,
            on_progress=on_progress,
            executor=thread,
            ledger_clock_ns=clock.boot_ns,
        )
        await network.start(publisher.wake)
        publishing = asyncio.create_task(publisher.run(), name="publisher")
        waiting = asyncio.create_task(answered.wait(), name="answers")
        try:
            await asyncio.wait({publishing, waiting}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()  # it works until it is cancelled: what ended it is an error
        finally:
            for task in (publishing, waiting):
                task.cancel()
            await asyncio.gather(publishing, waiting, return_exceptions=True)
            await network.stop()
    return not outbox.waiting()


@contextlib.contextmanager
def _ledger(config: Config, home: Home, environment: Mapping[str, str]) -> Iterator[Ledger]:
    ledger = Ledger(
        RealFiles(),
        home.ledger,
        Limits.from_table(effects.budget_table(config, time_zone=clock.local_time_zone(environment))),
        wall_ns=time.time_ns(),
        mono_ns=clock.boot_ns(),
        boot=boot_name(clock.boot_id()),
        synced=clock.is_synced,
    )
    try:
        yield ledger
    finally:
        ledger.close()
