"""Shell: what is left of a person's consent when they withdraw it: nothing here, and in the archive only a tombstone.

Write order, and what a crash after each step leaves: the consent is removed (crash: nothing records any more; `modicum withdraw`
goes on) → the device's last order, signed, into its own outbox (crash: the same) → everything else is deleted, keys overwritten
(crash: the same) → the order is sent, now or at the next start, until the archive has answered → the outbox is removed.

Guarantees: once the order is made, the key that signed it is not needed any more and goes with the rest; the device's
pseudonym is never used again. What stays: the ledger (bytes by day), because a budget that could be reset would be none, and
the journal, which is the person's.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from capture import sender
from codec.model import DEVICE_PATTERN
from codec.tombstone import sign_tombstone
from transport.errors import TransportError
from transport.folder import Folder
from transport.fs import RealFiles
from transport.outbox import Outbox
from transport.publisher import Progress
from transport.spool import Spool

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home

KEPT = ("ledger", "farewell", "journal")
"""How the names begin of what stays in the state's folder: the budget's account; what is to be told to the archive; and the
journal, which is the person's own proof of what was recorded and when they ended it."""

ANY_LIMIT_BYTES = 1 << 40
"""A spool is opened only to be emptied: its limit does not matter."""


def order(home: Home, *, erase_sent: bool) -> None:
    """Make the device's last order, durably: to erase all that it ever sent, or else what was ordered and not yet sent.

    Args:
        home: whose. erase_sent: the person wants erased what was sent.
    """
    home.consent_file.unlink(missing_ok=True)
    if not (home.state / "device").exists() or not (home.state / "device.key").exists():
        return  # nothing was ever recorded, or it was ordered before
    files, device = RealFiles(), home.device()
    last = Outbox(files, home.farewell / device)
    if last.items():
        return
    if erase_sent:
        last.add(sign_tombstone(device, None, wall_s=int(time.time()), signer=home.signing_key()))
        return
    earlier = Outbox(files, home.erasures)
    for number in earlier.waiting():
        payload = earlier.read(number)
        if payload is not None:
            last.add(payload)


def clear(home: Home, spool: Path) -> None:
    """Delete what this machine holds: spool, copies, keys, pseudonym, what was learned; all but KEPT. No agent may run.

    Args:
        home: whose. spool: the spool's folder.
    """
    files = RealFiles()
    if spool.is_dir():
        with (
            contextlib.suppress(TransportError),  # it is removed in any case
            Spool.open(files, spool, device=home.device(), limit_bytes=ANY_LIMIT_BYTES) as opened,
        ):
            opened.forget(lambda entry: True)
        shutil.rmtree(spool, ignore_errors=True)
    copies = Folder(files, home.copies)
    copies.erase(copies.sizes())
    if not home.state.is_dir():
        return
    left = [path for path in home.state.iterdir() if not path.name.startswith(KEPT)]
    singles = [path.name for path in left if not path.is_dir()]
    for path in left:
        if path.is_dir() and path not in (home.runtime, home.enrolled):
            shutil.rmtree(path, ignore_errors=True)
    # The pseudonym and its key go last: as long as they are there, a crash can be told from the end.
    Folder(files, home.state).erase(sorted(singles, key=lambda name: name in ("device.key", "device")))
    _forget_credentials(home)


def _forget_credentials(home: Home) -> None:
    """Delete what the device was let in by, once nothing is left to be said under its name: until then the broker asks for it."""
    if pending(home):
        return
    credentials = Folder(RealFiles(), home.enrolled)
    credentials.erase(credentials.sizes())
    shutil.rmtree(home.enrolled, ignore_errors=True)


def pending(home: Home) -> dict[str, Path]:
    """Return the outboxes of devices that are no more, by their pseudonyms."""
    if not home.farewell.is_dir():
        return {}
    return {path.name: path for path in sorted(home.farewell.iterdir()) if DEVICE_PATTERN.fullmatch(path.name)}


async def say(
    config: Config,
    home: Home,
    environment: Mapping[str, str],
    *,
    wait_s: float | None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> bool:
    """Send the last orders, inside the budget, and forget those that the archive has answered.

    Args:
        wait_s: for each at most so long; None: until it is answered.

    Returns:
        Whether nothing is left to send.
    """
    for device, folder in pending(home).items():
        if not await sender.send(config, home, device, folder, environment, wait_s=wait_s, on_progress=on_progress):
            return False
        shutil.rmtree(folder)
    if home.farewell.is_dir():
        home.farewell.rmdir()
    if not (home.state / "device").exists():  # else it is a new device's by now
        _forget_credentials(home)
    return True
