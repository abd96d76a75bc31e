"""Shell: the composition root of `modicum review`: the page, and what it looks at and deletes where no agent runs."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from capture import memory, sender
from capture.effects import bounds_of
from capture.errors import CaptureError
from capture.review.copies import Copies
from capture.review.holdings import Holder
from capture.review.requests import found_of
from transport.chunk_index import ChunkIndex
from transport.errors import TransportError
from transport.folder import Folder
from transport.fs import RealFiles
from transport.orders import listing
from transport.outbox import Outbox

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home


async def review(config: Config, home: Home, *, browser: bool, say: Callable[[str], None]) -> None:
    """Serve the page until it is closed.

    Args:
        config, home: this user's. browser: whether to open one. say: prints for the person.

    Raises:
        CaptureError: the extra `review` is not installed.
    """
    try:
        from capture.review.server import serve
    except ImportError as error:
        raise CaptureError(f"{error.name} is missing: the page needs `pip install 'modicum[review]'`") from error
    memory.keep_small()
    home.prepare()
    copies = Copies(Folder(RealFiles(), home.copies), bounds_of(config))
    copies.prune()  # where no agent has run lately, nobody has

    def opened(link: str) -> None:
        say(f"Your page, for one browser, once:\n  {link}\nIt ends when you close it there, or with Ctrl-C.")
        if browser:
            webbrowser.open(link)

    holder = Holder(home.control, look=partial(look, config, home, copies), erase=partial(erase, config, home))
    await serve(copies, home.own_key(), holder, copies.bounds, opened=opened)


def look(config: Config, home: Home, copies: Copies, *, states: bool) -> dict[str, Any]:
    """Return what an agent answers to `holdings`, from the disk.

    Raises:
        CaptureError: something of it cannot be read.
    """
    files = RealFiles()
    try:
        with sender.opened_spool(config, home) as spool:
            waiting = list(spool.entries())
        entries = ChunkIndex(files, home.index, home.device()).entries() if states else ()
        kept = {copy.chunk_id for copy in copies.entries()} if states else set()
        return found_of(waiting, entries, kept, listing(Outbox(files, home.erasures)))
    except (TransportError, OSError) as error:
        raise CaptureError(f"what waits on this machine cannot be told: {error}") from error


def erase(config: Config, home: Home, ids: frozenset[tuple[int, int]]) -> dict[str, Any]:
    """Delete chunks here, and leave an order for the archive for the next agent.

    Raises:
        CaptureError: it is not all done.
    """
    try:
        return sender.erase(config, home, {"ids": ids})
    except (TransportError, OSError) as error:
        raise CaptureError(f"not everything could be deleted: {error}; try again") from error
