"""Shell: the agent's parts that the configuration alone determines: its stores, its desktop, where it sends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from capture import certificates, effects, log
from capture.keyfiles import read_private
from capture.packer import Thinning
from capture.review.copies import Copies
from capture.sources import clock

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home
    from capture.ladder import Plan
    from capture.sources.desktop import Desktop
    from capture.sources.portable import PortableDesktop
    from transport.chunk_index import ChunkIndex
    from transport.endpoint import Broker
    from transport.ledger import Ledger
    from transport.orders import Orders
    from transport.outbox import Outbox
    from transport.spool import Spool


@dataclass(frozen=True, slots=True)
class Stores:
    """What the agent keeps on the disk.

    Attributes:
        device: the pseudonym. spool: chunks that wait. copies: for the review page. index: which chunk covers which minutes.
        outbox: orders to erase. orders: makes them. ledger: the budget's.
    """

    device: str
    spool: Spool
    copies: Copies
    index: ChunkIndex
    outbox: Outbox
    orders: Orders
    ledger: Ledger


def open_stores(config: Config, home: Home, *, time_zone: str, closing: contextlib.AsyncExitStack) -> Stores:
    """Open everything that lies on the disk.

    Args:
        config: validated. home: its folders exist. time_zone: whose days the budget counts. closing: closes it again.
    """
    from transport.chunk_index import ChunkIndex
    from transport.folder import Folder
    from transport.fs import RealFiles
    from transport.ledger import Ledger
    from transport.limits import Limits, boot_name
    from transport.orders import Orders
    from transport.outbox import Outbox
    from transport.spool import Spool

    files = RealFiles()
    device = home.device()
    spool = Spool.open(
        files,
        Path(config.spool.directory).expanduser() if config.spool.directory else home.spool,
        device=device,
        limit_bytes=config.spool.limit,
        when_full=str(config.spool.when_full),
    )
    closing.callback(spool.close)
    copies = Copies(Folder(files, home.copies), effects.bounds_of(config))
    index = ChunkIndex(files, home.index, device)
    outbox = Outbox(files, home.erasures)
    orders = Orders(
        device,
        spool,
        index,
        outbox,
        signer=home.signing_key,
        forget_copies=lambda which: copies.forget(lambda copy: which(copy.chunk_id)),
    )
    ledger = Ledger(
        files,
        home.ledger,
        Limits.from_table(effects.budget_table(config, time_zone=time_zone)),
        wall_ns=time.time_ns(),
        mono_ns=clock.boot_ns(),
        boot=boot_name(clock.boot_id()),
        synced=clock.is_synced,
    )
    closing.callback(ledger.close)
    return Stores(device, spool, copies, index, outbox, orders, ledger)


def desktop_of(config: Config, environment: Mapping[str, str], platform: str) -> Desktop | PortableDesktop:
    """Return the desktop's source for a platform (`sys.platform`); it is not started."""
    if platform in {"win32", "darwin"}:
        from capture.sources.portable import PortableDesktop

        return PortableDesktop()
    from capture.sources.desktop import Desktop

    return Desktop(
        environment.get("DISPLAY"),
        wayland=environment.get("WAYLAND_DISPLAY"),
        damage_hold_s=config.capture.damage_hold.total_seconds(),
    )


def milliseconds(duration: timedelta) -> int:
    """Return a duration in whole ms."""
    return round(duration / timedelta(milliseconds=1))


def thinning_of(plan: Plan) -> Thinning:
    """Return the lossy steps of a plan."""
    return Thinning(plan.move_interval_ms, plan.tolerance_px)


def broker_of(config: Config, device: str) -> Broker:
    """Return where the publisher connects.

    Raises:
        CaptureError: the password file is missing or readable by others; the certificates cannot be used.
    """
    from transport.mqtt import Broker, Tls

    section = config.broker
    password = None
    if section.password_file:
        path = Path(section.password_file).expanduser()
        password = read_private(path, what="the broker's password").decode().rstrip("\n")
        log.hide(password)
    tls = None
    if section.tls:
        ca, certificate, key = (
            Path(name).expanduser() if name else None for name in (section.ca, section.cert, section.key)
        )
        certificates.check(ca, certificate, key)
        tls = Tls(ca_file=ca, certificate_file=certificate, key_file=key)
    return Broker(
        section.host, section.port, client_id=device, username=section.username or None, password=password, tls=tls
    )
