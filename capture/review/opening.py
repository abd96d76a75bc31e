"""Shell: `modicum review`: from the configuration to a page in the person's browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING

from capture.effects import bounds_of
from capture.errors import CaptureError
from capture.review.copies import Copies, Folder
from capture.review.holdings import Holder, OpenSpool

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home


async def review(
    config: Config, home: Home, folder: Folder, open_spool: OpenSpool, browser: bool, say: Callable[[str], None]
) -> None:
    """Serve the page until it is closed.

    Args:
        config, home: this user's. folder: where the copies lie. open_spool: see Holder.
        browser: whether to open one. say: prints for the person.

    Raises:
        CaptureError: the extra `review` is not installed.
    """
    try:
        from capture.review.server import serve
    except ImportError as error:
        raise CaptureError(f"{error.name} is missing: the page needs `pip install 'modicum[review]'`") from error
    bounds = bounds_of(config)
    copies = Copies(folder, bounds)
    copies.prune()  # where no agent has run lately, nobody has

    def opened(link: str) -> None:
        say(f"Your page, for one browser, once:\n  {link}\nIt ends when you close it there, or with Ctrl-C.")
        if browser:
            webbrowser.open(link)

    home.prepare()
    await serve(
        copies, home.own_key(), Holder(home.control, open_spool, copies, note=home.forgotten), bounds, opened=opened
    )
