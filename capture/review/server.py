"""Shell: runs the review page's server: on the loopback, for one browser, until nobody looks any more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from capture.review import peers
from capture.review.app import ReviewApp
from capture.review.bounds import Bounds
from capture.review.copies import Copies
from capture.review.guard import ENTRY, Guard, Session
from capture.review.holdings import Holder
from capture.review.library import Library
from codec.seal import ArchivePrivateKey

ADDRESS = "127.0.0.1"
IDLE_S = 180.0
"""A page that is open asks every few seconds, in a hidden tab once a minute."""
FIRST_IDLE_S = 300.0
"""Until somebody opens the link."""
MAX_CONNECTIONS = 64
"""A browser uses six."""


async def serve(
    copies: Copies,
    key: ArchivePrivateKey,
    holder: Holder,
    bounds: Bounds,
    *,
    opened: Callable[[str], None],
    port: int = 0,
    idle_s: float = IDLE_S,
    first_idle_s: float = FIRST_IDLE_S,
) -> None:
    """Serve the page until it is closed, nobody asked for `idle_s`, or the process is told to end.

    Args:
        copies, key, holder, bounds: see ReviewApp and Library.
        opened: called with the link that opens the page, once.
        port: where to listen; 0: any that is free.
        idle_s, first_idle_s: how long nobody asks, and nobody opens the link, until it ends.

    Raises:
        OSError: the port is taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((ADDRESS, port))
    listening.listen(MAX_CONNECTIONS)  # the browser may come before the server is ready
    host = f"{ADDRESS}:{listening.getsockname()[1]}"
    session = Session()

    def close() -> None:
        server.should_exit = True

    idle = _IdleTimer(close, idle_s)
    with ThreadPoolExecutor(1, thread_name_prefix="library") as thread, listening:
        kept = {"keep_s": bounds.keep_s, "limit_bytes": bounds.limit_bytes}
        app = ReviewApp(Library(copies, key), holder, thread, kept=kept, close=close)
        guard = Guard(app.starlette(), host=host, session=session, is_own=peers.is_own, touched=idle.touch)
        server = uvicorn.Server(
            uvicorn.Config(
                guard,
                http="h11",
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=2,
            )
        )
        idle.wait(first_idle_s)
        opened(f"http://{host}{ENTRY}?token={session.token}")
        try:
            await server.serve(sockets=[listening])
        finally:
            idle.stop()


class _IdleTimer:
    """Calls `close` when nobody touched it for a time."""

    def __init__(self, close: Callable[[], None], idle_s: float) -> None:
        self._close = close
        self._idle_s = idle_s
        self._timer: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """Begin to wait anew."""
        self.wait(self._idle_s)

    def wait(self, wait_s: float) -> None:
        """Close in `wait_s`, unless touched before."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._close)

    def stop(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
