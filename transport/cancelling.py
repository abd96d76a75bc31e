"""Shell: hearing of one's own cancellation in the moment in which something else fails.

Before Python 3.13 a TaskGroup that is cancelled while a task in it fails or ends raises the failure alone, or nothing, and who
goes on after that never ends. It also leaves a cancellation behind in the task that it ran in when a task in it fails. So:
run what has a TaskGroup in a task of its own, wait for that, and call `heed_cancellation` before going on after a failure.
"""

from __future__ import annotations

import asyncio


def heed_cancellation() -> None:
    """End this task if it was told to.

    Raises:
        CancelledError: it was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
